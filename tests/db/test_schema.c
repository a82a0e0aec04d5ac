#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/result.h"
#include "db/schema.h"
#include "tests/db/fresh_database.h"

static struct fresh_database database;
static struct db *db;
static struct err err;

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

TestSuite(schema, .init = set_up, .fini = tear_down, .timeout = 120);

/* Everything that an installation makes, in one text. */
#define CONTENTS                                                                                                         \
    "select md5(string_agg(line, E'\\n' order by line collate \"C\")) as v from ("                                       \
    "select p.oid::regprocedure || prosrc || coalesce(proconfig::text, '') || coalesce(proacl::text, '') as line "       \
    "from pg_proc p where pronamespace = 'reembed'::regnamespace union all "                                             \
    "select attrelid::regclass || ' ' || attname || ' ' || format_type(atttypid, atttypmod) from pg_attribute a "        \
    "join pg_class c on c.oid = attrelid where relnamespace = 'reembed'::regnamespace and attnum > 0 union all "         \
    "select pg_get_viewdef(oid) from pg_class where relkind = 'v' and relnamespace = 'reembed'::regnamespace union all " \
    "select version || name from reembed.schema_version) x"

Test(schema, is_installed_once_and_then_left_alone)
{
    int installed = -1;
    int latest = -1;

    cr_assert_eq(schema_version(db, &installed, &latest, &err), RC_OK, "%s", err.message);
    cr_assert_eq(installed, 0);
    cr_assert_gt(latest, 0);
    cr_assert_eq(schema_check(db, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_not_null(strstr(err.hint, "reembed init"));

    cr_assert_eq(schema_install(db, &err), RC_OK, "%s", err.message);
    cr_assert_eq(schema_version(db, &installed, &latest, &err), RC_OK);
    cr_assert_eq(installed, latest);
    cr_assert_eq(schema_check(db, &err), RC_OK);
    must_run(db, "create table before as select * from reembed.schema_version");
    cr_assert_eq(schema_install(db, &err), RC_OK, "%s", err.message);
    cr_assert_eq(must_read_int64(db, "select count(*) as v from (table before except table reembed.schema_version) x"),
                 0);
    cr_assert_eq(must_read_int64(db, "select count(*) as v from reembed.schema_version"), latest);
}

Test(schema, an_older_one_is_upgraded_from_where_it_stands)
{
    /* as left behind by a process that died between two versions: each is whole or absent */
    int installed = 0;
    int latest = 0;
    cr_assert_eq(schema_install(db, &err), RC_OK, "%s", err.message);
    must_run(db,
             "delete from reembed.schema_version where version = (select max(version) from reembed.schema_version)");
    cr_assert_eq(schema_check(db, &err), RC_INVALID);
    /* its objects are still there, so only a transaction that really ran the script can fail on them */
    cr_assert_neq(schema_install(db, &err), RC_OK);
    cr_assert_eq(schema_version(db, &installed, &latest, &err), RC_OK);
    cr_assert_eq(installed, latest - 1);
}

Test(schema, a_newer_one_is_refused_and_left_alone)
{
    cr_assert_eq(schema_install(db, &err), RC_OK, "%s", err.message);
    must_run(db, "insert into reembed.schema_version (version, name) values (9999, 'from the future')");
    cr_assert_eq(schema_install(db, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "9999"));
    cr_assert_not_null(strstr(err.hint, "upgrade reembed"));
    cr_assert_eq(schema_check(db, &err), RC_INVALID);
    cr_assert_not_null(strstr(err.message, "9999"));
}

Test(schema, a_missing_extension_is_asked_for_by_name)
{
    char role[96];
    char sql[256];
    struct fresh_database plain = database;

    snprintf(role, sizeof role, "plain_%s", database.name);
    snprintf(sql, sizeof sql, "create role %s login", role);
    must_run(db, sql);
    fresh_database_url(plain.url, sizeof plain.url, plain.name, role, NULL);
    struct db *other = fresh_database_connect(&plain, (struct db_options){0});

    cr_assert_eq(schema_install(other, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "ask a superuser to run CREATE EXTENSION vector"), "%s", err.message);
    struct vector_types types;
    cr_assert_eq(schema_vector_types(other, &types, &err), RC_INVALID);
    cr_assert_not_null(strstr(err.message, "CREATE EXTENSION vector"));

    must_run(db, "create extension vector");
    cr_assert_eq(schema_install(other, &err), RC_INVALID);
    cr_assert_str_eq(err.sqlstate, "42501");
    cr_assert_not_null(strstr(err.hint, "reembed init --print"), "%s", err.hint);

    snprintf(sql, sizeof sql, "grant create on database %s to %s", database.name, role);
    must_run(db, sql);
    cr_assert_eq(schema_install(other, &err), RC_OK, "%s", err.message);
    db_close(other);
    snprintf(sql, sizeof sql, "drop owned by %s; drop role %s", role, role);
    must_run(db, sql);
}

Test(schema, an_extension_that_is_too_old_is_refused)
{
    struct vector_types types;
    static const char *const old[] = {"0.6.2", "0.1"};
    static const char *const good[] = {"0.7.0", "0.10.1", "1.0"};
    char sql[160];

    must_run(db, "create extension vector");
    for (size_t i = 0; i < 2; i++) {
        snprintf(sql, sizeof sql, "update pg_extension set extversion = '%s' where extname = 'vector'", old[i]);
        must_run(db, sql);
        cr_assert_eq(schema_vector_types(db, &types, &err), RC_INVALID);
        cr_assert_not_null(strstr(err.message, old[i]));
        cr_assert_eq(schema_install(db, &err), RC_INVALID);
    }
    for (size_t i = 0; i < 3; i++) {
        snprintf(sql, sizeof sql, "update pg_extension set extversion = '%s' where extname = 'vector'", good[i]);
        must_run(db, sql);
        cr_assert_eq(schema_vector_types(db, &types, &err), RC_OK, "%s", good[i]);
        cr_assert_str_eq(types.version, good[i]);
    }
}

static int
run_psql(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("psql", "psql", "-X", "-q", "-1", "-o", "/dev/null", "-f", path, database.url, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(schema, the_printed_script_makes_the_same_as_the_installation)
{
    char path[] = "/tmp/reembed_schema_XXXXXX";
    int fd = mkstemp(path);
    FILE *out = fdopen(fd, "w");
    cr_assert_eq(schema_print(out, &err), RC_OK, "%s", err.message);
    fclose(out);

    int status = run_psql(path);
    if (status == 127) {
        unlink(path);
        cr_skip_test("psql is not installed");
    }
    cr_assert_eq(status, 0);
    cr_assert_eq(schema_check(db, &err), RC_OK, "%s", err.message);
    char *printed = must_read_text(db, CONTENTS);
    cr_assert_eq(run_psql(path), 0, "once more is fine");
    char *again = must_read_text(db, CONTENTS);
    cr_assert_str_eq(printed, again);

    must_run(db, "drop schema reembed cascade; drop schema if exists reembed_data cascade");
    cr_assert_eq(schema_install(db, &err), RC_OK, "%s", err.message);
    char *installed = must_read_text(db, CONTENTS);
    cr_assert_str_eq(printed, installed);
    unlink(path);
    free(printed);
    free(again);
    free(installed);
}

Test(schema, a_script_that_can_not_be_written_is_an_error)
{
    FILE *full = fopen("/dev/full", "w");
    cr_assert_eq(schema_print(full, &err), RC_FATAL);
    fclose(full);
}
