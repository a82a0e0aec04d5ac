#include "tests/db/fresh_database.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "db/result.h"

static _Noreturn void __attribute__((format(printf, 1, 2))) die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("test set-up: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

static const char *
server_url(void)
{
    const char *url = getenv("REEMBED_TEST_DATABASE_URL");
    if (url == NULL)
        die("REEMBED_TEST_DATABASE_URL is not set");
    return url;
}

void
fresh_database_url(char *out, size_t size, const char *dbname, const char *user, const char *extra)
{
    char *complaint = NULL;
    PQconninfoOption *options = PQconninfoParse(server_url(), &complaint);
    if (options == NULL)
        die("REEMBED_TEST_DATABASE_URL: %s", complaint);

    size_t used = 0;
    for (PQconninfoOption *option = options; option->keyword != NULL; option++) {
        const char *value = option->val;
        if (strcmp(option->keyword, "dbname") == 0 && dbname != NULL)
            value = dbname;
        if (strcmp(option->keyword, "user") == 0 && user != NULL)
            value = user;
        if (value != NULL)
            used += (size_t)snprintf(out + used, size - used, "%s='%s' ", option->keyword, value);
        if (used >= size)
            die("REEMBED_TEST_DATABASE_URL is too long");
    }
    snprintf(out + used, size - used, "%s", extra != NULL ? extra : "");
    PQconninfoFree(options);
}

static struct db *
connect_or_die(struct db_options options)
{
    struct db *db = NULL;
    struct err err = ERR_INIT;
    if (db_open(&options, &db, &err) != RC_OK)
        die("%s", err.message);
    return db;
}

static void
on_server(const char *format, const char *name)
{
    char sql[256];
    struct err err = ERR_INIT;
    struct db *db = connect_or_die((struct db_options){.url = server_url()});
    snprintf(sql, sizeof sql, "%s%s", format, name);
    if (db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err) != RC_OK)
        die("%s: %s", sql, err.message);
    db_close(db);
}

void
fresh_database_create(struct fresh_database *database, bool with_vector)
{
    snprintf(database->name, sizeof database->name, "reembed_test_%d_%lld", (int)getpid(),
             (long long)(clock_now_us() % 1000000000));
    on_server("create database ", database->name);
    fresh_database_url(database->url, sizeof database->url, database->name, NULL, NULL);
    if (with_vector) {
        struct db *db = fresh_database_connect(database, (struct db_options){0});
        must_run(db, "create extension vector");
        db_close(db);
    }
}

void
fresh_database_drop(struct fresh_database *database)
{
    char target[128];
    snprintf(target, sizeof target, "%s with (force)", database->name);
    on_server("drop database ", target);
}

struct db *
fresh_database_connect(const struct fresh_database *database, struct db_options options)
{
    options.url = database->url;
    return connect_or_die(options);
}

void
must_run(struct db *db, const char *sql)
{
    struct err err = ERR_INIT;
    if (db_script(db, sql, &err) != RC_OK)
        die("%s: %s", sql, err.message);
}

static PGresult *
read_row(struct db *db, const char *sql)
{
    PGresult *result = NULL;
    struct err err = ERR_INIT;
    if (db_exec(db, sql, NULL, &result, &err) != RC_OK)
        die("%s: %s", sql, err.message);
    if (result_rows(result) != 1)
        die("%s: %d rows", sql, result_rows(result));
    return result;
}

int64_t
must_read_int64(struct db *db, const char *sql)
{
    PGresult *result = read_row(db, sql);
    int64_t value = result_int64(result, 0, "v");
    PQclear(result);
    return value;
}

char *
must_read_text(struct db *db, const char *sql)
{
    PGresult *result = read_row(db, sql);
    const char *value = result_string(result, 0, "v");
    char *copy = strdup(value != NULL ? value : "(null)");
    PQclear(result);
    if (copy == NULL)
        die("out of memory");
    return copy;
}

void
must_become_true(struct db *db, const char *sql)
{
    int64_t until_ms = clock_now_ms() + 20000;
    for (;;) {
        PGresult *result = read_row(db, sql);
        bool value = result_bool(result, 0, "v");
        PQclear(result);
        if (value)
            return;
        if (clock_now_ms() > until_ms)
            die("%s: never became true", sql);
        poll(NULL, 0, 5);
    }
}
