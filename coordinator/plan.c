/* The command `plan`: everything that `run` would check and do, without doing it. */
#include <cjson/cJSON.h>

#include "coordinator/command_session.h"
#include "coordinator/exit_code.h"
#include "coordinator/migration_file.h"

int
plan_command(const struct plan_options *options, struct cJSON **ret_report, struct err *err)
{
    struct migration_file *file = NULL;
    struct db *db = NULL;
    enum rc rc;

    *ret_report = NULL;
    if ((rc = migration_file_read(options->file, &file, err)) == RC_OK &&
        (rc = command_connect(&options->common, &db, err)) == RC_OK) {
        cJSON *report = cJSON_CreateObject();
        if (!report || !cJSON_AddStringToObject(report, "migration_id", file->id) ||
            !cJSON_AddStringToObject(report, "collection", file->collection) ||
            !cJSON_AddBoolToObject(report, "ok", true)) {
            cJSON_Delete(report);
            rc = err_memory(err);
        } else {
            *ret_report = report;
        }
    }
    migration_file_free(file);
    db_close(db);
    return exit_code_of(rc, err);
}
