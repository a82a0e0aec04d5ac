#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/internal.h"
#include "db/result.h"
#include "tests/db/fresh_database.h"

static struct fresh_database database;

static void
set_up(void)
{
    fresh_database_create(&database, false);
}

static void
tear_down(void)
{
    fresh_database_drop(&database);
}

TestSuite(connection, .init = set_up, .fini = tear_down, .timeout = 60);

/* What the session says outside the settings of a transaction. */
static char *
session_setting(struct db *db, const char *sql)
{
    PGresult *result = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(db_run(db, GROUP_BARE, sql, NULL, 1, 10000, &result, &err), RC_OK, "%s", err.message);
    char *value = strdup(result_text_at(result, 0, 0).bytes);
    PQclear(result);
    return value;
}

static void
expect_session_setting(struct db *db, const char *sql, const char *expected)
{
    char *value = session_setting(db, sql);
    cr_assert_str_eq(value, expected);
    free(value);
}

static void
expect_text(struct db *db, const char *sql, const char *expected)
{
    char *value = must_read_text(db, sql);
    cr_assert_str_eq(value, expected);
    free(value);
}

Test(connection, timeouts_and_settings_hold_for_the_transaction_and_leave_the_session_alone)
{
    struct db_setting settings[] = {{"enable_seqscan", "off"}, {"application_name", "it's \\ \"here\""}};
    struct db *db = fresh_database_connect(&database, (struct db_options){.statement_timeout_ms = 12345,
                                                                          .lock_timeout_ms = DB_NO_TIMEOUT,
                                                                          .settings = settings,
                                                                          .setting_count = 2});
    expect_text(db, "select current_setting('statement_timeout') as v", "12345ms");
    expect_text(db, "select current_setting('lock_timeout') as v", "0");
    expect_text(db, "select current_setting('enable_seqscan') as v", "off");
    expect_text(db, "select current_setting('application_name') as v", "it's \\ \"here\"");
    expect_session_setting(db, "show statement_timeout", "0");
    expect_session_setting(db, "show lock_timeout", "0");
    expect_session_setting(db, "show enable_seqscan", "on");

    struct err err = ERR_INIT;
    cr_assert_eq(db_begin(db, &err), RC_OK, "%s", err.message);
    expect_text(db, "select current_setting('statement_timeout') as v", "12345ms");
    expect_text(db, "select current_setting('idle_in_transaction_session_timeout') as v", "12345ms");
    cr_assert_eq(db_commit(db, &err), RC_OK, "%s", err.message);
    expect_session_setting(db, "show statement_timeout", "0");
    expect_session_setting(db, "show idle_in_transaction_session_timeout", "0");

    cr_assert_eq(db_set_timeouts(db, 500, 0, &err), RC_OK);
    expect_text(db, "select current_setting('statement_timeout') as v", "500ms");
    expect_text(db, "select current_setting('lock_timeout') as v", "2s");
    db_close(db);
}

Test(connection, a_statement_that_takes_too_long_is_ended_and_may_be_retried)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){.statement_timeout_ms = 100});
    struct err err = ERR_INIT;
    int64_t start_ms = clock_now_ms();
    cr_assert_eq(db_exec(db, "select pg_sleep(30)", NULL, NULL, &err), RC_RETRY);
    cr_assert_lt(clock_now_ms() - start_ms, 10000);
    cr_assert_str_eq(err.sqlstate, "57014");
    cr_assert(db_alive(db));
    cr_assert_eq(must_read_int64(db, "select 1 as v"), 1);
    db_close(db);
}

Test(connection, waiting_for_a_lock_ends_at_lock_timeout)
{
    struct db *holder = fresh_database_connect(&database, (struct db_options){0});
    struct db *db = fresh_database_connect(&database, (struct db_options){.lock_timeout_ms = 50});
    struct err err = ERR_INIT;

    must_run(holder, "create table t (x int)");
    cr_assert_eq(db_begin(holder, &err), RC_OK);
    must_run(holder, "lock table t in access exclusive mode");
    cr_assert_eq(db_exec(db, "select * from t", NULL, NULL, &err), RC_RETRY);
    cr_assert_str_eq(err.sqlstate, "55P03");
    cr_assert_eq(err.class, ERR_DATABASE);
    cr_assert_eq(db_commit(holder, &err), RC_OK);
    cr_assert_eq(db_exec(db, "select * from t", NULL, NULL, &err), RC_OK);
    db_close(db);
    db_close(holder);
}

Test(connection, a_transaction_left_idle_loses_its_locks_by_itself)
{
    struct db *frozen = fresh_database_connect(&database, (struct db_options){.statement_timeout_ms = 200});
    struct db *db = fresh_database_connect(&database, (struct db_options){.lock_timeout_ms = 20000});
    struct err err = ERR_INIT;

    must_run(db, "create table t (x int)");
    cr_assert_eq(db_begin(frozen, &err), RC_OK);
    must_run(frozen, "lock table t in access exclusive mode");
    cr_assert_eq(db_exec(db, "select * from t", NULL, NULL, &err), RC_OK, "%s", err.message);
    cr_assert_eq(db_exec(frozen, "select * from t", NULL, NULL, &err), RC_RETRY);
    cr_assert_not(db_alive(frozen));
    db_close(db);
    db_close(frozen);
}

Test(connection, isolation_is_read_committed_whatever_the_default)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    char sql[256];
    snprintf(sql, sizeof sql, "alter database %s set default_transaction_isolation = 'serializable'", database.name);
    must_run(db, sql);
    /* a pooler's old sessions have the old default */
    struct err err = ERR_INIT;
    const char *terminate = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()";
    cr_assert_eq(db_exec(db, terminate, NULL, NULL, &err), RC_RETRY);
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK, "%s", err.message);
    cr_assert(db->set_isolation);

    const char *isolation = "select current_setting('transaction_isolation') as v";
    expect_text(db, isolation, "read committed");
    PGresult *result = NULL;
    cr_assert_eq(db_send(db, isolation, NULL, &err), RC_OK);
    cr_assert_eq(db_receive(db, &result, &err), RC_OK, "%s", err.message);
    cr_assert_str_eq(result_string(result, 0, "v"), "read committed");
    PQclear(result);
    cr_assert_eq(db_begin(db, &err), RC_OK);
    expect_text(db, isolation, "read committed");
    db_rollback(db);
    db_close(db);
}

Test(connection, one_failing_statement_does_not_take_those_in_flight_along)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    struct params params = PARAMS_INIT;
    static const int values[] = {1, 2, 2, 3};
    static const enum rc expected[] = {RC_OK, RC_OK, RC_INVALID, RC_OK};

    if (db_server(db)->pooled)
        return; /* one at a time there: test_pooler.c */
    must_run(db, "create table t (x int primary key)");
    for (size_t i = 0; i < 4; i++) {
        params_reset(&params);
        params_add_int4(&params, values[i]);
        cr_assert_eq(db_send(db, "insert into t values ($1)", &params, &err), RC_OK, "%s", err.message);
    }
    cr_assert_eq(db_in_flight(db), 4);
    for (size_t i = 0; i < 4; i++) {
        PGresult *result = NULL;
        cr_assert_eq(db_receive(db, &result, &err), expected[i], "statement %zu: %s", i, err.message);
        cr_assert_eq(result != NULL, expected[i] == RC_OK);
        if (result != NULL)
            cr_assert_eq(result_affected(result), 1);
        PQclear(result);
    }
    cr_assert_str_eq(err.sqlstate, "23505");
    cr_assert_eq(db_in_flight(db), 0);
    cr_assert_eq(must_read_int64(db, "select sum(x) as v from t"), 6);
    params_clear(&params);
    db_close(db);
}

Test(connection, an_error_at_the_commit_of_a_statement_is_an_error_of_it)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    PGresult *result = NULL;

    must_run(db, "create table p (x int primary key); "
                 "create table c (x int references p deferrable initially deferred)");
    cr_assert_eq(db_exec(db, "insert into c values (1)", NULL, &result, &err), RC_INVALID);
    cr_assert_null(result);
    cr_assert_str_eq(err.sqlstate, "23503");
    cr_assert_eq(db_send(db, "insert into c values (1)", NULL, &err), RC_OK);
    if (!db_server(db)->pooled)
        cr_assert_eq(db_send(db, "insert into p values (1)", NULL, &err), RC_OK);
    cr_assert_eq(db_receive(db, NULL, &err), RC_INVALID);
    if (!db_server(db)->pooled)
        cr_assert_eq(db_receive(db, NULL, &err), RC_OK);
    cr_assert_eq(must_read_int64(db, "select count(*) as v from c"), 0);
    db_close(db);
}

Test(connection, many_large_statements_in_flight_do_not_block_each_other)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    struct params params = PARAMS_INIT;
    const size_t size = 1024 * 1024;
    char *text = malloc(size + 1);

    memset(text, 'x', size);
    text[size] = '\0';
    params_add_text(&params, text);
    size_t most = db_max_in_flight(db);
    for (size_t i = 0; i < most; i++)
        cr_assert_eq(db_send(db, "select $1 as v", &params, &err), RC_OK, "%s", err.message);
    cr_assert_eq(db_send(db, "select $1 as v", &params, &err), RC_AGAIN);
    for (size_t i = 0; i < most; i++) {
        PGresult *result = NULL;
        cr_assert_eq(db_receive(db, &result, &err), RC_OK, "%s", err.message);
        cr_assert_eq(result_text(result, 0, "v").length, size);
        PQclear(result);
    }
    cr_assert(db_alive(db));
    params_clear(&params);
    free(text);
    db_close(db);
}

Test(connection, text_results_are_as_postgres_shows_them)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    PGresult *result = NULL;
    cr_assert_eq(db_exec_text(db, "select 1.50::numeric as n, array[1,2] as a, null as z", NULL, &result, &err), RC_OK);
    cr_assert_str_eq(result_string(result, 0, "n"), "1.50");
    cr_assert_str_eq(result_string(result, 0, "a"), "{1,2}");
    cr_assert_null(result_string(result, 0, "z"));
    PQclear(result);
    db_close(db);
}

Test(connection, a_script_is_all_or_nothing)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;

    must_run(db, "create table t (x int); insert into t values (1) -- without an end");
    cr_assert_eq(db_script(db, "insert into t values (2); select 1/0; insert into t values (3)", &err), RC_INVALID);
    cr_assert_str_eq(err.sqlstate, "22012");
    cr_assert_eq(must_read_int64(db, "select sum(x) as v from t"), 1);

    cr_assert_eq(db_begin(db, &err), RC_OK);
    must_run(db, "insert into t values (4); insert into t values (5)");
    cr_assert_eq(must_read_int64(db, "select sum(x) as v from t"), 10);
    db_rollback(db);
    cr_assert_eq(must_read_int64(db, "select sum(x) as v from t"), 1);
    db_close(db);
}

Test(connection, a_commit_after_a_failed_statement_is_no_success)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;

    must_run(db, "create table t (x int)");
    cr_assert_eq(db_begin(db, &err), RC_OK);
    cr_assert_eq(db_exec(db, "insert into t values (1)", NULL, NULL, &err), RC_OK);
    cr_assert_eq(db_exec(db, "select 1/0", NULL, NULL, &err), RC_INVALID);
    cr_assert_eq(db_commit(db, &err), RC_FATAL);
    db_rollback(db);
    cr_assert_eq(must_read_int64(db, "select count(*) as v from t"), 0);
    db_close(db);
}

Test(connection, an_index_is_built_concurrently_under_its_own_timeouts)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    char sql[160];

    must_run(db, "create table t as select i as x, i % 100 as y from generate_series(1, 200000) i");
    snprintf(sql, sizeof sql, "alter database %s set statement_timeout = '5ms'", database.name);
    must_run(db, sql);
    (void)db_exec(db, "select pg_terminate_backend(pg_backend_pid())", NULL, NULL, &err);
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK, "%s", err.message);
    expect_session_setting(db, "show statement_timeout", "5ms");
    if (db_server(db)->pooled) {
        cr_assert_eq(db_exec_raw(db, "create index concurrently i1 on t (x)", DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err),
                     RC_INVALID);
        cr_assert_not_null(strstr(err.hint, "SET statement_timeout = 0"), "%s", err.hint);
        cr_assert_eq(db_exec_raw(db, "create index concurrently i2 on t (x)", 5, DB_NO_TIMEOUT, &err), RC_RETRY);
        return;
    }

    cr_assert_eq(db_exec_raw(db, "create index concurrently i1 on t (x)", DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err), RC_OK,
                 "%s", err.message);
    expect_session_setting(db, "show statement_timeout", "5ms");
    cr_assert_eq(db_exec_raw(db, "create index concurrently i2 on t (x)", 1, DB_NO_TIMEOUT, &err), RC_RETRY);
    cr_assert_str_eq(err.sqlstate, "57014");
    expect_session_setting(db, "show statement_timeout", "5ms");
    cr_assert_eq(db_exec_raw(db, "create unique index concurrently i3 on t (y)", DB_NO_TIMEOUT, 100, &err), RC_INVALID);
    expect_session_setting(db, "show statement_timeout", "5ms");
    expect_session_setting(db, "show lock_timeout", "0");
    cr_assert_eq(
        must_read_int64(db, "select count(*) as v from pg_index where indrelid = 't'::regclass and indisvalid"), 1);
    db_close(db);
}

Test(connection, two_connections_know_that_they_lead_to_one_server)
{
    struct db *a = fresh_database_connect(&database, (struct db_options){0});
    struct db *b = fresh_database_connect(&database, (struct db_options){0});
    cr_assert(db_same_server(db_server(a), db_server(b)));
    cr_assert_neq(db_incarnation(a), db_incarnation(b));
    cr_assert_gt(db_server(a)->started_us, 0);
    cr_assert_geq(db_server(a)->version, 150000);
    cr_assert_eq(db_server(a)->timeline, 1);
    cr_assert_eq(db_server(a)->pooled, getenv("REEMBED_TEST_DIRECT_URL") != NULL);
    cr_assert_str_eq(db_name(a), database.name);

    struct db_server other = *db_server(a);
    other.started_us++;
    cr_assert_not(db_same_server(db_server(a), &other));
    other = *db_server(a);
    other.timeline = 2;
    cr_assert_not(db_same_server(db_server(a), &other));
    other.timeline = 0;
    cr_assert(db_same_server(db_server(a), &other));
    db_close(a);
    db_close(b);
}

Test(connection, a_plain_role_can_connect)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    char role[80];
    char sql[160];
    struct fresh_database plain = database;

    snprintf(role, sizeof role, "plain_%s", database.name);
    snprintf(sql, sizeof sql, "create role %s login", role);
    must_run(db, sql);
    fresh_database_url(plain.url, sizeof plain.url, plain.name, role, NULL);
    struct db *other = fresh_database_connect(&plain, (struct db_options){0});
    cr_assert_eq(must_read_int64(other, "select 1 as v"), 1);
    cr_assert(db_same_server(db_server(db), db_server(other)));
    cr_assert_str_eq(db_user(other), role);
    db_close(other);
    snprintf(sql, sizeof sql, "drop role %s", role);
    must_run(db, sql);
    db_close(db);
}
