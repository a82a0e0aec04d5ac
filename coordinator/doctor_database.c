/* The server, the role, the tables: what stands around a column. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "coordinator/doctor.h"
#include "db/result.h"
#include "db/statements.h"
#include "db/template.h"

/* --- the server --- */

static bool
is_older_than(const char *version, int major, int minor)
{
    char *end;
    long found_major = strtol(version, &end, 10), found_minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;

    return end != version && (found_major < major || (found_major == major && found_minor < minor));
}

static void
judge_extension(struct doctor *d, const PGresult *r)
{
    if (result_is_null(r, 0, "vector")) {
        bool available = !result_is_null(r, 0, "vector_available");
        doctor_find(d, "extension.missing", DOCTOR_ERROR, NULL,
                    available ? "CREATE EXTENSION vector"
                              : "install pgvector on the server, then CREATE EXTENSION vector",
                    "the extension vector is not installed in database %s", result_string(r, 0, "database"));
        return;
    }
    const char *version = result_string(r, 0, "vector");
    if (is_older_than(version, 0, 7))
        doctor_find(d, "extension.old", DOCTOR_ERROR, NULL, "ALTER EXTENSION vector UPDATE, to 0.7 or newer",
                    "pgvector is %s: reembed needs 0.7", version);
    else if (!result_is_null(r, 0, "vector_available") && strcmp(version, result_string(r, 0, "vector_available")) != 0)
        doctor_find(d, "extension.update", DOCTOR_INFO, NULL, "ALTER EXTENSION vector UPDATE",
                    "pgvector is %s, the server has %s", version, result_string(r, 0, "vector_available"));
}

void
doctor_server(struct doctor *d)
{
    PGresult *r = NULL;

    if (!doctor_query(d, "connection.failed", NULL, sql_doctor_server, NULL, NULL, &r))
        return;
    d->shared_buffers = result_float64(r, 0, "shared_buffers");
    d->cache = result_float64(r, 0, "cache");
    doctor_find(d, "connection.ok", DOCTOR_INFO, NULL, NULL, "PostgreSQL %s, database %s, role %s%s",
                result_string(r, 0, "version"), result_string(r, 0, "database"), result_string(r, 0, "role"),
                result_is_null(r, 0, "vector") ? "" : ", pgvector is there");
    if (result_bool(r, 0, "superuser"))
        doctor_find(d, "role.superuser", DOCTOR_INFO, NULL, "run the migration as a role that owns the documents",
                    "role %s is a superuser: more than a migration needs, and what it lacks does not show here",
                    result_string(r, 0, "role"));
    if (result_bool(r, 0, "standby"))
        doctor_find(d, "server.standby", d->file ? DOCTOR_ERROR : DOCTOR_INFO, NULL, "name the primary server",
                    "this is a standby: it can be looked at, and not migrated");
    judge_extension(d, r);
    if (d->file && !result_bool(r, 0, "installed") && !result_bool(r, 0, "may_create"))
        doctor_find(d, "privileges.create", DOCTOR_ERROR, NULL, "have a DBA run: reembed init --print | psql -1 -f -",
                    "role %s may not create the schemas reembed and reembed_data in database %s",
                    result_string(r, 0, "role"), result_string(r, 0, "database"));
    PQclear(r);
}

/* --- tables --- */

/* Of a row of doctor_columns or doctor_table. False: its rows can't be read. */
static bool
judge_rights(struct doctor *d, const PGresult *r, int row, bool planned)
{
    char fix[400];
    const char *table = result_string(r, row, "table_name"), *user = d->db ? db_user(d->db) : "";

    if (!result_bool(r, row, "may_read")) {
        (void)snprintf(fix, sizeof fix, "GRANT SELECT ON %s TO %s", table, user);
        doctor_find(d, "privileges.select", DOCTOR_ERROR, table, fix, "role %s may not read it", user);
        return false;
    }
    if (result_bool(r, row, "hidden_rows")) {
        (void)snprintf(fix, sizeof fix, "ALTER ROLE %s BYPASSRLS, or look as %s", user, result_string(r, row, "owner"));
        doctor_find(
            d, "rowsecurity.hides", DOCTOR_ERROR, table, fix,
            "row security may hide rows from role %s: what is said here is of the rows it sees, and a migration "
            "refuses to begin",
            user);
    }
    if (!result_bool(r, row, "may_trigger")) {
        (void)snprintf(fix, sizeof fix, "GRANT TRIGGER ON %s TO %s", table, user);
        doctor_find(d, "privileges.trigger", planned ? DOCTOR_ERROR : DOCTOR_INFO, table, fix,
                    "role %s may not create triggers on it: a migration captures changes by them", user);
    } else if (!result_bool(r, row, "owns") && planned) {
        (void)snprintf(fix, sizeof fix, "GRANT %s TO %s", result_string(r, row, "owner"), user);
        doctor_find(d, "privileges.owner", DOCTOR_WARNING, table, fix,
                    "role %s does not own it: changes made under session_replication_role will not be captured", user);
    }
    return true;
}

static void
judge_table(struct doctor *d, const PGresult *r, int row)
{
    char fix[300];
    const char *table = result_string(r, row, "table_name");

    if (strcmp(result_string(r, row, "kind"), "m") == 0)
        doctor_find(d, "table.view", DOCTOR_INFO, table, "name the tables it is made from",
                    "a materialized view: changes can't be captured from it");
    else if (result_is_null(r, row, "key"))
        doctor_find(d, "key.missing", DOCTOR_WARNING, table,
                    "ALTER TABLE ... ADD COLUMN ... GENERATED ALWAYS AS IDENTITY UNIQUE",
                    "no single column is unique: documents can't be named, and it can't be migrated");
    else if (!result_bool(r, row, "key_usable")) {
        (void)snprintf(fix, sizeof fix, "ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, if that is what is missing",
                       table, result_string(r, row, "key"));
        doctor_find(d, "key.unusable", DOCTOR_WARNING, table, fix,
                    "its key %s (%s) may be NULL or is of a type that can't be an id: smallint, integer, bigint, uuid, "
                    "text",
                    result_string(r, row, "key"), result_string(r, row, "key_type"));
    }
    if (result_bool(r, row, "unlogged")) {
        (void)snprintf(fix, sizeof fix, "ALTER TABLE %s SET LOGGED", table);
        doctor_find(d, "table.unlogged", DOCTOR_WARNING, table, fix, "unlogged: a crash of the server empties it");
    }
    if (result_float64(r, row, "rows") < 0) {
        (void)snprintf(fix, sizeof fix, "ANALYZE %s", table);
        doctor_find(d, "statistics.missing", DOCTOR_INFO, table, fix,
                    "never analyzed: the planner and this diagnosis don't know its size");
    }
}

static void
put_column(struct strbuf *out, const char *qualifier, const char *name)
{
    strbuf_reset(out);
    strbuf_printf(out, "%s.%s", qualifier, name);
}

void
doctor_find_columns(struct doctor *d)
{
    struct params params = PARAMS_INIT;
    struct strbuf from, vector, content, updated, embedded, subject;
    struct strbuf *const all[] = {&from, &vector, &content, &updated, &embedded, &subject};
    PGresult *r = NULL;
    const char *before = "";

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        strbuf_init(all[i], 4096);
    params_add_text(&params, d->options->table);
    params_add_text(&params, d->options->column);
    bool found = doctor_query(d, "columns.unknown", d->options->table, sql_doctor_columns, NULL, &params, &r);
    if (found && result_rows(r) == 0)
        doctor_find(
            d, "columns.none", d->options->table ? DOCTOR_ERROR : DOCTOR_WARNING, d->options->table,
            d->options->table ? "name the table as in SQL, schema-qualified: --table public.docs"
                              : "connect to the database of the application, as a role that may read its tables",
            d->options->table ? "there is no such table with a pgvector column" : "this role sees no pgvector column");
    for (int row = 0; found && row < result_rows(r); row++) {
        char sampling[64];
        const char *table = result_string(r, row, "table_name"), *alias = result_string(r, row, "alias");
        bool readable = true;

        if (strcmp(table, before) != 0) {
            readable = judge_rights(d, r, row, false);
            judge_table(d, r, row);
        } else {
            readable = result_bool(r, row, "may_read");
        }
        before = table;
        if (!readable)
            continue;
        strbuf_reset(&from);
        strbuf_printf(&from, "%s AS %s %s", table, alias, doctor_sampling(result_float64(r, row, "rows"), sampling));
        put_column(&vector, alias, result_string(r, row, "column_name"));
        put_column(&subject, table, result_string(r, row, "column_name"));
        if (!result_is_null(r, row, "content"))
            put_column(&content, alias, result_string(r, row, "content"));
        if (!result_is_null(r, row, "updated"))
            put_column(&updated, alias, result_string(r, row, "updated"));
        if (!result_is_null(r, row, "embedded"))
            put_column(&embedded, alias, result_string(r, row, "embedded"));
        const struct doctor_column column = {
            .oid = result_int64(r, row, "oid"),
            .table = table,
            .column = result_string(r, row, "column_name"),
            .name = result_string(r, row, "name"),
            .type = result_string(r, row, "type"),
            .subject = strbuf_text(&subject),
            .dimensions = (int)result_int64(r, row, "dimensions"),
            .rows = result_float64(r, row, "rows"),
            .bytes = result_float64(r, row, "bytes"),
            .from = strbuf_text(&from),
            .vector = strbuf_text(&vector),
            .content = result_is_null(r, row, "content") ? NULL : strbuf_text(&content),
            .filter = "true",
            .updated = result_is_null(r, row, "updated") ? NULL : strbuf_text(&updated),
            .embedded = result_is_null(r, row, "embedded") ? NULL : strbuf_text(&embedded),
            .key = result_string(r, row, "key"),
        };
        doctor_examine(d, &column);
    }
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        strbuf_free(all[i]);
    params_clear(&params);
    PQclear(r);
}

/* --- a migration file --- */

/* False: there is no use in reading them. */
static bool
judge_documents(struct doctor *d, const PGresult *r)
{
    const struct migration_documents *documents = &d->file->documents;
    char fix[400];

    if (result_rows(r) == 0) {
        doctor_find(d, "documents.missing", DOCTOR_ERROR, documents->table,
                    "write it as in SQL, schema-qualified and quoted where needed",
                    "documents.table: there is no such table");
        return false;
    }
    const char *table = result_string(r, 0, "table_name"), *kind = result_string(r, 0, "kind");
    if (strcmp(kind, "r") != 0 && strcmp(kind, "p") != 0)
        doctor_find(d, "documents.kind", DOCTOR_ERROR, table, "name a table",
                    "changes can be captured from plain and partitioned tables only");
    if (!judge_rights(d, r, 0, true))
        return false;
    if (result_is_null(r, 0, "key")) {
        doctor_find(d, "key.missing", DOCTOR_ERROR, table, "name one column that is unique and not NULL",
                    "documents.id: there is no column %s", documents->id);
        return false;
    }
    if (!result_bool(r, 0, "unique_alone")) {
        (void)snprintf(fix, sizeof fix, "CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)", table,
                       result_string(r, 0, "key"));
        doctor_find(d, "key.missing", DOCTOR_ERROR, table, fix, "documents.id: %s is %s", result_string(r, 0, "key"),
                    result_bool(r, 0, "composite") ? "only part of a composite key" : "not unique");
    } else if (!result_bool(r, 0, "not_null")) {
        (void)snprintf(fix, sizeof fix, "ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", table,
                       result_string(r, 0, "key"));
        doctor_find(d, "key.unusable", DOCTOR_ERROR, table, fix, "documents.id: %s may be NULL",
                    result_string(r, 0, "key"));
    }
    return true;
}

static bool
try_expressions(struct doctor *d, const PGresult *documents)
{
    const struct migration_documents *file = &d->file->documents;
    const struct template_value values[] = {
        {"docs", result_string(documents, 0, "table_name")},
        {"alias", result_string(documents, 0, "alias")},
        {"content", file->content},
        {"filter", file->where ? file->where : "true"},
    };
    char *sql = NULL;
    struct err err = ERR_INIT;
    PGresult *r = NULL;
    enum rc rc = template_render(sql_doctor_try, values, sizeof values / sizeof *values, &sql, &err);

    if (rc == RC_OK)
        rc = db_exec(d->db, sql, NULL, &r, &err);
    if (rc != RC_OK)
        doctor_find(d, "content.invalid", DOCTOR_ERROR, result_string(documents, 0, "table_name"),
                    "documents.content and documents.where are SQL expressions over a row", "%s", err.message);
    free(sql);
    PQclear(r);
    return rc == RC_OK;
}

static void
count_orphans(struct doctor *d, const PGresult *documents, const char *table, const char *column, double rows)
{
    char sampling[64];
    const struct template_value values[] = {
        {"docs", result_string(documents, 0, "table_name")},
        {"alias", result_string(documents, 0, "alias")},
        {"id", result_string(documents, 0, "key")},
        {"filter", d->file->documents.where ? d->file->documents.where : "true"},
        {"vector_id", d->file->source.id},
        {"table", table},
        {"column", column},
        {"sampling", doctor_sampling(rows, sampling)},
    };
    char *sql = NULL;
    struct params params = PARAMS_INIT;
    struct err err = ERR_INIT;
    PGresult *r = NULL;

    params_add_int8(&params, DOCTOR_SAMPLE);
    enum rc rc = template_render(sql_doctor_orphans, values, sizeof values / sizeof *values, &sql, &err);
    if (rc == RC_OK)
        rc = db_exec(d->db, sql, &params, &r, &err);
    if (rc == RC_OK && result_int64(r, 0, "orphaned") > 0)
        doctor_find(d, "vectors.orphaned", DOCTOR_WARNING, table, "delete them",
                    "%lld of %lld vectors belong to no document", (long long)result_int64(r, 0, "orphaned"),
                    (long long)result_int64(r, 0, "rows"));
    free(sql);
    PQclear(r);
    params_clear(&params);
}

static void
examine_source(struct doctor *d, const PGresult *documents)
{
    const struct migration_source *source = &d->file->source;
    const char *docs = result_string(documents, 0, "table_name"), *alias = result_string(documents, 0, "alias");
    struct params params = PARAMS_INIT;
    struct strbuf from, vector, content, filter, updated, embedded, subject;
    struct strbuf *const all[] = {&from, &vector, &content, &filter, &updated, &embedded, &subject};
    char sampling[64];
    PGresult *r = NULL;

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        strbuf_init(all[i], 65536);
    params_add_text(&params, source->table);
    params_add_text(&params, source->column);
    if (!doctor_query(d, "source.missing", source->table, sql_doctor_columns, NULL, &params, &r))
        goto out;
    if (result_rows(r) == 0) {
        doctor_find(d, "source.missing", DOCTOR_ERROR, source->table, "name a column of type vector or halfvec",
                    "source: there is no pgvector column %s", source->column);
        goto out;
    }
    const char *table = result_string(r, 0, "table_name");
    bool joined = result_int64(r, 0, "oid") != result_int64(documents, 0, "oid");
    if (joined && !judge_rights(d, r, 0, false))
        goto out;
    strbuf_printf(&from, "%s AS %s %s", docs, alias, doctor_sampling(result_float64(documents, 0, "rows"), sampling));
    strbuf_printf(&content, "(%s)::text", d->file->documents.content);
    strbuf_printf(&filter, "(%s)", d->file->documents.where ? d->file->documents.where : "true");
    put_column(&subject, table, result_string(r, 0, "column_name"));
    if (joined) {
        strbuf_printf(
            &from,
            " LEFT JOIN LATERAL (SELECT reembed_t.%s AS reembed_vector, %s::timestamptz AS reembed_at FROM %s AS "
            "reembed_t WHERE reembed_t.%s = %s.%s LIMIT 1) reembed_v ON true",
            result_string(r, 0, "column_name"),
            result_is_null(r, 0, "embedded") ? "NULL" : result_string(r, 0, "embedded"), table, source->id, alias,
            result_string(documents, 0, "key"));
        strbuf_puts(&vector, "reembed_v.reembed_vector");
        strbuf_puts(&embedded, "reembed_v.reembed_at");
    } else {
        put_column(&vector, alias, result_string(r, 0, "column_name"));
        if (!result_is_null(r, 0, "embedded"))
            put_column(&embedded, alias, result_string(r, 0, "embedded"));
    }
    if (!result_is_null(documents, 0, "updated"))
        put_column(&updated, alias, result_string(documents, 0, "updated"));
    const struct doctor_column column = {
        .oid = result_int64(r, 0, "oid"),
        .table = table,
        .column = result_string(r, 0, "column_name"),
        .name = result_string(r, 0, "name"),
        .type = result_string(r, 0, "type"),
        .subject = strbuf_text(&subject),
        .dimensions = (int)result_int64(r, 0, "dimensions"),
        .rows = result_float64(r, 0, "rows"),
        .bytes = result_float64(r, 0, "bytes"),
        .from = strbuf_text(&from),
        .vector = strbuf_text(&vector),
        .content = strbuf_text(&content),
        .filter = strbuf_text(&filter),
        .updated = result_is_null(documents, 0, "updated") ? NULL : strbuf_text(&updated),
        .embedded = strbuf_text(&embedded)[0] ? strbuf_text(&embedded) : NULL,
        .key = result_string(documents, 0, "key"),
        .joined = joined,
        .provider = source->has_provider ? &source->provider : NULL,
        .model = source->model,
    };
    doctor_examine(d, &column);
    if (joined)
        count_orphans(d, documents, table, column.column, column.rows);
out:
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        strbuf_free(all[i]);
    params_clear(&params);
    PQclear(r);
}

void
doctor_planned(struct doctor *d)
{
    struct params params = PARAMS_INIT;
    PGresult *documents = NULL;

    params_add_text(&params, d->file->documents.table);
    params_add_text(&params, d->file->documents.id);
    if (doctor_query(d, "documents.missing", d->file->documents.table, sql_doctor_table, NULL, &params, &documents) &&
        judge_documents(d, documents) && try_expressions(d, documents) && d->file->source.present &&
        d->types.vector != 0)
        examine_source(d, documents);
    params_clear(&params);
    PQclear(documents);
    doctor_try_provider(d, "target.provider", &d->file->target.provider, (size_t)d->file->target.dimensions);
}
