#include "coordinator/index_build.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "db/result.h"
#include "db/statements.h"
#include "db/template.h"

/* Without words of its own from the file: as many lists as pgvector advises, rows / 1000 up to a million, then sqrt. */
int64_t
index_list_count(const struct migration_index *index, double documents)
{
    double lists = documents <= 1e6 ? documents / 1000 : 1000;

    if (index->lists > 0)
        return index->lists;
    while (documents > 1e6 && lists * lists < documents)
        lists *= 1.1;
    return lists < 10 ? 10 : (int64_t)lists;
}

static const char *
operator_class(const struct migration *m)
{
    bool half = m->target.kind == VECTOR_HALF;

    if (strcmp(m->metric, "inner_product") == 0)
        return half ? "halfvec_ip_ops" : "vector_ip_ops";
    if (strcmp(m->metric, "l2") == 0)
        return half ? "halfvec_l2_ops" : "vector_l2_ops";
    return half ? "halfvec_cosine_ops" : "vector_cosine_ops";
}

enum rc
index_statement(const struct migration *m, const struct migration_index *index, const PGresult *facts, double documents,
                char **ret_sql, struct err *err)
{
    char opclass[128], options[64];

    (void)snprintf(opclass, sizeof opclass, "\"%s\".%s", m->types.schema, operator_class(m));
    if (strcmp(m->index_method, "ivfflat") == 0)
        (void)snprintf(options, sizeof options, "lists = %lld", (long long)index_list_count(index, documents));
    else
        (void)snprintf(options, sizeof options, "m = %lld, ef_construction = %lld", (long long)index->m,
                       (long long)index->ef_construction);
    const struct template_value values[] = {
        {"name", result_string(facts, 0, "name")},
        {"target", result_string(facts, 0, "target")},
        {"column", result_string(facts, 0, "column")},
        {"method", m->index_method},
        {"opclass", opclass},
        {"options", options},
    };
    return template_render(sql_index_create, values, sizeof values / sizeof *values, ret_sql, err);
}

static enum rc
create_index(struct run *run, struct db *db, const PGresult *facts, struct err *err)
{
    char *sql = NULL;
    enum rc rc =
        index_statement(run->migration, &run->file->target.index, facts, result_float64(facts, 0, "rows"), &sql, err);

    if (rc != RC_OK)
        return rc;
    log_event(LOG_INFO, "building the index", LF_STR("index", result_string(facts, 0, "qualified")));
    db_set_stop(db, &run->stopping); /* without a grace period: the server goes on */
    db_leave_on_stop(db, true);
    rc = db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, err);
    db_leave_on_stop(db, false);
    db_set_stop(db, &run->abandon);
    if (rc == RC_INVALID && strcmp(err->sqlstate, "42P07") == 0) /* another process was first: look again */
        rc = RC_AGAIN;
    if (rc != RC_OK && strstr(err->message, "shared memory segment"))
        err_hint(err,
                 "a parallel index build takes maintenance_work_mem from /dev/shm: give the server's container more "
                 "of it (shm_size), or ALTER ROLE ... SET max_parallel_maintenance_workers = 0");
    free(sql);
    return rc;
}

static enum rc
drop_broken(struct db *db, const PGresult *facts, struct err *err)
{
    struct template_value value = {"qualified", result_string(facts, 0, "qualified")};
    char *sql = NULL;
    enum rc rc = template_render(sql_index_drop, &value, 1, &sql, err);

    if (rc == RC_OK)
        rc = db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, err);
    free(sql);
    return rc;
}

static enum rc
look(struct run *run, struct db *db, PGresult **ret_facts, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    /* a placed column gets the index, its side table none */
    params_add_int8(&params,
                    run->migration->column.space_id ? run->migration->column.space_id : run->migration->target.id);
    rc = run_exec(run, db, sql_index_facts, &params, ret_facts, err);
    params_clear(&params);
    return rc;
}

static enum rc
note_ready(struct run *run, struct db *db, const PGresult *facts, int64_t started_ms, struct err *err)
{
    struct template_value value = {"target", result_string(facts, 0, "target")};
    struct params params = PARAMS_INIT;
    char *sql = NULL;
    enum rc rc = template_render("ANALYZE {target}", &value, 1, &sql, err);

    if (rc == RC_OK)
        rc = db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, err);
    if (rc == RC_OK) {
        params_add_text(&params, run->migration->id);
        params_add_text(&params, result_string(facts, 0, "qualified"));
        params_add_float8(&params, (double)(clock_now_ms() - started_ms) / 1000);
        rc = run_exec(run, db, "SELECT reembed.index_ready($1, $2, $3)", &params, NULL, err);
    }
    params_clear(&params);
    free(sql);
    return rc;
}

enum rc
index_build(struct run *run, struct db *db, struct err *err)
{
    int64_t started_ms = clock_now_ms();
    PGresult *facts = NULL;
    enum rc rc = look(run, db, &facts, err);

    if (rc == RC_OK && result_bool(facts, 0, "building") && !result_bool(facts, 0, "valid"))
        rc = RC_AGAIN;
    else if (rc == RC_OK && !result_bool(facts, 0, "valid")) {
        if (result_bool(facts, 0, "there"))
            rc = drop_broken(db, facts, err);
        if (rc == RC_OK)
            rc = create_index(run, db, facts, err);
    }
    if (rc == RC_OK)
        rc = fail_point("finisher.indexed", err);
    if (rc == RC_OK)
        rc = note_ready(run, db, facts, started_ms, err);
    PQclear(facts);
    return rc == RC_OK ? fail_point("finisher.index_noted", err) : rc;
}
