#include "coordinator/forecast.h"

#include <string.h>

#include "base/log.h"
#include "coordinator/plan.h"
#include "db/result.h"

static enum rc
read_documents(struct plan *plan, struct err *err)
{
    struct params params = PARAMS_INIT;

    params_add_text(&params, plan->file->collection);
    enum rc rc = db_exec(plan->db,
                         "SELECT docs_table, docs_alias, id_column, id_type, content, filter "
                         "FROM reembed.collection WHERE collection = $1",
                         &params, &plan->documents, err);
    params_clear(&params);
    return rc == RC_OK ? plan_read_index(plan, err) : rc;
}

static enum rc
record(struct plan *plan, const cJSON *estimate, struct err *err)
{
    struct params params = PARAMS_INIT;
    char *text = cJSON_PrintUnformatted(estimate);

    if (!text)
        return err_memory(err);
    params_add_text(&params, plan->file->id);
    params_add_json(&params, text);
    enum rc rc = db_exec(plan->db, "SELECT reembed.record_forecast($1, $2::jsonb)", &params, NULL, err);
    params_clear(&params);
    cJSON_free(text);
    return rc;
}

enum rc
forecast_keep(struct prepared *p, struct err *err)
{
    const struct plan_options options = {.common = p->run.options->common};
    struct plan plan = {
        .options = &options,
        .stop = p->run.options->stop,
        .file = p->file,
        .db = p->db,
        .migration = p->migration,
        .embedder = p->run.embedders[EMBEDDER_TARGET],
        .checks = cJSON_CreateArray(),
        .share = 1,
    };
    cJSON *estimate = NULL, *probe = NULL;
    double documents = 0;
    enum rc rc = plan.checks ? read_documents(&plan, err) : err_memory(err);

    if (rc == RC_OK)
        rc = plan_estimate(&plan, &estimate, &probe, &documents, err);
    if (rc == RC_OK && plan.code == EXIT_PAUSED) {
        *err = plan.err;
        rc = RC_REFUSED;
    } else if (rc == RC_OK && estimate) {
        rc = record(&plan, estimate, err);
    } else if (rc == RC_OK && !db_alive(p->db)) {
        *err = plan.err;
        rc = RC_RETRY;
    } else if (rc == RC_OK) {
        log_event(LOG_WARNING, "no forecast was made", LF_STR("why", plan.err.message));
    }
    cJSON_Delete(estimate);
    cJSON_Delete(plan.checks);
    PQclear(plan.documents);
    PQclear(plan.index);
    return rc;
}
