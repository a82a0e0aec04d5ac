/* What an error says, what it keeps to itself, and what the caller is told to do. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/result.h"
#include "tests/db/fresh_database.h"

static struct fresh_database database;
static struct db *db;

static void
set_up(void)
{
    fresh_database_create(&database, false);
    db = fresh_database_connect(&database, (struct db_options){0});
}

static void
tear_down(void)
{
    db = db_close(db);
    fresh_database_drop(&database);
}

TestSuite(errors, .init = set_up, .fini = tear_down, .timeout = 60);

static enum rc
raise_error(const char *sqlstate, struct err *err)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "do $$ begin raise exception E'first\\nsecond' using errcode = '%s', detail = 'the detail', "
             "hint = E'do\\tthis'; end $$",
             sqlstate);
    return db_exec(db, sql, NULL, NULL, err);
}

Test(errors, each_sqlstate_says_what_to_do)
{
    static const struct {
        const char *sqlstate;
        enum rc rc;
        enum err_class class;
        bool lost;
    } cases[] = {
        {"RE001", RC_REFUSED, ERR_STATE, false},    {"RE002", RC_REFUSED, ERR_USAGE, false},
        {"RE003", RC_REFUSED, ERR_GATE, false},     {"08006", RC_RETRY, ERR_UNREACHABLE, true},
        {"57P01", RC_RETRY, ERR_UNREACHABLE, true}, {"57P03", RC_RETRY, ERR_UNREACHABLE, true},
        {"53300", RC_RETRY, ERR_UNREACHABLE, true}, {"25006", RC_RETRY, ERR_UNREACHABLE, true},
        {"40001", RC_RETRY, ERR_DATABASE, false},   {"40P01", RC_RETRY, ERR_DATABASE, false},
        {"55P03", RC_RETRY, ERR_DATABASE, false},   {"57014", RC_RETRY, ERR_DATABASE, false},
        {"22001", RC_INVALID, ERR_DATABASE, false}, {"23505", RC_INVALID, ERR_DATABASE, false},
        {"42P01", RC_INVALID, ERR_USAGE, false},    {"42703", RC_INVALID, ERR_USAGE, false},
        {"3F000", RC_INVALID, ERR_USAGE, false},    {"42501", RC_INVALID, ERR_UNREACHABLE, false},
        {"53100", RC_FATAL, ERR_DATABASE, false},   {"XX000", RC_FATAL, ERR_DATABASE, false},
        {"P0001", RC_FATAL, ERR_DATABASE, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = ERR_INIT;
        cr_assert_eq(raise_error(cases[i].sqlstate, &err), cases[i].rc, "%s", cases[i].sqlstate);
        cr_assert_eq(err.class, cases[i].class, "%s", cases[i].sqlstate);
        cr_assert_str_eq(err.sqlstate, cases[i].sqlstate);
        cr_assert_eq(db_alive(db), !cases[i].lost, "%s", cases[i].sqlstate);
        cr_assert_eq(err_is_disk_full(&err), strcmp(cases[i].sqlstate, "53100") == 0);
        if (cases[i].lost)
            cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
    }
}

Test(errors, message_detail_and_hint_are_one_line_each)
{
    struct err err = ERR_INIT;
    raise_error("RE001", &err);
    cr_assert_str_eq(err.message, "first second: the detail");
    cr_assert_str_eq(err.hint, "do this");
}

Test(errors, a_full_shared_memory_is_not_a_full_disk)
{
    struct err err = ERR_INIT;
    cr_assert_eq(db_exec(db,
                         "do $$ begin raise exception 'could not resize shared memory segment \"/PostgreSQL.1\" to 9 "
                         "bytes: No space left on device' using errcode = '53100'; end $$",
                         NULL, NULL, &err),
                 RC_FATAL);
    cr_assert_not(err_is_disk_full(&err));
    cr_assert_not_null(strstr(err.hint, "shm-size"));
}

Test(errors, the_text_of_a_document_is_not_shown)
{
    struct err err = ERR_INIT;
    must_run(db, "create table t (body text check (length(body) < 5), n int not null)");
    cr_assert_eq(db_exec(db, "insert into t values ('private words', 1)", NULL, NULL, &err), RC_INVALID);
    cr_assert_str_eq(err.sqlstate, "23514");
    cr_assert_null(strstr(err.message, "private"), "%s", err.message);
    cr_assert_eq(db_exec(db, "insert into t values ('priv', null)", NULL, NULL, &err), RC_INVALID);
    cr_assert_str_eq(err.sqlstate, "23502");
    cr_assert_null(strstr(err.message, "priv"), "%s", err.message);
}

Test(errors, a_failed_parameter_is_reported_and_nothing_is_sent)
{
    struct err err = ERR_INIT;
    struct params params = PARAMS_INIT;
    params_add_interval_ms(&params, INT64_MAX);
    cr_assert_eq(db_exec(db, "select $1", &params, NULL, &err), RC_INVALID);
    cr_assert_not_null(strstr(err.message, "out of range"));
    cr_assert_eq(db_send(db, "select $1", &params, &err), RC_INVALID);
    cr_assert_eq(db_in_flight(db), 0);
    cr_assert_eq(must_read_int64(db, "select 1 as v"), 1);
    params_clear(&params);
}

Test(errors, copy_is_refused)
{
    struct err err = ERR_INIT;
    cr_assert_eq(db_exec(db, "copy (select 1) to stdout", NULL, NULL, &err), RC_FATAL);
    cr_assert_not(db_alive(db));
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
    cr_assert_eq(db_script(db, "copy pg_class from stdin", &err), RC_FATAL);
    cr_assert_eq(db_reconnect(db, NULL, &err), RC_OK);
}

Test(errors, no_error_of_connecting_shows_a_password)
{
    static const struct {
        const char *url;
        enum rc rc;
        enum err_class class;
    } cases[] = {
        {"postgresql://u:s3cr3tword@127.0.0.1:1/d", RC_RETRY, ERR_UNREACHABLE},
        {"postgres://u:s3cr3tword@/d?host=/nowhere/at/all", RC_RETRY, ERR_UNREACHABLE},
        {"host=127.0.0.1 port=1 password=s3cr3tword", RC_RETRY, ERR_UNREACHABLE},
        {"postgresql://127.0.0.1:1/d?password=s3cr3tword", RC_RETRY, ERR_UNREACHABLE},
        {"postgresql://u:s3@cr3tword@127.0.0.1:1/d", RC_INVALID, ERR_USAGE},
        {"postgresql://u:s3/cr3tword@127.0.0.1:1/d", RC_INVALID, ERR_USAGE},
        {"postgresql://u:s3/cr3t?word@127.0.0.1:1/d", RC_INVALID, ERR_USAGE},
        {"postgresql://u:%s3cr3tword@127.0.0.1:1/d", RC_INVALID, ERR_USAGE},
        {"postgresql://u:12/s3cr3t?word@127.0.0.1/d", RC_INVALID, ERR_USAGE},
        {"postgresql://127.0.0.1:1/d?passwordd=s3cr3tword", RC_INVALID, ERR_USAGE},
        {"host=127.0.0.1 password='s3cr3tword", RC_INVALID, ERR_USAGE},
        {"password=x s3cr3tword", RC_INVALID, ERR_USAGE},
        {"u:s3cr3tword@127.0.0.1/d", RC_INVALID, ERR_USAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = ERR_INIT;
        struct db *none = NULL;
        int64_t start_ms = clock_now_ms();
        cr_assert_eq(db_open(&(struct db_options){.url = cases[i].url}, &none, &err), cases[i].rc, "%s: %s",
                     cases[i].url, err.message);
        cr_assert_lt(clock_now_ms() - start_ms, 10000);
        cr_assert_null(none);
        cr_assert_eq(err.class, cases[i].class, "%s", cases[i].url);
        cr_assert_neq(err.message[0], '\0');
        cr_assert_neq(err.hint[0], '\0');
        cr_assert_null(strchr(err.message, '\n'));
        char *shown = db_url_for_display(cases[i].url);
        static const char *const pieces[] = {"s3cr3t", "cr3t", "word@", "tword"};
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            cr_assert_null(strstr(err.message, pieces[p]), "%s", err.message);
            cr_assert_null(strstr(err.hint, pieces[p]), "%s", err.hint);
            cr_assert_null(strstr(shown, pieces[p]), "%s", shown);
        }
        free(shown);
    }
}

Test(errors, a_database_that_only_reads_is_refused_unless_the_url_allows_it)
{
    struct err err = ERR_INIT;
    struct db *none = NULL;
    char url[1024];
    char sql[160];

    if (db_server(db)->pooled)
        return; /* answers for its sessions, not for the database */
    snprintf(sql, sizeof sql, "alter database %s set default_transaction_read_only = on", database.name);
    must_run(db, sql);
    cr_assert_eq(db_open(&(struct db_options){.url = database.url}, &none, &err), RC_RETRY);
    cr_assert_eq(err.class, ERR_UNREACHABLE);
    fresh_database_url(url, sizeof url, database.name, NULL, "target_session_attrs=any");
    cr_assert_eq(db_open(&(struct db_options){.url = url}, &none, &err), RC_OK, "%s", err.message);
    db_close(none);
}
