/* What must hold behind a pooler in transaction mode. Run by tests/db/with-pooler. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/internal.h"
#include "db/result.h"
#include "db/schema.h"
#include "tests/db/fresh_database.h"

static struct fresh_database database;

static void
set_up(void)
{
    fresh_database_create(&database, true);
}

static void
tear_down(void)
{
    fresh_database_drop(&database);
}

TestSuite(pooler, .init = set_up, .fini = tear_down, .timeout = 120);

enum { CLIENTS = 12, ROUNDS = 100 };
static atomic_bool done;

/* A stranger with no timeouts of its own, who shares the sessions: nothing of ours may be seen there. */
static void *
look_for_leaks(void *ignored)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    while (!atomic_load(&done)) {
        PGresult *result = NULL;
        cr_assert_eq(
            db_run(db, GROUP_BARE,
                   "select current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' ' || "
                   "current_setting('enable_seqscan') as v",
                   NULL, 1, 30000, &result, &err),
            RC_OK, "%s", err.message);
        cr_assert_str_eq(result_string(result, 0, "v"), "0 0 on");
        PQclear(result);
    }
    db_close(db);
    return ignored;
}

static void *
work(void *number)
{
    struct db_setting setting = {"enable_seqscan", "off"};
    struct db *db = fresh_database_connect(&database, (struct db_options){.settings = &setting, .setting_count = 1});
    struct err err = ERR_INIT;
    char sql[128];
    for (int round = 0; round < ROUNDS; round++) {
        cr_assert_eq(db_exec(db, "insert into t values (1)", NULL, NULL, &err), RC_OK, "%s", err.message);
        cr_assert_eq(db_begin(db, &err), RC_OK, "%s", err.message);
        cr_assert_eq(db_exec(db, "insert into t values (1)", NULL, NULL, &err), RC_OK, "%s", err.message);
        cr_assert_eq(db_commit(db, &err), RC_OK, "%s", err.message);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(db_send(db, "insert into t values (1)", NULL, &err), RC_OK, "%s", err.message);
            cr_assert_eq(db_receive(db, NULL, &err), RC_OK, "%s", err.message);
        }
        if (round % 25 == 0) {
            snprintf(sql, sizeof sql, "create index concurrently i_%d_%d on u%d (x)", *(int *)number, round,
                     *(int *)number);
            cr_assert_eq(db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err), RC_OK, "%s", err.message);
        }
    }
    db_close(db);
    return NULL;
}

Test(pooler, more_clients_than_sessions_work_side_by_side_and_leave_nothing_behind)
{
    pthread_t threads[CLIENTS];
    pthread_t observer;
    static int numbers[CLIENTS];
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    char sql[64];

    must_run(db, "create table t (x int)");
    for (int i = 0; i < CLIENTS; i++) {
        snprintf(sql, sizeof sql, "create table u%d (x int)", i);
        must_run(db, sql);
    }
    pthread_create(&observer, NULL, look_for_leaks, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, work, &numbers[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&done, true);
    pthread_join(observer, NULL);
    cr_assert_eq(must_read_int64(db, "select count(*) as v from t"), CLIENTS * ROUNDS * 5);
    db_close(db);
}

/* Sends as much as it may and is gone while the last of it still runs. */
static _Noreturn void
die_with_statements_in_flight(void)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    size_t sent = 0;
    while (sent < 4 && db_send(db, sent == 0 ? "select 'foreign' as v" : "select 'foreign' as v from pg_sleep(0.3)",
                               NULL, &err) == RC_OK)
        sent++;
    if (sent > 1)
        (void)db_receive(db, NULL, &err);
    _exit(sent > 0 ? 0 : 1);
}

Test(pooler, a_client_that_dies_leaves_no_answers_to_others)
{
    struct db *db[4];
    struct err err = ERR_INIT;
    for (int round = 0; round < 5; round++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            die_with_statements_in_flight();
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert_eq(status, 0);
        for (int i = 0; i < 4; i++) {
            db[i] = fresh_database_connect(&database, (struct db_options){0});
            cr_assert_eq(db_begin(db[i], &err), RC_OK, "%s", err.message); /* takes each session of the pool */
        }
        for (int i = 0; i < 4; i++) {
            char *answer = must_read_text(db[i], "select 'mine' as v");
            cr_assert_str_eq(answer, "mine");
            free(answer);
            db_close(db[i]);
        }
    }
}

Test(pooler, one_statement_at_a_time_is_in_flight)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    cr_assert_eq(db_max_in_flight(db), 1);
    cr_assert_eq(db_send(db, "select 1 as v", NULL, &err), RC_OK);
    cr_assert_eq(db_send(db, "select 1 as v", NULL, &err), RC_AGAIN);
    cr_assert_eq(db_receive(db, NULL, &err), RC_OK);
    cr_assert_eq(db_send(db, "select 1 as v", NULL, &err), RC_OK);
    cr_assert_eq(db_receive(db, NULL, &err), RC_OK);
    db_close(db);
}

Test(pooler, the_schema_is_installed_through_it)
{
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    struct err err = ERR_INIT;
    cr_assert_eq(schema_install(db, &err), RC_OK, "%s", err.message);
    cr_assert_eq(schema_check(db, &err), RC_OK, "%s", err.message);
    db_close(db);
}
