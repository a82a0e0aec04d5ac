/* new: a guided migration file. What the database and the model folders tell is offered, the rest is asked. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"
#include "cli/new_file.h"
#include "cli/report.h"
#include "cli/session.h"
#include "coordinator/exit_code.h"
#include "db/result.h"
#include "db/statements.h"
#include "embed/embedder.h"
#include "embed/onnx/model_list.h"

enum { FOLDERS_MAX = 50, ANSWER_BYTES = 2000 };

struct guide {
    const struct invocation *invocation;
    struct arena *arena;       /* owned: every answer */
    struct db *db;             /* owned */
    bool asks;                 /* at a terminal */
    struct model_list folders; /* owned; those that can be used */
    struct new_answers answers;
    int64_t source_dimensions; /* 0: unknown */
};

static const char *
flag(const struct guide *g, const char *name)
{
    return option_text(g->invocation->arguments, name);
}

/* --- questions --- */

static const char *
trimmed(struct guide *g, char *line)
{
    size_t length = strcspn(line, "\r\n");

    while (length > 0 && isspace((unsigned char)line[length - 1]))
        length--;
    size_t first = 0;
    while (first < length && isspace((unsigned char)line[first]))
        first++;
    return arena_printf(g->arena, "%.*s", (int)(length - first), line + first);
}

/* The flag, else at a terminal the answer, else the default. NULL: there is none of them, `err` names the flag. */
static const char *
answer(struct guide *g, const char *option, const char *question, const char *fallback, bool needed, struct err *err)
{
    char line[ANSWER_BYTES] = "";
    const char *given = flag(g, option);

    if (given != NULL && given[0] != '\0')
        return given;
    while (g->asks) {
        (void)fprintf(stderr, "%s%s%s%s: ", question, fallback ? " [" : "", fallback ? fallback : "",
                      fallback ? "]" : "");
        (void)fflush(stderr);
        if (fgets(line, sizeof line, stdin) == NULL) {
            (void)fprintf(stderr, "\n");
            break;
        }
        const char *said = trimmed(g, line);
        if (said && said[0] != '\0')
            return said;
        if (fallback || !needed)
            return fallback;
    }
    if (!fallback && needed) {
        (void)err_set(err, RC_INVALID, ERR_USAGE, "--%s is needed: %s", option, question);
        err_hint(err, "at a terminal reembed new asks");
    }
    return fallback;
}

/* A number of the list that was shown, or the words themselves. */
static const char *
from_list(const char *said, const char *const *list, size_t count)
{
    char *end = NULL;
    long number = strtol(said, &end, 10);

    return end && *end == '\0' && number >= 1 && (size_t)number <= count ? list[number - 1] : said;
}

/* --- the documents --- */

static enum rc
no_column(struct guide *g, const char *table, struct err *err)
{
    if (table)
        return RC_OK; /* no vectors yet */
    enum rc rc =
        err_set(err, RC_INVALID, ERR_USAGE, "this role sees no pgvector column in database %s", db_name(g->db));
    err_hint(err, "name the documents: --table T --no-source, or connect to another database");
    return rc;
}

/* Several columns: the number of the one that is meant. */
static enum rc
choose_column(struct guide *g, const PGresult *r, int *ret_row, struct err *err)
{
    const char *names[100];
    size_t count = 0;

    for (int row = 0; row < result_rows(r) && count < sizeof names / sizeof names[0]; row++)
        if (!result_bool(r, row, "ours"))
            names[count++] = arena_printf(g->arena, "%s.%s", result_string(r, row, "table_name"),
                                          result_string(r, row, "column_name"));
    if (count == 1)
        return RC_OK;
    if (!g->asks) {
        struct strbuf list;
        strbuf_init(&list, 400);
        for (size_t i = 0; i < count; i++)
            strbuf_printf(&list, "%s%s", i ? ", " : "", names[i]);
        (void)err_set(err, RC_INVALID, ERR_USAGE, "there are several vector columns: name one by --table and --column");
        err_hint(err, "there are %s", strbuf_text(&list));
        strbuf_free(&list);
        return RC_INVALID;
    }
    (void)fprintf(stderr, "vector columns:\n");
    for (size_t i = 0; i < count; i++)
        (void)fprintf(stderr, "  %zu  %s, %lld dimensions\n", i + 1, names[i],
                      (long long)result_int64(r, (int)i, "dimensions"));
    for (;;) {
        const char *said = answer(g, "column", "which one is to be left behind", "1", true, err);
        const char *name = from_list(said, names, count);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(names[i], name) == 0) {
                *ret_row = (int)i;
                return RC_OK;
            }
        }
        (void)fprintf(stderr, "a number from 1 to %zu\n", count);
        if (feof(stdin))
            return err_set(err, RC_INVALID, ERR_USAGE, "--column is needed");
    }
}

/* Small letters and digits, with `between` for whatever is between them. */
static const char *
slug(struct guide *g, const char *text, char between)
{
    char *out = arena_copy(g->arena, text, strlen(text) + 1);
    size_t length = 0;

    for (const char *c = text; out && *c; c++) {
        if (isalnum((unsigned char)*c))
            out[length++] = (char)tolower((unsigned char)*c);
        else if (length > 0 && out[length - 1] != between)
            out[length++] = between;
    }
    if (out) {
        while (length > 0 && out[length - 1] == between)
            length--;
        out[length] = '\0';
    }
    return out;
}

static enum rc
find_table(struct guide *g, const char *table, PGresult **ret, struct err *err)
{
    struct params params = PARAMS_INIT;

    params_add_text(&params, table);
    enum rc rc = db_exec(g->db, sql_new_table, &params, ret, err);
    params_clear(&params);
    if (rc == RC_OK && result_rows(*ret) == 0) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "there is no table %s", table);
        err_hint(err, "write it as in SQL, schema-qualified and quoted where needed");
    }
    return rc;
}

static enum rc
ask_documents(struct guide *g, struct err *err)
{
    struct new_answers *a = &g->answers;
    struct params params = PARAMS_INIT;
    PGresult *columns = NULL, *table = NULL;
    const char *named = flag(g, "table"), *key = NULL, *content = NULL;
    int row = 0;
    enum rc rc;

    params_add_text(&params, named);
    params_add_text(&params, flag(g, "column"));
    if ((rc = db_exec(g->db, sql_doctor_columns, &params, &columns, err)) != RC_OK)
        goto out;
    a->has_source = !option_given(g->invocation->arguments, "no-source") && result_rows(columns) > 0;
    if (a->has_source) {
        if ((rc = choose_column(g, columns, &row, err)) != RC_OK)
            goto out;
        named = arena_printf(g->arena, "%s", result_string(columns, row, "table_name"));
        a->column = arena_printf(g->arena, "%s", result_string(columns, row, "column_name"));
        g->source_dimensions = result_int64(columns, row, "dimensions");
    } else if (flag(g, "column")) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "there is no pgvector column %s%s%s", flag(g, "column"),
                     named ? " in " : "", named ? named : "");
        goto out;
    } else if ((rc = no_column(g, named, err)) != RC_OK) {
        goto out;
    }
    if ((rc = find_table(g, named, &table, err)) != RC_OK)
        goto out;
    a->table = arena_printf(g->arena, "%s", result_string(table, 0, "table_name"));
    if (!result_is_null(table, 0, "key"))
        key = arena_printf(g->arena, "%s", result_string(table, 0, "key"));
    if (!result_is_null(table, 0, "content"))
        content = arena_printf(g->arena, "%s", result_string(table, 0, "content"));
    if (g->asks)
        (void)fprintf(stderr, "documents: %s%s%s\n", a->table, a->has_source ? ", old vectors: " : "",
                      a->has_source ? a->column : "");
    rc = RC_INVALID;
    if (!(a->key = answer(g, "key", "the unique column that names a document", key, true, err)) ||
        !(a->content = answer(g, "content", "the text to embed, as SQL", content, true, err)) ||
        !(a->collection = answer(g, "collection", "a short name for the collection",
                                 slug(g, result_string(table, 0, "name"), '_'), true, err)))
        goto out;
    a->where = flag(g, "where");
    rc = RC_OK;
out:
    params_clear(&params);
    PQclear(columns);
    PQclear(table);
    return rc;
}

/* --- models --- */

static bool
is_model_folder(const char *folder)
{
    static const char *const graphs[] = {"model.onnx", "onnx/model.onnx"};
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    if (access(path, R_OK) != 0)
        return false;
    for (size_t i = 0; i < sizeof graphs / sizeof graphs[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, graphs[i]);
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* What `model list` shows, less what can't be used. */
static enum rc
find_folders(struct guide *g, struct err *err)
{
    const char *place = flag(g, "models") ? flag(g, "models") : MODELS_DEFAULT_FOLDER;
    enum rc rc = model_list_read(place, &g->folders, err);
    size_t kept = 0;

    for (size_t i = 0; rc == RC_OK && i < g->folders.count; i++) {
        struct local_model *model = &g->folders.models[i];
        if (model->usable && kept < FOLDERS_MAX)
            g->folders.models[kept++] = *model;
        else
            local_model_free(model);
    }
    g->folders.count = kept;
    return rc;
}

static const char *
last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static const char *
folder_of(const struct guide *g, const char *model)
{
    const struct model_facts *wanted = model_find(model);

    for (size_t i = 0; i < g->folders.count; i++) {
        const char *name = g->folders.models[i].name;
        if (strcasecmp(name, last_part(model)) == 0 || (wanted && model_find(name) == wanted))
            return g->folders.models[i].path;
    }
    return NULL;
}

/* What is left behind is not offered again. */
static bool
is_source(const struct guide *g, const char *model)
{
    const char *source = g->answers.source_model;
    const struct model_facts *facts = model_find(model);

    return source && (strcasecmp(source, model) == 0 || (facts && model_find(source) == facts));
}

/* Known models, those first whose folder is here; `dimensions` above 0: only of that size. */
static const char *
offer_models(struct guide *g, const char *option, const char *question, int64_t dimensions, struct err *err)
{
    const char *names[FOLDERS_MAX + 40];
    size_t count = 0;
    const struct model_facts *facts;

    if (flag(g, option) || !g->asks)
        return answer(g, option, question, NULL, true, err);
    for (size_t i = 0; i < g->folders.count; i++) {
        const struct local_model *model = &g->folders.models[i];
        if ((dimensions == 0 || model->dimensions == 0 || (int64_t)model->dimensions == dimensions) &&
            !is_source(g, model->name))
            names[count++] = model->name;
    }
    for (size_t i = 0; (facts = model_at(i)) != NULL && count < sizeof names / sizeof names[0]; i++)
        if (!folder_of(g, facts->name) && !is_source(g, facts->name) &&
            (dimensions == 0 || (int64_t)facts->dimensions == dimensions))
            names[count++] = facts->name;
    (void)fprintf(stderr, "models:\n");
    for (size_t i = 0; i < count; i++) {
        const char *folder = folder_of(g, names[i]);
        facts = model_find(names[i]);
        (void)fprintf(stderr, "  %2zu  %s", i + 1, names[i]);
        if (facts)
            (void)fprintf(stderr, ", %zu dimensions", facts->dimensions);
        (void)fprintf(stderr, "%s%s\n",
                      folder                        ? ", here: "
                      : facts && !facts->in_process ? ", behind a server"
                                                    : "",
                      folder ? folder : "");
    }
    const char *said = answer(g, option, question, count > 0 && folder_of(g, names[0]) ? "1" : NULL, true, err);
    return said ? from_list(said, names, count) : NULL;
}

/* The size that a model folder tells; 0: it does not. */
static int64_t
folder_dimensions(const char *folder)
{
    struct local_model model;

    if (local_model_read(folder, last_part(folder), &model, NULL) != RC_OK)
        return 0;
    int64_t size = (int64_t)model.dimensions;
    local_model_free(&model);
    return size;
}

/* A key that was given in place of a variable's name must not be repeated. */
static enum rc
check_variable(const char *option, const char *name, struct err *err)
{
    bool plain = name[0] != '\0' && !isdigit((unsigned char)name[0]) && strlen(name) < 64;

    for (const char *c = name; *c; c++)
        plain = plain && (isupper((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
    if (plain)
        return RC_OK;
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE,
                         "--%s takes the name of an environment variable, such as OPENAI_API_KEY", option);
    err_hint(err,
             "a key is never written to a file: export it, and name the variable. Capitals, digits and underscores");
    return rc;
}

static bool
is_hosted(const char *model)
{
    return strncmp(last_part(model), "text-embedding-3", 16) == 0;
}

/* `prefix`: of the options, "" or "source-". Of the source none is needed. */
static enum rc
ask_provider(struct guide *g, const char *prefix, const char *model, bool needed, struct new_provider *ret,
             struct err *err)
{
    char path[32], url[32], dialect[32], key[32];
    const char *folder = folder_of(g, model), *server = is_hosted(model) ? "https://api.openai.com/v1" : NULL;
    const char *of = prefix[0]
                         ? "its model folder, or the URL of its server, if workers are to keep the old vectors current"
                         : "its model folder, or the URL of an embeddings server";

    (void)snprintf(path, sizeof path, "%spath", prefix);
    (void)snprintf(url, sizeof url, "%surl", prefix);
    (void)snprintf(dialect, sizeof dialect, "%sdialect", prefix);
    (void)snprintf(key, sizeof key, "%skey-env", prefix);
    *ret = (struct new_provider){
        .path = flag(g, path), .url = flag(g, url), .dialect = flag(g, dialect), .key_env = flag(g, key)};
    if (ret->path && ret->url)
        return err_set(err, RC_INVALID, ERR_USAGE, "--%s and --%s exclude each other", path, url);
    if (!ret->path && !ret->url) {
        const char *said = answer(g, path, of, folder ? folder : server, needed, err);
        if (!said)
            return needed ? RC_INVALID : RC_OK;
        if (!needed && strcmp(said, "none") == 0)
            return RC_OK;
        if (strstr(said, "://"))
            ret->url = said;
        else
            ret->path = said;
    }
    if (ret->path && !is_model_folder(ret->path)) {
        enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "%s holds no model: model.onnx and tokenizer.json are needed",
                             ret->path);
        err_hint(err, "name another folder, or a server by --%s", url);
        return rc;
    }
    if (ret->url && !ret->key_env) {
        const char *said = answer(g, key, "the environment variable that holds the key, empty for none",
                                  is_hosted(model) ? "OPENAI_API_KEY" : NULL, false, err);
        ret->key_env = said;
    }
    return ret->key_env ? check_variable(key, ret->key_env, err) : RC_OK;
}

static enum rc
ask_models(struct guide *g, struct err *err)
{
    struct new_answers *a = &g->answers;
    char number[32] = "";
    enum rc rc;

    if (a->has_source) {
        if (!(a->source_model =
                  offer_models(g, "source-model", "the model that made the old vectors", g->source_dimensions, err)))
            return RC_INVALID;
        if ((rc = ask_provider(g, "source-", a->source_model, false, &a->source_provider, err)) != RC_OK)
            return rc;
    }
    if (!(a->model = offer_models(g, "model", "the new model", 0, err)))
        return RC_INVALID;
    if ((rc = ask_provider(g, "", a->model, true, &a->provider, err)) != RC_OK)
        return rc;
    const struct model_facts *facts = model_find(a->model);
    int64_t known = facts ? (int64_t)facts->dimensions : a->provider.path ? folder_dimensions(a->provider.path) : 0;
    if (known > 0)
        (void)snprintf(number, sizeof number, "%lld", (long long)known);
    const char *said =
        known > 0 && !(facts && facts->min_dimensions < facts->dimensions) && !flag(g, "dimensions")
            ? number
            : answer(g, "dimensions", "dimensions of the new vectors", number[0] ? number : NULL, true, err);
    if (!said)
        return RC_INVALID;
    char *end = NULL;
    a->dimensions = strtoll(said, &end, 10);
    if (!end || *end != '\0' || a->dimensions < 1 || a->dimensions > 16000)
        return err_set(err, RC_INVALID, ERR_USAGE, "--dimensions must be a number from 1 to 16000, not \"%.40s\"",
                       said);
    a->metric = flag(g, "metric") ? flag(g, "metric") : "cosine";
    a->id = flag(g, "id");
    if (!a->id)
        a->id = arena_printf(g->arena, "%s-to-%s", a->collection, slug(g, last_part(a->model), '-'));
    return RC_OK;
}

/* --- the file --- */

static enum rc
write_file(struct guide *g, const char *path, const struct strbuf *text, struct err *err)
{
    const struct common_options *common = &g->invocation->common;
    char question[400];

    if (strcmp(path, "-") == 0) {
        output_print(&g->invocation->out, "%s", strbuf_text(text));
        return RC_OK;
    }
    if (access(path, F_OK) == 0 && !common->yes) {
        (void)snprintf(question, sizeof question, "%s is there already. Overwrite it?", path);
        if (!g->asks || !ask(common, question)) {
            enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "%s is there already, and was left as it is", path);
            err_hint(err, "give another name by --out, or --yes to overwrite it");
            return rc;
        }
    }
    FILE *file = fopen(path, "w");
    bool written = file && fwrite(strbuf_text(text), 1, text->length, file) == text->length;
    if (file && fclose(file) != 0)
        written = false;
    return written ? RC_OK : err_set(err, RC_INVALID, ERR_USAGE, "can't write %s: %s", path, strerror(errno));
}

static bool
key_is_missing(const struct new_provider *provider)
{
    return provider->key_env && getenv(provider->key_env) == NULL;
}

static void
show_plan(const struct guide *g, const char *path)
{
    const struct new_answers *a = &g->answers;
    const struct output *out = &g->invocation->out;
    const struct plan_options options = {.common = g->invocation->common, .file = path};
    cJSON *report = NULL;
    struct err err = ERR_INIT;

    if (strcmp(path, "-") == 0)
        return;
    output_print(out, "%s %s is written\n", output_mark(out, true), path);
    if (option_given(g->invocation->arguments, "no-plan") || key_is_missing(&a->provider) ||
        key_is_missing(&a->source_provider)) {
        const char *variable = key_is_missing(&a->provider) ? a->provider.key_env : a->source_provider.key_env;
        if (key_is_missing(&a->provider) || key_is_missing(&a->source_provider))
            output_next(out, "export %s, then look at the plan: reembed plan %s", variable, path);
        else
            output_next(out, "read it, then look at the plan: reembed plan %s", path);
        return;
    }
    (void)plan_command(&options, &report, &err);
    if (report)
        (void)plan_print(out, report, path, &err);
    else
        output_next(out, "%s; then: reembed plan %s", err.message, path);
    cJSON_Delete(report);
}

int
new_run(const struct invocation *invocation, struct err *err)
{
    struct guide g = {.invocation = invocation, .asks = invocation->common.interactive && !invocation->common.yes};
    struct strbuf text;
    const char *path = option_text(invocation->arguments, "out");
    enum rc rc;

    strbuf_init(&text, (size_t)1 << 20);
    if (!(g.arena = arena_new(0)))
        rc = err_memory(err);
    else if ((rc = session_open(invocation, &g.db, err)) == RC_OK) {
        if ((rc = find_folders(&g, err)) == RC_OK && (rc = ask_documents(&g, err)) == RC_OK &&
            (rc = ask_models(&g, err)) == RC_OK) {
            if (!path)
                path = arena_printf(g.arena, "%s.json", g.answers.collection);
            new_file_text(&g.answers, &text);
            rc = text.failed || !path ? err_memory(err) : new_file_check(&g.answers, path, &text, err);
        }
        g.db = db_close(g.db);
        if (rc == RC_OK && (rc = write_file(&g, path, &text, err)) == RC_OK)
            show_plan(&g, path);
    }
    strbuf_free(&text);
    model_list_free(&g.folders);
    arena_free(g.arena);
    return rc == RC_OK ? EXIT_DONE : exit_code_of(rc, err);
}
