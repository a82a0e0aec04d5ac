/* Any text is either refused with a message or gives a migration whose configuration is JSON again; a key that the
 * environment holds is in no message and in no JSON. */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/migration_file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEY "sk-fuzz-0123456789"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return setenv("OPENAI_API_KEY", KEY, 1);
}

static void
require(int holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void
must_hide_key(const char *shown)
{
    require(strstr(shown, KEY) == NULL, "the key is shown");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* The fuzzer finds out what is looked for and writes it into the file itself. */
    bool given = memmem(data, size, "sk-fuzz", 7) != NULL;
    struct migration_file *file = NULL;
    struct err err = ERR_INIT;
    struct strbuf json;

    enum rc rc = migration_file_parse("fuzz.json", (const char *)data, size, &file, &err);
    if (rc != RC_OK) {
        require(rc == RC_INVALID && err.class == ERR_USAGE, "refused as something else than wrong");
        require(strncmp(err.message, "fuzz.json:", 10) == 0, "a message without its file");
        if (!given) {
            must_hide_key(err.message);
            must_hide_key(err.hint);
        }
        return 0;
    }
    require(file->target.dimensions > 0 && file->backfill.batch_size > 0, "taken without its defaults");
    require(file->backfill.target_query_threshold >= 0 && file->backfill.target_query_threshold <= 1, "threshold");
    strbuf_init(&json, (size_t)16 * 1024 * 1024);
    migration_file_config_json(file, &json);
    cJSON *root = cJSON_Parse(strbuf_text(&json));
    require(root != NULL, "the configuration is not JSON");
    cJSON_Delete(root);
    if (!given)
        must_hide_key(strbuf_text(&json));
    strbuf_reset(&json);
    migration_file_provider_note(file, &json);
    root = cJSON_Parse(strbuf_text(&json));
    require(root != NULL, "the note is not JSON");
    cJSON_Delete(root);
    if (!given)
        must_hide_key(strbuf_text(&json));
    strbuf_free(&json);
    migration_file_free(file);
    return 0;
}
