#include "coordinator/file_provider.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static const char *const kind_words[] = {"hashing", "onnx", "openai", NULL};
static const char *const pooling_words[] = {"", "mean", "cls", "last", NULL};
static const char *const too_long_words[] = {"truncate", "skip", "fail", NULL};
static const char *const empty_words[] = {"", "skip", "fail", NULL};

_Static_assert(PROVIDER_HASHING == 0 && PROVIDER_ONNX == 1 && PROVIDER_OPENAI == 2, "kind_words are in this order");
_Static_assert(POOLING_UNSET == 0 && POOLING_MEAN == 1 && POOLING_CLS == 2 && POOLING_LAST == 3, "as pooling_words");
_Static_assert(POLICY_TRUNCATE == 0 && POLICY_SKIP == 1 && POLICY_FAIL == 2, "as too_long_words and empty_words");
_Static_assert(sizeof(enum provider_kind) == sizeof(int) && sizeof(enum pooling) == sizeof(int) &&
                   sizeof(enum text_policy) == sizeof(int),
               "FIELD_WORD writes an int");

enum { ONNX = 1U << PROVIDER_ONNX, OPENAI = 1U << PROVIDER_OPENAI };

struct provider_section {
    struct provider_options options;
    const char *api_key_env;
};

#define OPTION(member) offsetof(struct provider_section, options.member)

static const struct field provider_fields[] = {
    {.key = "kind", .kind = FIELD_WORD, .offset = OPTION(kind), .required = true, .words = kind_words},
    {.key = "model", .kind = FIELD_TEXT, .offset = OPTION(model)},
    {.key = "document_prefix", .kind = FIELD_ANY_TEXT, .offset = OPTION(document_prefix)},
    {.key = "query_prefix", .kind = FIELD_ANY_TEXT, .offset = OPTION(query_prefix)},
    {.key = "on_too_long", .kind = FIELD_WORD, .offset = OPTION(on_too_long), .words = too_long_words},
    {.key = "on_empty", .kind = FIELD_WORD, .offset = OPTION(on_empty), .words = empty_words},
    {.key = "max_tokens", .kind = FIELD_SIZE, .offset = OPTION(max_tokens), .minimum = 1, .maximum = 1048576},
    {.key = "path", .kind = FIELD_TEXT, .offset = OPTION(path), .kinds = ONNX},
    {.key = "output", .kind = FIELD_TEXT, .offset = OPTION(output), .kinds = ONNX},
    {.key = "pooling", .kind = FIELD_WORD, .offset = OPTION(pooling), .words = pooling_words, .kinds = ONNX},
    {.key = "normalize", .kind = FIELD_TRISTATE, .offset = OPTION(normalize), .kinds = ONNX},
    {.key = "threads", .kind = FIELD_INT, .offset = OPTION(threads), .minimum = 1, .maximum = 1024, .kinds = ONNX},
    {.key = "url", .kind = FIELD_TEXT, .offset = OPTION(url), .kinds = OPENAI},
    {.key = "dialect", .kind = FIELD_TEXT, .offset = OPTION(dialect), .kinds = OPENAI},
    {.key = "api_key_env",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct provider_section, api_key_env),
     .kinds = OPENAI},
    {.key = "send_dimensions", .kind = FIELD_TRISTATE, .offset = OPTION(send_dimensions), .kinds = OPENAI},
    {.key = "timeout_secs",
     .kind = FIELD_NUMBER,
     .offset = OPTION(timeout_secs),
     .above = true,
     .maximum = 86400,
     .kinds = OPENAI},
    {.key = "extra", .kind = FIELD_SECTION, .kinds = OPENAI},
    {.key = "max_items",
     .kind = FIELD_SIZE,
     .offset = OPTION(max_items),
     .minimum = 1,
     .maximum = 1048576,
     .kinds = OPENAI},
    {.key = "max_request_tokens",
     .kind = FIELD_SIZE,
     .offset = OPTION(max_request_tokens),
     .minimum = 1,
     .maximum = 1073741824,
     .kinds = OPENAI},
    {.key = "max_request_bytes",
     .kind = FIELD_SIZE,
     .offset = OPTION(max_request_bytes),
     .minimum = 1,
     .maximum = 1073741824,
     .kinds = OPENAI},
};

const struct field_table file_provider_table = {
    .section = "provider",
    .fields = provider_fields,
    .count = sizeof provider_fields / sizeof provider_fields[0],
};

/* --- the key --- */

/* A name that a shell can set. A key pasted here by mistake must not be repeated in an error, so the name is shown
 * only if it looks like the names that people give to variables. */
static bool
is_variable_name(const char *name, bool *ret_showable)
{
    size_t length = strlen(name);
    bool valid = length <= 128 && !isdigit((unsigned char)name[0]);
    *ret_showable = true;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        valid = valid && (isalnum(c) || c == '_');
        *ret_showable = *ret_showable && (isupper(c) || isdigit(c) || c == '_');
    }
    return valid;
}

static enum rc
read_key(const struct file_reader *reader, const char *section, const char *variable, const char **ret_key)
{
    bool showable = false;

    if (variable == NULL)
        return RC_OK;
    if (!is_variable_name(variable, &showable)) {
        enum rc rc = file_refuse(reader, section, "api_key_env", "must be the name of an environment variable");
        err_hint(reader->err, "never write the key itself into the file: export it, and name the variable here");
        return rc;
    }
    const char *key = getenv(variable);
    if (key == NULL || key[0] == '\0') {
        const char *state = key == NULL ? "not set" : "empty";
        enum rc rc =
            showable ? file_refuse(reader, section, "api_key_env", "names the environment variable %s, which is %s",
                                   variable, state)
                     : file_refuse(reader, section, "api_key_env", "names an environment variable that is %s", state);
        err_hint(reader->err, "export %s with the provider's key, or remove api_key_env if the server needs none",
                 showable ? variable : "it");
        return rc;
    }
    log_secret(key);
    for (const char *c = key; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c) || *c == ' ')
            return file_refuse(reader, section, "api_key_env",
                               "names a variable whose value holds a blank or a line break");
    }
    *ret_key = arena_copy(reader->arena, key, strlen(key));
    return *ret_key == NULL ? err_memory(reader->err) : RC_OK;
}

/* --- addresses --- */

/* Relative folders are looked for beside the file first, so that a file and its models move together. */
static enum rc
resolve_path(const struct file_reader *reader, const char **path)
{
    const char *slash = strrchr(reader->path, '/');
    if (*path == NULL || (*path)[0] == '/' || slash == NULL)
        return RC_OK;
    const char *beside = arena_printf(reader->arena, "%.*s/%s", (int)(slash - reader->path), reader->path, *path);
    if (beside == NULL)
        return err_memory(reader->err);
    if (access(beside, F_OK) == 0)
        *path = beside;
    return RC_OK;
}

static enum rc
check_url(const struct file_reader *reader, const char *section, const char *url)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
    if (scheme == 0 || url[scheme] == '\0' || url[scheme] == '/') {
        enum rc rc = file_refuse(reader, section, "url", "must begin with http:// or https:// and name a host");
        err_hint(reader->err, "give the base, such as \"http://127.0.0.1:8080/v1\"; the dialect adds the rest");
        return rc;
    }
    if (memchr(url + scheme, '@', strcspn(url + scheme, "/?#")) != NULL) {
        enum rc rc = file_refuse(reader, section, "url", "must not hold a user name or password");
        err_hint(reader->err, "put the key into an environment variable and name it in api_key_env");
        return rc;
    }
    return RC_OK;
}

static enum rc
read_extra(const struct file_reader *reader, const char *section, const cJSON *object, cJSON *extras,
           struct provider_options *options)
{
    const cJSON *extra = cJSON_GetObjectItemCaseSensitive(object, "extra");
    if (extra == NULL || cJSON_IsNull(extra))
        return RC_OK;
    if (!cJSON_IsObject(extra))
        return file_refuse(reader, section, "extra", "must be an object whose members are added to each request");
    cJSON *copy = cJSON_Duplicate(extra, true);
    if (copy == NULL || !cJSON_AddItemToArray(extras, copy)) {
        cJSON_Delete(copy);
        return err_memory(reader->err);
    }
    options->extra = copy;
    return RC_OK;
}

/* --- the section --- */

static enum rc
read_kind(const struct file_reader *reader, const char *section, const cJSON *object, enum provider_kind *ret_kind)
{
    const struct field_table kind_only = {.section = section, .fields = provider_fields, .count = 1};
    struct provider_section chosen = {.options = {.kind = PROVIDER_HASHING}};

    if (!cJSON_IsObject(object)) {
        enum rc rc = file_refuse(reader, section, "",
                                 object == NULL || cJSON_IsNull(object) ? "is missing" : "must be an object: { ... }");
        err_hint(reader->err, "such as { \"kind\": \"onnx\", \"path\": \"models/all-MiniLM-L6-v2\" }");
        return rc;
    }
    enum rc rc = file_fields_read(reader, &kind_only, section, object, &chosen);
    *ret_kind = chosen.options.kind;
    return rc;
}

enum rc
file_provider_read(const struct file_reader *reader, const char *section, const cJSON *object, const char *model,
                   size_t dimensions, cJSON *extras, struct provider_options *ret_options)
{
    struct provider_section read = {
        .options =
            {.model = model, .dimensions = dimensions, .on_empty = POLICY_SKIP, .normalize = -1, .send_dimensions = -1},
    };
    struct provider_options *options = &read.options;
    enum provider_kind kind = PROVIDER_HASHING;

    enum rc rc = read_kind(reader, section, object, &kind);
    if (rc == RC_OK)
        rc = file_fields_check(reader, &file_provider_table, section, object, 1U << kind, kind_words[kind]);
    if (rc == RC_OK)
        rc = file_fields_read(reader, &file_provider_table, section, object, &read);
    if (rc != RC_OK)
        return rc;

    const struct model_facts *facts = model_find(options->model);
    if (facts == NULL)
        facts = model_find(model);
    if (facts != NULL && options->document_prefix == NULL)
        options->document_prefix = facts->document_prefix;
    if (facts != NULL && options->query_prefix == NULL)
        options->query_prefix = facts->query_prefix;

    if (kind == PROVIDER_ONNX) {
        if (options->path == NULL)
            return file_refuse(reader, section, "path",
                               "is missing: the folder that holds model.onnx and tokenizer.json");
        rc = resolve_path(reader, &options->path);
    } else if (kind == PROVIDER_OPENAI) {
        if (options->url == NULL)
            return file_refuse(reader, section, "url", "is missing: the server's base, such as \"https://host/v1\"");
        rc = check_url(reader, section, options->url);
        if (rc == RC_OK)
            rc = read_key(reader, section, read.api_key_env, &options->api_key);
        if (rc == RC_OK)
            rc = read_extra(reader, section, object, extras, options);
    }
    if (rc == RC_OK)
        *ret_options = *options;
    return rc;
}

static const struct field note_fields[] = {
    {.key = "kind", .kind = FIELD_WORD, .offset = OPTION(kind), .words = kind_words},
    {.key = "model", .kind = FIELD_TEXT, .offset = OPTION(model)},
    {.key = "document_prefix", .kind = FIELD_ANY_TEXT, .offset = OPTION(document_prefix)},
    {.key = "query_prefix", .kind = FIELD_ANY_TEXT, .offset = OPTION(query_prefix)},
    {.key = "on_too_long", .kind = FIELD_WORD, .offset = OPTION(on_too_long), .words = too_long_words},
    {.key = "on_empty", .kind = FIELD_WORD, .offset = OPTION(on_empty), .words = empty_words},
    {.key = "max_tokens", .kind = FIELD_SIZE, .offset = OPTION(max_tokens)},
    {.key = "pooling", .kind = FIELD_WORD, .offset = OPTION(pooling), .words = pooling_words, .kinds = ONNX},
    {.key = "normalize", .kind = FIELD_TRISTATE, .offset = OPTION(normalize), .kinds = ONNX},
    {.key = "dialect", .kind = FIELD_TEXT, .offset = OPTION(dialect), .kinds = OPENAI},
};

void
file_provider_json(const struct provider_options *options, struct strbuf *out)
{
    const struct field_table note = {.fields = note_fields, .count = sizeof note_fields / sizeof note_fields[0]};
    const struct provider_section section = {.options = *options};

    strbuf_putc(out, '{');
    file_fields_json(&note, &section, 1U << options->kind, out);
    strbuf_putc(out, '}');
}
