#include "db/schema.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail_point.h"
#include "base/strbuf.h"
#include "db/install.h"
#include "db/result.h"
#include "db/schema_versions.h"
#include "db/template.h"

enum { OLDEST_VECTOR_MAJOR = 0, OLDEST_VECTOR_MINOR = 7 };

/* For the lock of the other installing processes, and for locks that applications hold. */
static const struct retry_policy install_policy = {.first_ms = 50, .cap_ms = 1000, .total_ms = 60000};

static int
latest_version(void)
{
    for (size_t i = 0; i < sql_versions_count; i++)
        assert(sql_versions[i].version == (int)i + 1);
    return (int)sql_versions_count;
}

static enum rc
read_installed(struct db *db, int *ret_installed, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = db_exec(db, sql_schema_present, NULL, &result, err);
    if (rc != RC_OK)
        return rc;
    bool present = result_bool(result, 0, "present");
    PQclear(result);
    if (!present) {
        *ret_installed = 0;
        return RC_OK;
    }
    rc = db_exec(db, sql_schema_installed, NULL, &result, err);
    if (rc != RC_OK)
        return rc;
    *ret_installed = (int)result_int64(result, 0, "version");
    PQclear(result);
    return RC_OK;
}

static enum rc
refuse_newer(int installed, struct err *err)
{
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE,
                         "the schema reembed in this database has version %d, this program knows up to %d", installed,
                         latest_version());
    err_hint(err, "upgrade reembed on this machine");
    return rc;
}

enum rc
schema_version(struct db *db, int *ret_installed, int *ret_latest, struct err *err)
{
    enum rc rc = read_installed(db, ret_installed, err);
    if (rc == RC_OK)
        *ret_latest = latest_version();
    return rc;
}

enum rc
schema_check(struct db *db, struct err *err)
{
    int installed = 0;
    int latest = 0;
    enum rc rc = schema_version(db, &installed, &latest, err);
    if (rc != RC_OK)
        return rc;
    if (installed > latest)
        return refuse_newer(installed, err);
    if (installed < latest) {
        if (installed == 0)
            rc = err_set(err, RC_INVALID, ERR_USAGE, "this database has no schema reembed");
        else
            rc =
                err_set(err, RC_INVALID, ERR_USAGE,
                        "the schema reembed in this database has version %d, this program needs %d", installed, latest);
        err_hint(err, "run: reembed init");
    }
    return rc;
}

/* --- the extension --- */

static enum rc
check_vector_version(const char *version, struct err *err)
{
    char *rest = NULL;
    long major = strtol(version, &rest, 10);
    long minor = *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;
    if (major > OLDEST_VECTOR_MAJOR || (major == OLDEST_VECTOR_MAJOR && minor >= OLDEST_VECTOR_MINOR))
        return RC_OK;
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "extension vector has version %s; %d.%d or newer is needed",
                         version, OLDEST_VECTOR_MAJOR, OLDEST_VECTOR_MINOR);
    err_hint(err, "install a newer pgvector on the server, then ask a superuser to run ALTER EXTENSION vector UPDATE");
    return rc;
}

static enum rc
vector_missing(struct err *err)
{
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE,
                         "extension vector is missing: ask a superuser to run CREATE EXTENSION vector");
    err_hint(err, "in this database; a database needs it once");
    return rc;
}

/* In the transaction of the caller, which holds the lock. */
static enum rc
install_vector(struct db *db, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = db_exec(db, sql_vector_extension, NULL, &result, err);
    if (rc != RC_OK)
        return rc;
    if (!result_is_null(result, 0, "installed")) {
        rc = check_vector_version(result_string(result, 0, "installed"), err);
    } else if (result_is_null(result, 0, "available")) {
        rc = err_set(err, RC_INVALID, ERR_USAGE,
                     "extension vector is missing: pgvector is not installed on the database server");
        err_hint(err,
                 "install pgvector 0.7 or newer there (Debian: postgresql-%d-pgvector), then ask a superuser to "
                 "run CREATE EXTENSION vector",
                 db_server(db)->version / 10000);
    } else if ((rc = check_vector_version(result_string(result, 0, "available"), err)) == RC_OK) {
        struct err refused = ERR_INIT;
        rc = db_exec(db, "create extension vector", NULL, NULL, &refused);
        if (rc == RC_INVALID)
            rc = vector_missing(err);
        else if (rc != RC_OK && err != NULL)
            *err = refused;
    }
    PQclear(result);
    return rc;
}

enum rc
schema_vector_types(struct db *db, struct vector_types *ret_types, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = db_exec(db, sql_vector_types, NULL, &result, err);
    if (rc != RC_OK)
        return rc;
    if (result_rows(result) == 0)
        rc = vector_missing(err);
    else
        rc = check_vector_version(result_string(result, 0, "version"), err);
    if (rc == RC_OK) {
        *ret_types = (struct vector_types){
            .vector = (Oid)result_int64(result, 0, "vector"),
            .vector_array = (Oid)result_int64(result, 0, "vector_array"),
            .halfvec = (Oid)result_int64(result, 0, "halfvec"),
            .halfvec_array = (Oid)result_int64(result, 0, "halfvec_array"),
        };
        snprintf(ret_types->schema, sizeof ret_types->schema, "%s", result_string(result, 0, "schema"));
        snprintf(ret_types->version, sizeof ret_types->version, "%s", result_string(result, 0, "version"));
    }
    PQclear(result);
    return rc;
}

/* --- installing --- */

static enum rc
apply_version(struct db *db, const struct sql_version *version, struct err *err)
{
    enum rc rc;
    struct params params = PARAMS_INIT;

    params_add_int4(&params, version->version);
    params_add_text(&params, version->name);
    if ((rc = db_script(db, "set local search_path = pg_catalog, pg_temp", err)) != RC_OK ||
        (rc = db_script(db, version->sql, err)) != RC_OK ||
        (rc = db_exec(db, sql_install_record, &params, NULL, err)) != RC_OK)
        goto out;
out:
    params_clear(&params);
    return rc;
}

static enum rc
lock_and_look(struct db *db, int *ret_installed, struct err *err)
{
    enum rc rc = db_exec(db, sql_install_lock, NULL, NULL, err);
    if (rc == RC_OK)
        rc = read_installed(db, ret_installed, err);
    if (rc == RC_OK && *ret_installed > latest_version())
        rc = refuse_newer(*ret_installed, err);
    return rc;
}

static enum rc
prepare(struct db *db, struct err *err)
{
    enum rc rc = install_vector(db, err);
    return rc == RC_OK ? db_script(db, sql_install_prepare, err) : rc;
}

static void
hint_at_rights(enum rc rc, struct err *err)
{
    if (rc == RC_INVALID && err != NULL && strcmp(err->sqlstate, "42501") == 0)
        err_hint(err, "let a DBA run `reembed init` once, or what `reembed init --print` writes");
}

/* One transaction: the next version that is missing. *ret_done: there was none. */
static enum rc
install_next(struct db *db, bool *ret_done, struct err *err)
{
    int installed = 0;
    enum rc rc = db_begin(db, err);
    if (rc != RC_OK)
        return rc;
    if ((rc = lock_and_look(db, &installed, err)) != RC_OK)
        goto out;
    *ret_done = installed == latest_version();
    if (!*ret_done && ((rc = fail_point("schema.locked", err)) != RC_OK || (rc = prepare(db, err)) != RC_OK ||
                       (rc = apply_version(db, &sql_versions[installed], err)) != RC_OK ||
                       (rc = fail_point("schema.applied", err)) != RC_OK))
        goto out;
    if ((rc = db_commit(db, err)) == RC_OK && !*ret_done)
        rc = fail_point("schema.committed", err);
out:
    db_rollback(db);
    hint_at_rights(rc, err);
    return rc;
}

enum rc
schema_install_within(struct db *db, struct err *err)
{
    int installed = 0;
    PGresult *path = NULL;
    struct params params = PARAMS_INIT;
    enum rc rc = lock_and_look(db, &installed, err);

    if (rc != RC_OK || installed == latest_version())
        return rc;
    if ((rc = db_exec(db, "select current_setting('search_path') as path", NULL, &path, err)) == RC_OK)
        rc = prepare(db, err);
    for (; rc == RC_OK && installed < latest_version(); installed++)
        rc = apply_version(db, &sql_versions[installed], err);
    if (rc == RC_OK) {
        params_add_text(&params, result_string(path, 0, "path"));
        rc = db_exec(db, "select set_config('search_path', $1, true)", &params, NULL, err);
    }
    params_clear(&params);
    PQclear(path);
    hint_at_rights(rc, err);
    return rc;
}

enum rc
schema_install(struct db *db, struct err *err)
{
    struct retry retry = retry_start(&install_policy);
    bool done = false;
    enum rc rc = RC_OK;
    while (!done) {
        rc = install_next(db, &done, err);
        if (rc == RC_RETRY && db_alive(db) && retry_wait(&retry, NULL) == RC_OK)
            done = false;
        else if (rc != RC_OK)
            break;
    }
    return rc;
}

/* --- for a DBA --- */

static enum rc
print_version(FILE *out, const struct sql_version *version, struct err *err)
{
    struct strbuf name;
    strbuf_init(&name, 1024);
    enum rc rc = template_add_literal(&name, version->name, err);
    if (rc == RC_OK)
        fprintf(
            out,
            "\n-- ============ version %d: %s\n"
            "SELECT NOT EXISTS (SELECT 1 FROM reembed.schema_version WHERE version >= %d) AS reembed_missing \\gset\n"
            "\\if :reembed_missing\n%s\n"
            "INSERT INTO reembed.schema_version (version, name) VALUES (%d, %s);\n\\endif\n",
            version->version, version->name, version->version, version->sql, version->version, strbuf_text(&name));
    strbuf_free(&name);
    return rc;
}

enum rc
schema_print(FILE *out, struct err *err)
{
    fprintf(
        out,
        "-- Installs or upgrades the schema reembed to version %d. Skips what is installed. Run it as one transaction,\n"
        "-- as the role that the workers log in as, or grant that role the schema afterwards:\n"
        "--     psql -X -1 -f THIS_FILE DATABASE\n"
        "\\set ON_ERROR_STOP on\n\n"
        "CREATE EXTENSION IF NOT EXISTS vector; -- needs a superuser, unless it is there or trusted\n\n"
        "SET LOCAL search_path = pg_catalog, pg_temp;\n\n%s\n%s",
        latest_version(), sql_install_lock, sql_install_prepare);
    for (size_t i = 0; i < sql_versions_count; i++) {
        enum rc rc = print_version(out, &sql_versions[i], err);
        if (rc != RC_OK)
            return rc;
    }
    if (fflush(out) != 0 || ferror(out) != 0)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "the script can't be written");
    return RC_OK;
}
