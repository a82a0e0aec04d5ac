#include "tests/db/support.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/schema_versions.h"
#include "tests/db/fresh_database.h"

enum { MAX_SESSIONS = 16, MAX_SQL_BYTES = 1 << 20, AWAIT_MS = 20000 };

struct db *lab;

static struct {
    char name[64];
    struct arena *arena;
    struct db *sessions[MAX_SESSIONS];
    size_t session_count;
    struct db *observer; /* superuser: looks at locks */
} world;

void
lab_fail(const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cr_assert_fail("%s", text);
    abort();
}

/* --- texts --- */

static __attribute__((format(printf, 1, 0))) char *
vprint(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        lab_fail("out of memory");
    char *copy = arena_copy(world.arena, text, strlen(text));
    free(text);
    if (copy == NULL)
        lab_fail("out of memory");
    return copy;
}

char *
lab_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = vprint(format, args);
    va_end(args);
    return text;
}

#define PRINT(text, format)                                                                                            \
    do {                                                                                                               \
        va_list args;                                                                                                  \
        va_start(args, format);                                                                                        \
        (text) = vprint(format, args);                                                                                 \
        va_end(args);                                                                                                  \
    } while (0)

/* --- the template --- */

static struct db *
connect_to(const char *database, const char *role)
{
    char url[1024];
    struct db *db = NULL;
    struct err err = ERR_INIT;
    fresh_database_url(url, sizeof url, database, role, NULL);
    if (db_open(&(struct db_options){.url = url, .application_name = "lab"}, &db, &err) != RC_OK)
        lab_fail("database %s as %s: %s", database, role != NULL ? role : "superuser", err.message);
    return db;
}

static void
run_raw(struct db *db, const char *sql)
{
    struct err err = ERR_INIT;
    if (db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err) != RC_OK)
        lab_fail("%s: %s", sql, err.message);
}

static char *
read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    struct strbuf buf;
    char part[4096];
    size_t n;
    if (file == NULL)
        lab_fail("can't open %s", path);
    strbuf_init(&buf, MAX_SQL_BYTES);
    while ((n = fread(part, 1, sizeof part, file)) > 0)
        strbuf_add(&buf, part, n);
    fclose(file);
    char *text = strbuf_take(&buf);
    if (text == NULL)
        lab_fail("can't read %s", path);
    return text;
}

/* FNV-1a: a template made of other SQL has another name. */
static uint64_t
mix(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}

static void
make_roles(struct db *server)
{
    static const char *const roles[] = {LAB_OWNER, LAB_APPLICATION, LAB_READER, LAB_OPERATOR, LAB_STRANGER};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!sql_bool(server, "select exists (select from pg_roles where rolname = '%s')", roles[i]))
            sql_run(server, "create role %s login", roles[i]);
    }
}

static void
fill_template(const char *name, const char *oracle)
{
    struct err err = ERR_INIT;
    struct db *super = connect_to(name, NULL);
    sql_run(super, "create extension vector; revoke create on schema public from public; "
                   "grant all on schema public to " LAB_OWNER);
    db_close(super);
    struct db *owner = connect_to(name, LAB_OWNER);
    if (schema_install(owner, &err) != RC_OK)
        lab_fail("schema_install: %s (%s)", err.message, err.sqlstate);
    sql_run(owner, "%s", oracle);
    db_close(owner);
}

/* Test programs of one server may run at once: the first one makes the template, the others wait for its lock. One
 * that was left half made has not got its final name. */
static const char *
find_template(struct db *server)
{
    char *oracle = read_file(REEMBED_SOURCE_DIR "/tests/db/oracle.sql");
    uint64_t hash = mix(UINT64_C(14695981039346656037), oracle);
    for (size_t i = 0; i < sql_versions_count; i++)
        hash = mix(hash, sql_versions[i].sql);
    const char *name = lab_printf("conf_template_%016" PRIx64, hash);

    run_raw(server, "select pg_advisory_lock(5271009)");
    if (!sql_bool(server, "select exists (select from pg_database where datname = '%s')", name)) {
        make_roles(server);
        run_raw(server, "drop database if exists conf_unfinished with (force)");
        run_raw(server, "create database conf_unfinished owner " LAB_OWNER);
        fill_template("conf_unfinished", oracle);
        run_raw(server, lab_printf("alter database conf_unfinished rename to %s", name));
    }
    run_raw(server, "select pg_advisory_unlock(5271009)");
    free(oracle);
    return name;
}

/* --- the database of one test --- */

struct db *
lab_connect(const char *role)
{
    cr_assert_lt(world.session_count, (size_t)MAX_SESSIONS);
    struct db *db = connect_to(world.name, role);
    world.sessions[world.session_count++] = db;
    return db;
}

void
lab_open(void)
{
    world.arena = arena_new(0);
    if (world.arena == NULL)
        lab_fail("out of memory");
    struct db *server = connect_to(NULL, NULL);
    const char *template = find_template(server);
    snprintf(world.name, sizeof world.name, "conf_%d_%" PRId64, (int)getpid(), clock_now_us() % 1000000000);
    run_raw(server, lab_printf("create database %s template %s owner " LAB_OWNER, world.name, template));
    db_close(server);
    lab = lab_connect(LAB_OWNER);
}

void
lab_close(void)
{
    for (size_t i = 0; i < world.session_count; i++)
        db_close(world.sessions[i]);
    world.session_count = 0;
    world.observer = NULL;
    struct db *server = connect_to(NULL, NULL);
    run_raw(server, lab_printf("drop database %s with (force)", world.name));
    db_close(server);
    world.arena = arena_free(world.arena);
}

int
lab_version(void)
{
    return db_server(lab)->version / 10000;
}

/* --- SQL --- */

void
sql_run(struct db *db, const char *format, ...)
{
    struct err err = ERR_INIT;
    char *sql;
    PRINT(sql, format);
    if (db_script(db, sql, &err) != RC_OK)
        lab_fail("%s %s in: %s", err.sqlstate, err.message, sql);
}

static PGresult *
query(struct db *db, const char *sql)
{
    PGresult *result = NULL;
    struct err err = ERR_INIT;
    if (db_exec_text(db, sql, NULL, &result, &err) != RC_OK)
        lab_fail("%s %s in: %s", err.sqlstate, err.message, sql);
    return result;
}

static const char *
value_of(struct db *db, const char *sql)
{
    PGresult *result = query(db, sql);
    if (PQntuples(result) != 1 || PQnfields(result) != 1)
        lab_fail("%s: %d rows of %d columns, not one value", sql, PQntuples(result), PQnfields(result));
    const char *text = lab_printf("%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return text;
}

const char *
sql_text(struct db *db, const char *format, ...)
{
    char *sql;
    PRINT(sql, format);
    return value_of(db, sql);
}

int64_t
sql_int(struct db *db, const char *format, ...)
{
    char *sql, *end;
    PRINT(sql, format);
    const char *text = value_of(db, sql);
    int64_t value = strtoll(text, &end, 10);
    if (end == text || *end != '\0')
        lab_fail("%s: '%s' is no whole number", sql, text);
    return value;
}

bool
sql_bool(struct db *db, const char *format, ...)
{
    char *sql;
    PRINT(sql, format);
    const char *text = value_of(db, sql);
    if (strcmp(text, "t") != 0 && strcmp(text, "f") != 0)
        lab_fail("%s: '%s' is neither true nor false", sql, text);
    return text[0] == 't';
}

static const char *
rows_of(struct db *db, const char *sql)
{
    struct strbuf buf;
    PGresult *result = query(db, sql);
    strbuf_init(&buf, (size_t)64 << 20);
    for (int row = 0; row < PQntuples(result); row++) {
        strbuf_puts(&buf, row > 0 ? "\n" : "");
        for (int column = 0; column < PQnfields(result); column++)
            strbuf_printf(&buf, "%s%s", column > 0 ? "|" : "", PQgetvalue(result, row, column));
    }
    PQclear(result);
    const char *text = lab_printf("%s", strbuf_text(&buf));
    strbuf_free(&buf);
    return text;
}

const char *
sql_rows(struct db *db, const char *format, ...)
{
    char *sql;
    PRINT(sql, format);
    return rows_of(db, sql);
}

void
expect_rows(struct db *db, const char *expected, const char *format, ...)
{
    char *sql;
    PRINT(sql, format);
    const char *rows = rows_of(db, sql);
    cr_assert_str_eq(rows, expected, "%s\n  gave    : %s\n  expected: %s", sql, rows, expected);
}

void
expect_error(struct db *db, const char *sqlstate, const char *begins, const char *format, ...)
{
    struct err err = ERR_INIT;
    PGresult *result = NULL;
    char *sql;
    PRINT(sql, format);
    enum rc rc = db_exec_text(db, sql, NULL, &result, &err);
    PQclear(result);
    cr_assert_neq(rc, RC_OK, "%s: was not refused", sql);
    cr_assert_str_eq(err.sqlstate, sqlstate, "%s: %s %s, not %s", sql, err.sqlstate, err.message, sqlstate);
    cr_assert_eq(strncmp(err.message, begins, strlen(begins)), 0, "%s: '%s' does not begin with '%s'", sql, err.message,
                 begins);
}

void
sql_await(struct db *db, const char *format, ...)
{
    int64_t until_ms = clock_now_ms() + AWAIT_MS;
    char *sql;
    PRINT(sql, format);
    while (strcmp(value_of(db, sql), "t") != 0) {
        if (clock_now_ms() > until_ms)
            lab_fail("%s: never became true", sql);
        poll(NULL, 0, 2);
    }
}

void
sql_send(struct db *db, const char *format, ...)
{
    struct err err = ERR_INIT;
    char *sql;
    PRINT(sql, format);
    if (db_send(db, sql, NULL, &err) != RC_OK)
        lab_fail("%s: %s", sql, err.message);
}

enum rc
sql_receive(struct db *db, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = db_receive(db, &result, err);
    PQclear(result);
    return rc;
}

void
sql_await_lock(struct db *waiting)
{
    if (world.observer == NULL)
        world.observer = lab_connect(NULL);
    sql_await(world.observer, "select exists (select from pg_locks where pid = %d and not granted)",
              db_server(waiting)->backend_pid);
}

/* --- migrations --- */

void
documents(int64_t count)
{
    sql_run(lab,
            "create table docs (id bigint primary key, body text, embedding vector(4));"
            "insert into docs select g, 'text ' || g, '[1,2,3,4]' from generate_series(1, %" PRId64 ") g;"
            "grant select, insert, update, delete, truncate on docs to " LAB_APPLICATION,
            count);
}

static void
add_text(struct strbuf *buf, const char *key, const char *value, const char *otherwise)
{
    if (value == NULL)
        value = otherwise;
    strbuf_printf(buf, ", \"%s\": ", key);
    if (value != NULL)
        strbuf_json(buf, value, strlen(value));
    else
        strbuf_puts(buf, "null");
}

const char *
plan_json(const struct plan *given)
{
    struct plan plan = given != NULL ? *given : (struct plan){0};
    struct strbuf buf;
    const char *table = plan.table != NULL ? plan.table : "public.docs";

    strbuf_init(&buf, 1 << 16);
    strbuf_puts(&buf, "{\"documents\": {\"version\": 1");
    add_text(&buf, "table", table, NULL);
    add_text(&buf, "id", plan.id, "id");
    add_text(&buf, "content", plan.content, "body");
    add_text(&buf, "where", plan.where, NULL);
    strbuf_puts(&buf, "}");
    add_text(&buf, "collection", plan.collection, "docs");
    if (plan.source_column == NULL || plan.source_column[0] != '\0') {
        strbuf_puts(&buf, ", \"source\": {\"version\": 1");
        add_text(&buf, "model", plan.source_model, "bge-small");
        add_text(&buf, "table", plan.source_table, table);
        add_text(&buf, "id", plan.source_id, plan.id != NULL ? plan.id : "id");
        add_text(&buf, "column", plan.source_column, "embedding");
        strbuf_puts(&buf, "}");
    }
    strbuf_puts(&buf, ", \"target\": {\"dimensions\": 4, \"metric\": \"cosine\"");
    add_text(&buf, "model", plan.target_model, "bge-base");
    add_text(&buf, "type", plan.target_type, "vector");
    if (plan.target_table != NULL)
        add_text(&buf, "table", plan.target_table, NULL);
    strbuf_puts(&buf, ", \"index\": {\"m\": 16");
    add_text(&buf, "method", plan.index, "none");
    strbuf_printf(&buf, "}}, \"backfill\": %s, \"gates\": %s, \"limits\": %s}", plan.backfill ? plan.backfill : "{}",
                  plan.gates ? plan.gates : "{}", plan.limits ? plan.limits : "{}");
    const char *json = lab_printf("%s", strbuf_text(&buf));
    strbuf_free(&buf);
    return json;
}

void
create(const char *id, const struct plan *plan)
{
    const char *state = sql_text(lab, "select reembed.create_migration('%s', $json$%s$json$::jsonb, %s)", id,
                                 plan_json(plan), plan != NULL && plan->source_kept ? "true" : "false");
    cr_assert_str_eq(state, "\"planned\"");
}

void
capture(const char *collection)
{
    sql_text(lab, "select reembed.install_capture('%s')", collection);
}

void
start(const char *id)
{
    sql_text(lab, "select reembed.start('%s')", id);
    sql_text(lab, "select reembed.install_capture(collection) from reembed.migration where migration_id = '%s'", id);
    sql_text(lab, "select reembed.count_documents('%s')", id);
}

const char *
state_of(const char *id)
{
    return sql_text(lab, "select state from reembed.migration where migration_id = '%s'", id);
}

const char *
dump(void)
{
    return sql_text(lab, "select oracle.dump()");
}
