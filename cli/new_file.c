#include "cli/new_file.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/migration_file.h"

static void
put_member(struct strbuf *out, const char *indent, const char *key, const char *value, const char *comment)
{
    if (value == NULL)
        return;
    strbuf_printf(out, "%s\"%s\": ", indent, key);
    strbuf_json(out, value, strlen(value));
    strbuf_printf(out, ",%s%s\n", comment ? " // " : "", comment ? comment : "");
}

static void
put_provider(struct strbuf *out, const struct new_provider *provider)
{
    if (provider->path != NULL) {
        strbuf_puts(out, "    // In this process, by ONNX Runtime: no text leaves the machine.\n");
        strbuf_puts(out, "    \"provider\": {\n      \"kind\": \"onnx\",\n");
        put_member(out, "      ", "path", provider->path, NULL);
    } else {
        strbuf_puts(
            out, "    \"provider\": {\n      \"kind\": \"openai\", // any embeddings server; the text is sent to it\n");
        put_member(out, "      ", "url", provider->url, NULL);
        put_member(out, "      ", "dialect", provider->dialect, NULL);
        put_member(out, "      ", "api_key_env", provider->key_env, "the variable that holds the key, not the key");
    }
    strbuf_puts(out, "    },\n");
}

static void
put_source(struct strbuf *out, const struct new_answers *a)
{
    if (!a->has_source) {
        strbuf_puts(out, "  \"source\": null, // there are no vectors yet\n\n");
        return;
    }
    strbuf_puts(out,
                "  // The vectors that are left behind. They stay until they are dropped by name.\n  \"source\": {\n");
    put_member(out, "    ", "model", a->source_model, NULL);
    put_member(out, "    ", "column", a->column, NULL);
    if (a->source_provider.path != NULL || a->source_provider.url != NULL)
        put_provider(out, &a->source_provider);
    else
        strbuf_puts(out,
                    "    // Without a provider the application keeps these current itself. With one, workers do, and\n"
                    "    // a rollback loses nothing that was written meanwhile.\n");
    strbuf_puts(out, "  },\n\n");
}

void
new_file_text(const struct new_answers *a, struct strbuf *out)
{
    strbuf_puts(out, "// A migration of embeddings. First look:   reembed plan THIS_FILE   (writes nothing)\n"
                     "// then do it:                              reembed run THIS_FILE\n{\n");
    put_member(out, "  ", "id", a->id, "names this migration for ever");
    put_member(out, "  ", "collection", a->collection, NULL);
    strbuf_puts(out, "\n  \"documents\": {\n");
    put_member(out, "    ", "table", a->table, NULL);
    put_member(out, "    ", "id", a->key, NULL);
    put_member(out, "    ", "content", a->content, "any SQL expression over the row");
    if (a->where != NULL)
        put_member(out, "    ", "where", a->where, "which documents: a condition over the row");
    else
        strbuf_puts(out, "    \"where\": null, // or a condition over the row, such as \"published\"\n");
    strbuf_puts(out, "  },\n\n");
    put_source(out, a);
    strbuf_puts(out, "  \"target\": {\n");
    put_member(out, "    ", "model", a->model, NULL);
    strbuf_printf(out, "    \"dimensions\": %lld,\n", (long long)a->dimensions);
    put_member(out, "    ", "metric", a->metric, NULL);
    strbuf_puts(out, "    \"index\": { \"method\": \"hnsw\", \"m\": 16, \"ef_construction\": 64 },\n");
    put_provider(out, &a->provider);
    strbuf_puts(out,
                "  },\n\n"
                "  \"backfill\": {\n"
                "    \"batch_size\": 100,\n"
                "    \"max_concurrent\": 4, // requests at a time\n"
                "    \"target_query_threshold\": 0.8, // queries go over when so many documents have a new vector\n"
                "    \"rollback_window_secs\": 86400, // how long both are kept current afterwards\n"
                "  },\n\n"
                "  \"limits\": {\n"
                "    \"requests_per_minute\": null,\n"
                "    \"tokens_per_minute\": null,\n"
                "    \"price_per_million_tokens\": null, // with it, plan tells the cost\n"
                "    \"max_cost\": null, // nothing is begun that would cost more\n"
                "  },\n"
                "}\n");
}

enum rc
new_file_check(const struct new_answers *a, const char *path, const struct strbuf *text, struct err *err)
{
    const char *variables[] = {a->provider.key_env, a->source_provider.key_env};
    bool lent[2] = {false, false};
    struct migration_file *file = NULL;

    /* the file must be right also where it is only written */
    for (int i = 0; i < 2; i++)
        lent[i] = variables[i] != NULL && getenv(variables[i]) == NULL && setenv(variables[i], "not-set-here", 0) == 0;
    enum rc rc = migration_file_parse(path, strbuf_text(text), text->length, &file, err);
    for (int i = 0; i < 2; i++)
        if (lent[i])
            (void)unsetenv(variables[i]);
    migration_file_free(file);
    return rc;
}
