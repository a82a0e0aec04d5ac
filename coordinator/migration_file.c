#include "coordinator/migration_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "base/json.h"
#include "coordinator/file_field.h"
#include "coordinator/file_provider.h"
#include "coordinator/file_tables.h"

/* pgvector's own limits. */
enum {
    VECTOR_INDEX_DIMENSIONS_MAX = 2000,
    HALFVEC_INDEX_DIMENSIONS_MAX = 4000,
    /* Postgres cuts names at 63 bytes, and the view is called <collection>_current. */
    COLLECTION_BYTES_MAX = 63 - (int)sizeof "_current" + 1,
    ID_BYTES_MAX = 200,
};

/* --- sections --- */

/* A section that may be left out altogether. */
static enum rc
read_settings(const struct file_reader *reader, const cJSON *root, const struct field_table *table, void *out)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, table->section);
    if (object == NULL || cJSON_IsNull(object))
        return RC_OK;
    enum rc rc = file_fields_check(reader, table, table->section, object, 1, "");
    return rc == RC_OK ? file_fields_read(reader, table, table->section, object, out) : rc;
}

static enum rc
check_name(const struct file_reader *reader, const char *key, const char *name, size_t longest)
{
    size_t length = strlen(name);
    if (length > longest)
        return file_refuse(reader, "", key, "is %zu bytes long, the most is %zu", length, longest);
    if (name[0] == '-')
        return file_refuse(reader, "", key, "must not begin with \"-\": commands would take it for an option");
    for (const char *c = name; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return file_refuse(reader, "", key, "must not hold control characters");
    }
    return RC_OK;
}

/* "a, b" outside quotes and parentheses, or ["a", "b"]. */
static bool
is_composite(const cJSON *id)
{
    bool quoted = false;
    if (!cJSON_IsString(id))
        return cJSON_IsArray(id);
    for (const char *c = id->valuestring; *c != '\0'; c++) {
        if (*c == '"')
            quoted = !quoted;
        if (*c == ',' && !quoted)
            return true;
    }
    return false;
}

static enum rc
refuse_composite(const struct file_reader *reader, const char *section)
{
    enum rc rc = file_refuse(reader, section, "id", "is a composite key; documents need a key of one column");
    err_hint(reader->err, "smallint, integer, bigint, uuid or text; add a generated unique column if there is none");
    return rc;
}

static enum rc
read_documents(const struct file_reader *reader, const cJSON *root, struct migration_documents *documents)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, "documents");
    if (object == NULL || cJSON_IsNull(object)) {
        enum rc rc = file_refuse(reader, "", "documents", "is missing");
        err_hint(reader->err,
                 "such as \"documents\": { \"table\": \"public.docs\", \"id\": \"id\", \"content\": \"body\" }");
        return rc;
    }
    enum rc rc = file_fields_check(reader, &file_documents_table, "documents", object, 1, "");
    if (rc != RC_OK)
        return rc;
    if (is_composite(cJSON_GetObjectItemCaseSensitive(object, "id")))
        return refuse_composite(reader, "documents");
    return file_fields_read(reader, &file_documents_table, "documents", object, documents);
}

static enum rc
read_source(const struct file_reader *reader, const cJSON *root, struct migration_file *file)
{
    struct migration_source *source = &file->source;
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, "source");
    if (object == NULL || cJSON_IsNull(object))
        return RC_OK;

    enum rc rc = file_fields_check(reader, &file_source_table, "source", object, 1, "");
    if (rc != RC_OK)
        return rc;
    if (is_composite(cJSON_GetObjectItemCaseSensitive(object, "id")))
        return refuse_composite(reader, "source");
    rc = file_fields_read(reader, &file_source_table, "source", object, source);
    if (rc != RC_OK)
        return rc;

    source->present = true;
    if (source->table == NULL)
        source->table = file->documents.table;
    if (source->id == NULL) {
        /* In another table a column of the same name need not hold the documents' ids. */
        if (strcmp(source->table, file->documents.table) != 0)
            return file_refuse(reader, "source", "id", "is missing: the column of %s that holds the documents' ids",
                               source->table);
        source->id = file->documents.id;
    }

    const cJSON *provider = cJSON_GetObjectItemCaseSensitive(object, "provider");
    if (provider == NULL || cJSON_IsNull(provider))
        return RC_OK;
    const struct model_facts *facts = model_find(source->model);
    source->has_provider = true;
    return file_provider_read(reader, "source.provider", provider, source->model, facts == NULL ? 0 : facts->dimensions,
                              file->extra, &source->provider);
}

static enum rc
read_index(const struct file_reader *reader, const cJSON *target, bool has_source, struct migration_index *index)
{
    const struct field_table method_only = {.section = "target", .fields = file_index_table.fields, .count = 1};
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(target, "index");
    enum rc rc = RC_OK;

    if (object == NULL || cJSON_IsNull(object))
        return RC_OK;
    if (cJSON_IsString(object)) {
        struct field word = file_index_table.fields[0];
        const struct field_table as_word = {.section = "target", .fields = &word, .count = 1};
        word.key = "index";
        rc = file_fields_read(reader, &as_word, "target", target, index);
    } else if (!cJSON_IsObject(object)) {
        rc = file_refuse(reader, "target", "index", "must be an object, or one of hnsw, ivfflat, none, as_source");
    } else {
        rc = file_fields_read(reader, &method_only, "target.index", object, index);
        if (rc == RC_OK)
            rc = file_fields_check(reader, &file_index_table, "target.index", object, 1U << index->method,
                                   migration_index_method_name(index->method));
        if (rc == RC_OK)
            rc = file_fields_read(reader, &file_index_table, "target.index", object, index);
    }
    if (rc != RC_OK)
        return rc;

    if (index->method == INDEX_AS_SOURCE && !has_source)
        return file_refuse(reader, "target", "index", "is \"as_source\", but there is no source");
    if (index->method == INDEX_HNSW && index->ef_construction < 2 * index->m) {
        if (cJSON_IsObject(object) && cJSON_GetObjectItemCaseSensitive(object, "ef_construction") != NULL)
            return file_refuse(reader, "target.index", "ef_construction", "must be at least twice m, here %lld",
                               (long long)(2 * index->m));
        index->ef_construction = 2 * index->m;
    }
    return RC_OK;
}

static enum rc
check_dimensions(const struct file_reader *reader, const cJSON *object, struct migration_target *target)
{
    bool indexed = target->index.method == INDEX_HNSW || target->index.method == INDEX_IVFFLAT;
    bool type_given = cJSON_IsString(cJSON_GetObjectItemCaseSensitive(object, "type"));

    if (target->dimensions == 0) {
        const struct model_facts *facts = model_find(target->model);
        if (facts == NULL) {
            enum rc rc = file_refuse(reader, "target", "dimensions",
                                     "is missing, and the model \"%.100s\" is not known by name", target->model);
            err_hint(reader->err, "write how many numbers the model gives for a text, such as \"dimensions\": 768");
            return rc;
        }
        target->dimensions = (int64_t)facts->dimensions;
    }
    if (!type_given && target->dimensions > VECTOR_INDEX_DIMENSIONS_MAX)
        target->type = VECTOR_TYPE_HALFVEC;
    if (indexed && target->type == VECTOR_TYPE_VECTOR && target->dimensions > VECTOR_INDEX_DIMENSIONS_MAX) {
        enum rc rc = file_refuse(reader, "target", "type", "\"vector\" takes an index up to %d dimensions, not %lld",
                                 VECTOR_INDEX_DIMENSIONS_MAX, (long long)target->dimensions);
        err_hint(reader->err, "use \"halfvec\", or \"index\": \"none\"");
        return rc;
    }
    if (indexed && target->dimensions > HALFVEC_INDEX_DIMENSIONS_MAX) {
        enum rc rc = file_refuse(reader, "target", "dimensions", "is %lld; an index takes up to %d",
                                 (long long)target->dimensions, HALFVEC_INDEX_DIMENSIONS_MAX);
        err_hint(reader->err, "use \"index\": \"none\", or fewer dimensions if the model can be cut");
        return rc;
    }
    return RC_OK;
}

static enum rc
read_target(const struct file_reader *reader, const cJSON *root, struct migration_file *file)
{
    struct migration_target *target = &file->target;
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, "target");
    if (object == NULL || cJSON_IsNull(object))
        return file_refuse(reader, "", "target", "is missing");

    enum rc rc = file_fields_check(reader, &file_target_table, "target", object, 1, "");
    if (rc == RC_OK)
        rc = file_fields_read(reader, &file_target_table, "target", object, target);
    if (rc == RC_OK)
        rc = read_index(reader, object, file->source.present, &target->index);
    if (rc == RC_OK)
        rc = check_dimensions(reader, object, target);
    if (rc != RC_OK)
        return rc;

    if (target->table != NULL && strcmp(target->table, file->documents.table) == 0)
        return file_refuse(reader, "target", "table",
                           "is the documents' own table, which is never rewritten; leave it out");
    if (target->table != NULL && file->source.present && strcmp(target->table, file->source.table) == 0)
        return file_refuse(reader, "target", "table", "is the source's table; leave it out, or name another");
    return file_provider_read(reader, "target.provider", cJSON_GetObjectItemCaseSensitive(object, "provider"),
                              target->model, (size_t)target->dimensions, file->extra, &target->provider);
}

/* The minute of the day that "HH:MM" says; -1: it says none. 24:00 is the end of the day. */
static int
read_minute(const char *text)
{
    for (size_t i = 0; i < 5; i++)
        if (i == 2 ? text[i] != ':' : text[i] < '0' || text[i] > '9')
            return -1;
    int hour = (text[0] - '0') * 10 + text[1] - '0', minute = (text[3] - '0') * 10 + text[4] - '0';
    return minute < 60 && hour * 60 + minute <= 1440 ? hour * 60 + minute : -1;
}

/* "22:00-06:00", "22:00-06:00 Europe/Berlin". */
static enum rc
read_active_hours(const struct file_reader *reader, const char *text, struct active_hours *ret_hours)
{
    int from = read_minute(text), to = from >= 0 && text[5] == '-' ? read_minute(text + 6) : -1;

    if (from < 0 || from == 1440 || to < 0 || (text[11] != '\0' && (text[11] != ' ' || strchr(" ", text[12])))) {
        enum rc rc = file_refuse(reader, "limits", "active_hours", "must be hours of the day, not \"%.60s\"", text);
        err_hint(reader->err, "such as \"22:00-06:00\" (UTC) or \"22:00-06:00 Europe/Berlin\"");
        return rc;
    }
    if (from == to)
        return file_refuse(reader, "limits", "active_hours", "must not begin and end at the same minute");
    *ret_hours = (struct active_hours){
        .from_minute = from,
        .to_minute = to,
        .zone = text[11] == ' ' ? text + 12 : "UTC",
    };
    return RC_OK;
}

static enum rc
read_limits(const struct file_reader *reader, const cJSON *root, struct migration_limits *limits)
{
    enum rc rc = read_settings(reader, root, &file_limits_table, limits);
    if (rc == RC_OK && limits->max_cost.given && !limits->price_per_million_tokens.given) {
        rc = file_refuse(reader, "limits", "max_cost", "needs price_per_million_tokens, or nothing could be counted");
        err_hint(reader->err, "give the provider's price in the same currency, or limit max_tokens instead");
    }
    if (rc == RC_OK && limits->active_hours != NULL)
        rc = read_active_hours(reader, limits->active_hours, &limits->hours);
    return rc;
}

static enum rc
read_file(const struct file_reader *reader, const cJSON *root, struct migration_file *file)
{
    enum rc rc = file_fields_check(reader, &file_top_table, "", root, 1, "");
    if (rc == RC_OK)
        rc = file_fields_read(reader, &file_top_table, "", root, file);
    if (rc == RC_OK)
        rc = check_name(reader, "id", file->id, ID_BYTES_MAX);
    if (rc == RC_OK)
        rc = check_name(reader, "collection", file->collection, COLLECTION_BYTES_MAX);
    if (rc == RC_OK)
        rc = read_documents(reader, root, &file->documents);
    if (rc == RC_OK)
        rc = read_source(reader, root, file);
    if (rc == RC_OK)
        rc = read_target(reader, root, file);
    if (rc == RC_OK)
        rc = read_settings(reader, root, &file_backfill_table, &file->backfill);
    if (rc == RC_OK)
        rc = read_settings(reader, root, &file_gates_table, &file->gates);
    if (rc == RC_OK)
        rc = read_limits(reader, root, &file->limits);
    if (rc == RC_OK)
        rc = read_settings(reader, root, &file_database_table, &file->database);
    return rc;
}

/* --- the text --- */

/* Postgres takes neither; found here they have a line number. */
static enum rc
check_text(const char *path, const char *text, size_t length, struct err *err)
{
    size_t line = 1;
    for (size_t at = 0; at < length;) {
        size_t step = utf8_sequence(text + at, length - at);
        if (step == 0)
            return err_set(err, RC_INVALID, ERR_USAGE, "%s:%zu: this is not UTF-8", path, line);
        if (length - at >= 6 && memcmp(text + at, "\\u0000", 6) == 0)
            return err_set(err, RC_INVALID, ERR_USAGE, "%s:%zu: \\u0000 can't be stored in Postgres", path, line);
        line += text[at] == '\n';
        at += text[at] == '\\' && length - at > 1 && text[at + 1] == '\\' ? 2 : step;
    }
    return RC_OK;
}

enum rc
migration_file_parse(const char *path, const char *text, size_t length, struct migration_file **ret_file,
                     struct err *err)
{
    struct err ignored = ERR_INIT;
    struct err *why = err == NULL ? &ignored : err;
    cJSON *root = NULL;
    enum rc rc = RC_FATAL;
    struct migration_file *file = malloc(sizeof *file);

    if (file == NULL)
        return err_memory(why);
    *file = file_defaults;
    json_watch_memory();
    file->arena = arena_new(0);
    file->extra = cJSON_CreateArray();
    file->path = file->arena == NULL ? NULL : arena_copy(file->arena, path, strlen(path));
    if (file->path == NULL || file->extra == NULL) {
        rc = err_memory(why);
        goto out;
    }
    rc = check_text(path, text, length, why);
    if (rc == RC_OK)
        rc = json_parse(text, length, path, &root, why);
    if (rc != RC_OK)
        goto out;

    const struct file_reader reader = {
        .path = file->path, .text = text, .length = length, .arena = file->arena, .err = why, .tables = file_tables};
    rc = read_file(&reader, root, file);
    if (rc != RC_OK)
        goto out;
    *ret_file = file;
    file = NULL;
out:
    cJSON_Delete(root);
    migration_file_free(file);
    return rc;
}

enum rc
migration_file_read(const char *path, struct migration_file **ret_file, struct err *err)
{
    enum rc rc = RC_INVALID;
    char chunk[8192];
    size_t got = 0;
    struct strbuf text;

    strbuf_init(&text, JSON_FILE_MAX);
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return err_set(err, RC_INVALID, ERR_USAGE, "can't read the migration file %s: %s", path, strerror(errno));
    while (!text.failed && (got = fread(chunk, 1, sizeof chunk, stream)) > 0)
        strbuf_add(&text, chunk, got);
    if (ferror(stream))
        rc = err_set(err, RC_INVALID, ERR_USAGE, "can't read the migration file %s: %s", path, strerror(errno));
    else if (text.failed && text.length + got <= JSON_FILE_MAX)
        rc = err_memory(err);
    else if (text.failed)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s is larger than %d bytes: not a migration file", path,
                     JSON_FILE_MAX);
    else
        rc = migration_file_parse(path, strbuf_text(&text), text.length, ret_file, err);
    (void)fclose(stream);
    strbuf_free(&text);
    return rc;
}

struct migration_file *
migration_file_free(struct migration_file *file)
{
    if (file == NULL)
        return NULL;
    cJSON_Delete(file->extra);
    arena_free(file->arena);
    free(file);
    return NULL;
}

/* --- canonical JSON --- */

static void
section_json(const struct field_table *table, const void *in, unsigned kind, struct strbuf *out)
{
    strbuf_printf(out, "\"%s\":{", table->section);
    file_fields_json(table, in, kind, out);
    strbuf_putc(out, '}');
}

void
migration_file_config_json(const struct migration_file *file, struct strbuf *out)
{
    strbuf_putc(out, '{');
    file_fields_json(&file_top_table, file, 1, out);
    strbuf_putc(out, ',');
    section_json(&file_documents_table, &file->documents, 1, out);
    strbuf_putc(out, ',');
    if (file->source.present)
        section_json(&file_source_table, &file->source, 1, out);
    else
        strbuf_puts(out, "\"source\":null");
    strbuf_puts(out, ",\"target\":{");
    file_fields_json(&file_target_table, &file->target, 1, out);
    strbuf_puts(out, ",\"index\":{");
    file_fields_json(&file_index_table, &file->target.index, 1U << file->target.index.method, out);
    strbuf_puts(out, "}},");
    section_json(&file_backfill_table, &file->backfill, 1, out);
    strbuf_putc(out, ',');
    section_json(&file_gates_table, &file->gates, 1, out);
    strbuf_putc(out, ',');
    section_json(&file_limits_table, &file->limits, 1, out);
    strbuf_putc(out, ',');
    section_json(&file_database_table, &file->database, 1, out);
    strbuf_putc(out, '}');
}

void
migration_file_provider_note(const struct migration_file *file, struct strbuf *out)
{
    strbuf_puts(out, "{\"source\":");
    if (file->source.has_provider)
        file_provider_json(&file->source.provider, out);
    else
        strbuf_puts(out, "null");
    strbuf_puts(out, ",\"target\":");
    file_provider_json(&file->target.provider, out);
    strbuf_putc(out, '}');
}
