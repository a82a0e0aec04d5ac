/* The command `compare`. */
#include <cjson/cJSON.h>
#include <string.h>
#include <strings.h>

#include "coordinator/command_session.h"
#include "coordinator/compare.h"
#include "coordinator/exit_code.h"
#include "coordinator/provider.h"
#include "db/schema.h"

/* The providers of the migration's models; a file about other models is no help. */
static enum rc
open_providers(const struct compare_options *options, const struct migration *m, struct migration_file *file,
               struct embedder *embedders[SIDES], struct err *err)
{
    if (strcmp(file->collection, m->collection) != 0 || strcasecmp(file->target.model, m->target.model) != 0)
        return err_set(err, RC_INVALID, ERR_USAGE, "%s is about %s of collection %s, migration %s about %s of %s",
                       options->file, file->target.model, file->collection, m->id, m->target.model, m->collection);
    enum rc rc =
        provider_open(&file->target.provider, &options->common, m->target.dimensions, &embedders[SIDE_TARGET], err);
    if (rc == RC_OK && m->source.id && file->source.present && file->source.has_provider)
        rc =
            provider_open(&file->source.provider, &options->common, m->source.dimensions, &embedders[SIDE_SOURCE], err);
    return rc;
}

static enum rc
judge(const struct comparison *comparison, struct err *err)
{
    if (comparison->verdict == VERDICT_GO)
        return RC_OK;
    return err_set(err, RC_REFUSED, ERR_GATE, "%s: %s", verdict_name(comparison->verdict), comparison->reason);
}

int
compare_command(const struct compare_options *options, struct cJSON **ret_report, struct err *err)
{
    struct embedder *embedders[SIDES] = {NULL};
    struct embed_usage usage = {0};
    struct migration_file *file = NULL;
    struct migration *migration = NULL;
    struct comparison *comparison = NULL;
    struct db *db = NULL;
    const struct compare_settings settings = {
        .queries = options->queries,
        .known_items = options->known_items,
        .sample = options->sample,
        .k = options->k,
        .seed = options->seed,
    };
    enum rc rc;

    *ret_report = NULL;
    if ((rc = command_connect(&options->common, &db, err)) == RC_OK && (rc = schema_check(db, err)) == RC_OK &&
        (rc = migration_load(db, options->migration_id, &migration, err)) == RC_OK && options->file &&
        (rc = migration_file_read(options->file, &file, err)) == RC_OK)
        rc = open_providers(options, migration, file, embedders, err);
    if (rc == RC_OK) {
        const struct compare_environment environment = {
            .db = db,
            .migration = migration,
            .target_options = file ? &file->target.provider : NULL,
            .common = &options->common,
            .embedders = {embedders[SIDE_TARGET], embedders[SIDE_SOURCE]},
            .exec = command_exec,
            .usage = &usage,
        };
        rc = compare_models(&environment, &settings, &comparison, err);
    }
    if (rc == RC_OK && !(*ret_report = compare_report(comparison)))
        rc = err_memory(err);
    if (rc == RC_OK)
        rc = judge(comparison, err);
    comparison_free(comparison);
    for (int side = 0; side < SIDES; side++)
        embedder_close(embedders[side]);
    migration_free(migration);
    migration_file_free(file);
    db_close(db);
    return exit_code_of(rc, err);
}
