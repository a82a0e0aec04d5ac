/* Any text is either refused with a message or gives a migration whose configuration is JSON again. */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/migration_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "%s\n", what);
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct migration_file *file = NULL;
    struct err err = ERR_INIT;
    struct strbuf json;

    enum rc rc = migration_file_parse("fuzz.json", (const char *)data, size, &file, &err);
    if (rc != RC_OK) {
        require(rc == RC_INVALID && err.class == ERR_USAGE, "refused as something else than wrong");
        require(strncmp(err.message, "fuzz.json:", 10) == 0, "a message without its file");
        return 0;
    }
    require(file->target.dimensions > 0 && file->backfill.batch_size > 0, "taken without its defaults");
    require(file->backfill.target_query_threshold >= 0 && file->backfill.target_query_threshold <= 1, "threshold");
    strbuf_init(&json, (size_t)16 * 1024 * 1024);
    migration_file_config_json(file, &json);
    cJSON *root = cJSON_Parse(strbuf_text(&json));
    require(root != NULL, "the configuration is not JSON");
    cJSON_Delete(root);
    strbuf_reset(&json);
    migration_file_provider_note(file, &json);
    root = cJSON_Parse(strbuf_text(&json));
    require(root != NULL, "the note is not JSON");
    cJSON_Delete(root);
    strbuf_free(&json);
    migration_file_free(file);
    return 0;
}
