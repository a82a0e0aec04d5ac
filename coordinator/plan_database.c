/* What only the database can tell: the checks of `run`, made by the same functions, in a transaction that is rolled
 * back. */
#include <stdio.h>
#include <string.h>

#include "coordinator/command_session.h"
#include "coordinator/plan.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"

enum { LOCK_TIMEOUT_MS = 500, STATEMENT_TIMEOUT_MS = 30000, ATTEMPTS = 4 };

/* A statement that may fail and leaves the transaction usable. */
static enum rc
attempt(struct plan *plan, const char *sql, const struct params *params, PGresult **ret_result, struct err *err)
{
    struct err ignored = ERR_INIT;
    enum rc rc = db_exec(plan->db, "SAVEPOINT reembed_plan", NULL, NULL, err);

    if (rc != RC_OK)
        return rc;
    rc = db_exec(plan->db, sql, params, ret_result, err);
    (void)db_exec(plan->db, rc == RC_OK ? "RELEASE SAVEPOINT reembed_plan" : "ROLLBACK TO SAVEPOINT reembed_plan", NULL,
                  NULL, &ignored);
    return rc;
}

/* --- before anything is installed --- */

static enum rc
check_server(struct plan *plan, struct err *err)
{
    PGresult *result = NULL;
    int installed = 0;
    enum rc rc = command_exec(NULL, plan->db, sql_plan_server, NULL, &result, err);

    if (rc != RC_OK)
        return rc;
    plan_holds(plan, "database", "PostgreSQL %s, database %s, role %s", result_string(result, 0, "version"),
               result_string(result, 0, "database"), result_string(result, 0, "role"));
    if (!result_is_null(result, 0, "vector"))
        plan_holds(plan, "pgvector", "%s in schema %s", result_string(result, 0, "vector"),
                   result_string(result, 0, "vector_schema"));
    bool vector = !result_is_null(result, 0, "vector");
    PQclear(result);

    rc = schema_version(plan->db, &installed, &plan->schema_latest, err);
    if (rc != RC_OK)
        return rc;
    plan->schema_missing = installed < plan->schema_latest;
    if ((rc = db_begin(plan->db, err)) != RC_OK)
        return rc;
    if ((rc = schema_install_within(plan->db, err)) != RC_OK) {
        if (rc != RC_RETRY)
            plan_fails(plan, vector ? "schema" : "pgvector", rc, err);
        return rc;
    }
    if (!vector)
        plan_holds(plan, "pgvector", "run creates the extension");
    if (!plan->schema_missing)
        plan_holds(plan, "schema", "reembed, version %d", installed);
    else if (installed == 0)
        plan_holds(plan, "schema", "run installs reembed, version %d", plan->schema_latest);
    else
        plan_holds(plan, "schema", "run upgrades reembed from version %d to %d", installed, plan->schema_latest);
    return RC_OK;
}

/* --- the documents --- */

static enum rc
inspect_documents(struct plan *plan, struct err *err)
{
    const struct migration_documents *documents = &plan->file->documents;
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, documents->table);
    params_add_text(&params, documents->id);
    params_add_text(&params, documents->content);
    params_add_text(&params, documents->where);
    rc = attempt(plan,
                 "SELECT docs_table, docs_alias, id_column, id_type, content, filter "
                 "FROM reembed.inspect_documents($1, $2, $3, $4)",
                 &params, &plan->documents, err);
    params_clear(&params);
    if (rc != RC_OK) {
        plan_fails(plan, "documents", rc, err);
        return rc;
    }
    const PGresult *d = plan->documents;
    plan_holds(plan, "documents", "%s, key %s (%s)", result_string(d, 0, "docs_table"),
               result_string(d, 0, "id_column"), result_string(d, 0, "id_type"));

    params_reset(&params);
    params_add_text(&params, result_string(d, 0, "docs_table"));
    params_add_text(&params, result_string(d, 0, "docs_alias"));
    params_add_text(&params, result_string(d, 0, "content"));
    params_add_text(&params, result_string(d, 0, "filter"));
    rc = attempt(plan, "SELECT reembed.try_expressions($1, $2, $3, $4)", &params, NULL, err);
    params_clear(&params);
    if (rc != RC_OK) {
        plan_fails(plan, "content", rc, err);
        PQclear(plan->documents); /* nothing can be counted or read by them */
        plan->documents = NULL;
        return rc;
    }
    plan_holds(plan, "content", "%s%s%s", documents->content, documents->where ? " where " : "",
               documents->where ? documents->where : "");
    return RC_OK;
}

static enum rc
check_rights(struct plan *plan, struct err *err)
{
    char fix[256];
    struct params params = PARAMS_INIT;
    PGresult *r = NULL;
    const char *table = result_string(plan->documents, 0, "docs_table");
    enum rc rc;

    params_add_text(&params, table);
    rc = attempt(plan, sql_plan_rights, &params, &r, err);
    params_clear(&params);
    if (rc != RC_OK || result_rows(r) == 0)
        goto out;
    const char *role = result_string(r, 0, "role");
    plan_holds(plan, "row security", "%s",
               result_bool(r, 0, "row_security") ? "on, and hides nothing from this role" : "off");
    if (!result_bool(r, 0, "may_trigger")) {
        struct err refused = ERR_INIT;
        rc = err_set(&refused, RC_INVALID, ERR_UNREACHABLE,
                     "role %s, which owns schema reembed, may not create triggers on %s", role, table);
        err_hint(&refused, "GRANT TRIGGER ON %s TO %s", table, role);
        plan_fails(plan, "privileges", rc, &refused);
        rc = RC_OK;
    } else if (!result_bool(r, 0, "owns")) {
        (void)snprintf(fix, sizeof fix, "GRANT %s TO %s, or install the schema as %s", result_string(r, 0, "owner"),
                       role, result_string(r, 0, "owner"));
        plan_warns(plan, "privileges", fix,
                   "%s may create triggers but does not own %s: changes that a replication or a restore makes "
                   "(session_replication_role) will not be captured",
                   role, table);
    } else {
        plan_holds(plan, "privileges", "%s owns %s: every change will be captured", role, table);
    }
out:
    PQclear(r);
    return rc;
}

/* --- the migration --- */

static void
check_state(struct plan *plan, const PGresult *known)
{
    struct err err = ERR_INIT;
    const char *id = plan->file->id, *state = result_string(known, 0, "state");
    int64_t total = result_int64(known, 0, "total"), pending = result_int64(known, 0, "pending");

    plan->begun = result_bool(known, 0, "counted");
    if (plan->begun && total > 0)
        plan->share = (double)pending / (double)total;
    if (strcmp(state, "paused") == 0) {
        err_set(&err, RC_REFUSED, ERR_STATE, "migration %s is paused: %s", id, result_string(known, 0, "reason"));
        err_hint(&err, "reembed resume %s, then run again", id);
        plan_fails_with(plan, "migration", EXIT_PAUSED, &err);
    } else if (strcmp(state, "cancelled") == 0 || strcmp(state, "rolled_back") == 0) {
        bool cancelled = strcmp(state, "cancelled") == 0;
        err_set(&err, RC_REFUSED, ERR_STATE, "migration %s is %s", id, cancelled ? "cancelled" : "rolled back");
        if (cancelled)
            err_hint(&err, "begin a new one: give the file another id");
        else
            err_hint(&err, "go forward with reembed cutover %s, or end it with reembed finalize %s", id, id);
        plan_fails_with(plan, "migration", EXIT_STATE, &err);
    } else if (strcmp(state, "failed") == 0) {
        plan_warns(plan, "migration", "run resumes it; mend the cause first", "%s failed: %s", id,
                   result_string(known, 0, "reason"));
    } else if (result_bool(known, 0, "counted")) {
        plan_holds(plan, "migration", "%s is %s: %lld of %lld documents embedded", id,
                   strcmp(state, "in_progress") == 0 ? "in progress" : state,
                   (long long)result_int64(known, 0, "processed"), (long long)total);
    } else {
        plan_holds(plan, "migration", "%s is %s", id, state);
    }
}

/* RC_AGAIN: there is none of this id. */
static enum rc
look_at_known(struct plan *plan, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *known = NULL;
    enum rc rc;

    params_add_text(&params, plan->file->id);
    rc = attempt(plan, sql_plan_known, &params, &known, err);
    params_clear(&params);
    if (rc == RC_OK && result_rows(known) == 1) {
        check_state(plan, known);
        plan->documents = known;
        plan_holds(plan, "documents", "%s, key %s (%s)", result_string(known, 0, "docs_table"),
                   result_string(known, 0, "id_column"), result_string(known, 0, "id_type"));
        return RC_OK;
    }
    PQclear(known);
    return rc == RC_OK ? RC_AGAIN : rc;
}

/* Refusals name the key of the file first. */
static const char *
check_of(const struct err *err)
{
    if (strncmp(err->message, "source", 6) == 0)
        return "source";
    if (strncmp(err->message, "target", 6) == 0)
        return "target";
    return "migration";
}

static enum rc
create(struct plan *plan, const char *config, struct err *err)
{
    bool kept = plan->file->source.present && plan->file->source.has_provider;
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, plan->file->id);
    params_add_json(&params, config);
    params_add_bool(&params, kept);
    rc = attempt(plan, "SELECT reembed.create_migration($1, $2::jsonb, $3), reembed.place($1)", &params, NULL, err);
    params_clear(&params);
    return rc;
}

static void
check_source(struct plan *plan, const char *config, bool failed_already)
{
    const struct migration_source *source = &plan->file->source;
    struct params params = PARAMS_INIT;
    struct err err = ERR_INIT;
    PGresult *r = NULL;
    char size[32] = "";
    enum rc rc;

    if (!source->present) {
        plan_holds(plan, "source", "none: the collection has no vectors yet");
        return;
    }
    params_add_json(&params, config);
    params_add_text(&params, result_string(plan->documents, 0, "id_type"));
    rc = attempt(plan,
                 "SELECT table_name, vector_column, vector_type, dimensions, metric "
                 "FROM reembed.inspect_source($1::jsonb->'source', $2)",
                 &params, &r, &err);
    params_clear(&params);
    if (rc != RC_OK) {
        if (!failed_already)
            plan_fails(plan, "source", rc, &err);
        return;
    }
    if (!result_is_null(r, 0, "dimensions"))
        (void)snprintf(size, sizeof size, "(%lld)", (long long)result_int64(r, 0, "dimensions"));
    plan_holds(plan, "source", "%s in %s.%s, %s%s, %s; %s", source->model, result_string(r, 0, "table_name"),
               result_string(r, 0, "vector_column"), result_string(r, 0, "vector_type"), size,
               result_string(r, 0, "metric"),
               source->has_provider ? "workers keep it current" : "the application keeps it current itself");
    PQclear(r);
}

static enum rc
read_canaries(struct plan *plan, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;

    params_add_int8(&params, plan->migration->target.id);
    params_add_int8(&params, plan->migration->source.id);
    enum rc rc = db_exec(plan->db,
                         "SELECT coalesce(bool_or(space_id = $1), false) AS target, "
                         "coalesce(bool_or(space_id = $2), false) AS source "
                         "FROM reembed.space WHERE canary IS NOT NULL",
                         &params, &result, err);
    if (rc == RC_OK) {
        plan->canary[0] = result_bool(result, 0, "target");
        plan->canary[1] = result_bool(result, 0, "source");
    }
    params_clear(&params);
    PQclear(result);
    return rc;
}

enum rc
plan_read_index(struct plan *plan, struct err *err)
{
    struct params params = PARAMS_INIT;

    if (strcmp(plan->migration->index_method, "none") == 0)
        return RC_OK;
    params_add_int8(&params,
                    plan->migration->column.space_id ? plan->migration->column.space_id : plan->migration->target.id);
    enum rc rc = db_exec(plan->db, sql_index_facts, &params, &plan->index, err);
    if (rc == RC_OK && (result_rows(plan->index) == 0 || result_bool(plan->index, 0, "valid"))) {
        PQclear(plan->index);
        plan->index = NULL;
    }
    params_clear(&params);
    return rc;
}

static enum rc
read_created(struct plan *plan, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc = migration_load(plan->db, plan->file->id, &plan->migration, err);

    if (rc == RC_OK)
        rc = read_canaries(plan, err);
    if (rc != RC_OK || plan->migration->target.id == 0)
        return rc;
    params_add_text(&params, plan->file->id);
    rc = db_exec(plan->db, sql_plan_sql, &params, &plan->statements, err);
    params_clear(&params);
    return rc == RC_OK ? plan_read_index(plan, err) : rc;
}

/* What the two placements differ in, and whether somebody else hears of the copy. */
static enum rc
look_at_placement(struct plan *plan, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *r = NULL;
    enum rc rc;

    params_add_text(&params, result_string(plan->documents, 0, "docs_table"));
    rc = attempt(plan, sql_plan_placement, &params, &r, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    if (result_rows(r) == 1) {
        plan->docs_bytes = result_float64(r, 0, "main_bytes");
        plan->docs_vector_index_bytes = result_float64(r, 0, "vector_index_bytes");
        plan->docs_other_indexes = result_float64(r, 0, "other_indexes");
        if (plan->file->target.placement == PLACEMENT_COLUMN && !result_is_null(r, 0, "triggers"))
            plan_warns(plan, "placement",
                       "see to it that they do nothing where only a vector changes, or use placement \"side\"",
                       "the copy updates every row once, and these triggers fire each time: %s",
                       result_string(r, 0, "triggers"));
    }
    PQclear(r);
    return RC_OK;
}

static enum rc
check_migration(struct plan *plan, struct err *err)
{
    struct strbuf config;
    struct err refused = ERR_INIT;
    bool source_failed = false;
    enum rc created, rc = look_at_known(plan, err);
    bool known = rc == RC_OK;

    if (rc == RC_AGAIN && (rc = inspect_documents(plan, err)) != RC_OK)
        return rc == RC_RETRY ? RC_RETRY : RC_OK; /* it is in the checks */
    if (rc != RC_OK || (rc = check_rights(plan, err)) != RC_OK || (rc = look_at_placement(plan, err)) != RC_OK)
        return rc;

    strbuf_init(&config, (size_t)1 << 20);
    migration_file_config_json(plan->file, &config);
    if (config.failed) {
        strbuf_free(&config);
        return err_memory(err);
    }
    created = create(plan, strbuf_text(&config), &refused);
    if (created == RC_OK && !known)
        plan_holds(plan, "migration", "%s is new, collection %s", plan->file->id, plan->file->collection);
    else if (created != RC_OK && created != RC_RETRY) {
        source_failed = strcmp(check_of(&refused), "source") == 0;
        plan_fails(plan, check_of(&refused), created, &refused);
    }
    if (created != RC_RETRY && !known)
        check_source(plan, strbuf_text(&config), source_failed);
    strbuf_free(&config);
    if (created == RC_RETRY) {
        *err = refused;
        return RC_RETRY;
    }
    return created == RC_OK ? read_created(plan, err) : RC_OK;
}

/* --- one attempt, and again where a lock was in the way --- */

static void
forget(struct plan *plan)
{
    cJSON_Delete(plan->checks);
    plan->checks = cJSON_CreateArray();
    plan->code = EXIT_DONE;
    plan->share = 1;
    plan->begun = false;
    PQclear(plan->documents);
    PQclear(plan->statements);
    PQclear(plan->index);
    plan->documents = plan->statements = plan->index = NULL;
    plan->migration = migration_free(plan->migration);
}

void
plan_database(struct plan *plan)
{
    struct err err = ERR_INIT;
    struct retry retry = retry_start(&(struct retry_policy){.max_attempts = ATTEMPTS, .first_ms = 200, .cap_ms = 1000});
    enum rc rc = command_connect(&plan->options->common, &plan->db, &err);

    if (rc != RC_OK) {
        plan_fails(plan, "database", rc, &err);
        return;
    }
    rc = db_set_timeouts(plan->db, STATEMENT_TIMEOUT_MS, LOCK_TIMEOUT_MS, &err);
    while (rc == RC_OK) {
        forget(plan);
        rc = check_server(plan, &err);
        if (rc == RC_OK)
            rc = check_migration(plan, &err);
        db_rollback(plan->db);
        if (rc != RC_RETRY || !db_alive(plan->db) || retry_wait(&retry, NULL) != RC_OK)
            break;
        rc = RC_OK;
    }
    if (rc != RC_OK && plan->code == EXIT_DONE)
        plan_fails(plan, "database", rc, &err);
    if (!db_alive(plan->db))
        plan->db = db_close(plan->db);
}
