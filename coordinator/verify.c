/* The command `verify`: the exact walk over documents and target, and a sample that is embedded again. */
#include <cjson/cJSON.h>
#include <string.h>

#include "coordinator/command_session.h"
#include "coordinator/exit_code.h"
#include "coordinator/migration.h"
#include "coordinator/sweep.h"
#include "db/schema.h"

static enum rc
report_sweep(const struct migration *m, const struct sweep_counts *counts, cJSON **ret_report, struct err *err)
{
    int64_t missing = counts->eligible - counts->current - counts->excused - counts->failed;
    cJSON *report = cJSON_CreateObject();

    if (!report || !cJSON_AddStringToObject(report, "migration_id", m->id) ||
        !cJSON_AddBoolToObject(report, "holds", missing == 0 && counts->orphaned == 0) ||
        !cJSON_AddNumberToObject(report, "documents", (double)counts->eligible) ||
        !cJSON_AddNumberToObject(report, "current", (double)counts->current) ||
        !cJSON_AddNumberToObject(report, "missing", (double)missing) ||
        !cJSON_AddNumberToObject(report, "orphaned", (double)counts->orphaned) ||
        !cJSON_AddNumberToObject(report, "excused", (double)(counts->excused + counts->failed)) ||
        !cJSON_AddNumberToObject(report, "queued", (double)counts->noted)) {
        cJSON_Delete(report);
        return err_memory(err);
    }
    *ret_report = report;
    return missing == 0 && counts->orphaned == 0
               ? RC_OK
               : err_set(err, RC_REFUSED, ERR_GATE, "the target does not match the documents");
}

int
verify_command(const struct verify_options *options, struct cJSON **ret_report, struct err *err)
{
    struct db *db = NULL;
    struct migration *m = NULL;
    struct sweep_counts counts = {0};
    enum rc rc;

    *ret_report = NULL;
    if ((rc = command_connect(&options->common, &db, err)) == RC_OK && (rc = schema_check(db, err)) == RC_OK &&
        (rc = migration_load(db, options->migration_id, &m, err)) == RC_OK &&
        (rc = sweep(db, m, m->target.captured, command_exec, NULL, NULL, &counts, err)) == RC_OK)
        rc = report_sweep(m, &counts, ret_report, err);
    migration_free(m);
    db_close(db);
    return exit_code_of(rc, err);
}
