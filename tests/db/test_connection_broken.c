/* What happens when the server, the connection or the person at the keyboard ends something half-way. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/internal.h"
#include "db/result.h"
#include "tests/db/fresh_database.h"

static struct fresh_database database;
static struct db *other; /* looks on */

static void
set_up(void)
{
    fresh_database_create(&database, false);
    other = fresh_database_connect(&database, (struct db_options){0});
    must_run(other, "create table t (x int)");
}

static void
tear_down(void)
{
    other = db_close(other);
    fresh_database_drop(&database);
}

TestSuite(broken, .init = set_up, .fini = tear_down, .timeout = 60);

#define SLEEPER "/* sleeper */ insert into t select 1 from pg_sleep(50)"
#define SLEEPERS                                                                                                       \
    "from pg_stat_activity where state = 'active' and query like '/* sleeper */%' and datname = current_database()"

static void
await_sleeper(void)
{
    must_become_true(other, "select count(*) > 0 as v " SLEEPERS);
}

static void
expect_no_sleeper(void)
{
    must_become_true(other, "select count(*) = 0 as v " SLEEPERS);
    cr_assert_eq(must_read_int64(other, "select count(*) as v from t"), 0);
}

static void *
terminate_sleeper(void *ignored)
{
    await_sleeper();
    must_read_int64(other, "select count(pg_terminate_backend(pid)) as v " SLEEPERS);
    return ignored;
}

static atomic_bool stop;

static void *
raise_stop(void *ignored)
{
    await_sleeper();
    atomic_store(&stop, true);
    return ignored;
}

static void *
cancel(void *db)
{
    struct err err = ERR_INIT;
    await_sleeper();
    cr_assert_eq(db_cancel(db, &err), RC_OK, "%s", err.message);
    return NULL;
}

static pthread_t
start(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, run, argument), 0);
    return thread;
}

Test(broken, a_terminated_backend_is_told_as_lost_and_reconnected_to)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    uint64_t before = db_incarnation(db);

    pthread_t thread = start(terminate_sleeper, NULL);
    cr_assert_eq(db_exec(db, SLEEPER, NULL, NULL, &err), RC_RETRY);
    pthread_join(thread, NULL);
    cr_assert_eq(err.class, ERR_UNREACHABLE, "%s", err.message);
    cr_assert_not(db_alive(db));
    cr_assert_eq(db_socket(db), -1);
    cr_assert_neq(db_incarnation(db), before);

    cr_assert_eq(db_exec(db, "select 1 as v", NULL, NULL, &err), RC_RETRY);
    cr_assert_eq(db_send(db, "select 1 as v", NULL, &err), RC_RETRY);
    cr_assert_eq(db_begin(db, &err), RC_RETRY);
    cr_assert_eq(db_script(db, "select 1", &err), RC_RETRY);
    cr_assert_eq(db_exec_raw(db, "select 1", 0, 0, &err), RC_RETRY);

    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK, "%s", err.message);
    cr_assert(db_alive(db));
    cr_assert_neq(db_incarnation(db), before);
    cr_assert(db_same_server(db_server(db), db_server(other)));
    cr_assert_eq(must_read_int64(db, "select 1 as v"), 1);
    db_close(db);
}

Test(broken, every_statement_in_flight_gets_an_answer_when_the_connection_is_lost)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;

    if (db_server(db)->pooled)
        return; /* one at a time there */
    cr_assert_eq(db_send(db, "insert into t values (1)", NULL, &err), RC_OK);
    cr_assert_eq(db_send(db, SLEEPER, NULL, &err), RC_OK);
    cr_assert_eq(db_send(db, "insert into t values (2)", NULL, &err), RC_OK);
    terminate_sleeper(NULL);
    cr_assert_eq(db_receive(db, NULL, &err), RC_OK, "%s", err.message);
    for (int i = 0; i < 2; i++) {
        err = (struct err)ERR_INIT;
        cr_assert_eq(db_receive(db, NULL, &err), RC_RETRY);
        cr_assert_eq(err.class, ERR_UNREACHABLE);
        cr_assert_neq(err.message[0], '\0');
    }
    cr_assert_eq(db_in_flight(db), 0);
    cr_assert_eq(must_read_int64(other, "select sum(x) as v from t"), 1);

    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
    cr_assert_eq(db_send(db, "select 1 as v", NULL, &err), RC_OK);
    cr_assert_eq(db_send(db, "select 1 as v", NULL, &err), RC_OK);
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
    cr_assert_eq(db_in_flight(db), 0);
    db_close(db);
}

Test(broken, a_backend_terminated_while_idle_is_noticed_by_the_next_statement)
{
    if (getenv("REEMBED_TEST_DIRECT_URL") != NULL)
        return; /* a pooler replaces it unseen */
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    char sql[128];
    snprintf(sql, sizeof sql, "select pg_terminate_backend(%d, 10000)::int as v", db_server(db)->backend_pid);
    cr_assert_eq(must_read_int64(other, sql), 1);
    cr_assert_eq(db_exec(db, "insert into t values (1)", NULL, NULL, &err), RC_RETRY);
    cr_assert_eq(err.class, ERR_UNREACHABLE);
    cr_assert_not(db_alive(db));
    db_close(db);
}

Test(broken, a_statement_never_runs_on_another_server_unseen)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    uint64_t before = db_incarnation(db);

    db->server.started_us--; /* as if the server had been restarted behind a pooler */
    cr_assert_eq(db_exec(db, "insert into t values (1)", NULL, NULL, &err), RC_RETRY);
    cr_assert_eq(err.class, ERR_UNREACHABLE);
    cr_assert_not_null(strstr(err.message, "restarted or replaced"), "%s", err.message);
    cr_assert_neq(db_incarnation(db), before);
    cr_assert_eq(must_read_int64(other, "select count(*) as v from t"), 0);
    cr_assert_not(db_alive(db));

    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
    db->server.started_us--;
    cr_assert_eq(db_begin(db, &err), RC_RETRY);
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
    cr_assert_eq(db_exec(db, "insert into t values (1)", NULL, NULL, &err), RC_OK);
    db_close(db);
}

Test(broken, the_stop_flag_ends_a_statement_and_the_connection_stays_usable)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){.stop = &stop});
    struct err err = ERR_INIT;

    pthread_t thread = start(raise_stop, NULL);
    int64_t start_ms = clock_now_ms();
    cr_assert_eq(db_exec(db, SLEEPER, NULL, NULL, &err), RC_CLOSED);
    cr_assert_lt(clock_now_ms() - start_ms, 20000);
    pthread_join(thread, NULL);
    expect_no_sleeper();
    cr_assert(db_alive(db));
    db_set_stop(db, NULL);
    cr_assert_eq(must_read_int64(db, "select 1 as v"), 1);
    db_close(db);
}

Test(broken, the_stop_flag_ends_an_index_build_and_its_session_is_reset)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){.stop = &stop});
    struct err err = ERR_INIT;
    PGresult *result = NULL;

    pthread_t thread = start(raise_stop, NULL);
    cr_assert_eq(db_exec_raw(db, SLEEPER, DB_NO_TIMEOUT, 4321, &err), RC_CLOSED);
    pthread_join(thread, NULL);
    cr_assert_eq(db_run(db, GROUP_BARE, "show lock_timeout", NULL, 1, 10000, &result, &err), RC_OK, "%s", err.message);
    cr_assert_str_eq(result_string(result, 0, "lock_timeout"), "0");
    PQclear(result);
    db_close(db);
}

Test(broken, a_statement_may_be_left_to_the_server_when_the_stop_flag_is_raised)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){.stop = &stop});
    struct err err = ERR_INIT;

    db_leave_on_stop(db, true);
    pthread_t thread = start(raise_stop, NULL);
    cr_assert_eq(db_exec_raw(db, SLEEPER, DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err), RC_CLOSED);
    pthread_join(thread, NULL);
    cr_assert_not(db_alive(db));
    db_close(db);
    cr_assert_eq(must_read_int64(other, "select count(*) as v " SLEEPERS), 1);
    terminate_sleeper(NULL);
}

Test(broken, the_stop_flag_ends_waiting_for_a_server_that_hangs)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){.stop = &stop});
    struct err err = ERR_INIT;
    int pid = db_server(db)->backend_pid;

    if (db_server(db)->pooled || kill(pid, SIGSTOP) != 0)
        return; /* a server on another machine, or another user's */
    atomic_store(&stop, true);
    int64_t start_ms = clock_now_ms();
    cr_assert_eq(db_exec(db, "select 1", NULL, NULL, &err), RC_CLOSED);
    cr_assert_lt(clock_now_ms() - start_ms, 10000);
    cr_assert_not(db_alive(db));
    kill(pid, SIGCONT);
    db_close(db);
}

Test(broken, another_thread_cancels_a_statement)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;

    for (int round = 0; round < 3; round++) {
        pthread_t thread = start(cancel, db);
        cr_assert_eq(db_exec(db, SLEEPER, NULL, NULL, &err), RC_CLOSED, "%s", err.message);
        pthread_join(thread, NULL);
        expect_no_sleeper();
        cr_assert_eq(must_read_int64(db, "select 1 as v"), 1);
        /* the handle belongs to the new connection after a reconnect */
        cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
    }
    cr_assert_eq(db_cancel(db, &err), RC_OK);
    cr_assert_eq(must_read_int64(db, "select 1 as v"), 1);
    cr_assert_eq(db_set_timeouts(db, 50, 0, &err), RC_OK);
    cr_assert_eq(db_exec(db, SLEEPER, NULL, NULL, &err), RC_RETRY, "a cancel of the past is forgotten");
    db_close(db);
}

Test(broken, reconnecting_gives_up_by_its_policy_and_obeys_the_stop_flag)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){.stop = &stop});
    struct err err = ERR_INIT;
    const struct retry_policy policy = {.max_attempts = 3, .first_ms = 1, .cap_ms = 5};
    struct fresh_database server = database;
    char sql[160];

    other = db_close(other);
    fresh_database_url(server.url, sizeof server.url, NULL, NULL, NULL);
    struct db *admin = fresh_database_connect(&server, (struct db_options){0});
    snprintf(sql, sizeof sql, "alter database %s allow_connections false", database.name);
    must_run(admin, sql);
    snprintf(sql, sizeof sql, "select count(pg_terminate_backend(pid)) as v from pg_stat_activity where datname = '%s'",
             database.name);
    must_read_int64(admin, sql);

    cr_assert_eq(db_reconnect(db, &policy, &err), RC_RETRY);
    cr_assert_eq(err.class, ERR_UNREACHABLE);
    if (getenv("REEMBED_TEST_DIRECT_URL") == NULL)
        cr_assert_not_null(strstr(err.message, "not currently accepting connections"), "%s", err.message);
    cr_assert_eq(db_exec(db, "select 1", NULL, NULL, &err), RC_RETRY);
    atomic_store(&stop, true);
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_CLOSED);
    atomic_store(&stop, false);

    snprintf(sql, sizeof sql, "alter database %s allow_connections true", database.name);
    must_run(admin, sql);
    db_close(admin);
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK, "%s", err.message);
    cr_assert_eq(must_read_int64(db, "select 1 as v"), 1);
    db_close(db);
}
