/* The command `doctor`: the report, and what bounds it. */
#include "coordinator/doctor.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/exit_code.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/template.h"

static const char *const severities[] = {
    [DOCTOR_INFO] = "info", [DOCTOR_WARNING] = "warning", [DOCTOR_ERROR] = "error"};

void
doctor_find(struct doctor *doctor, const char *id, enum doctor_severity severity, const char *subject, const char *fix,
            const char *format, ...)
{
    char text[1024];
    va_list args;
    cJSON *row = cJSON_CreateObject();

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    doctor->count[severity]++;
    if (!row || !cJSON_AddStringToObject(row, "id", id) ||
        !cJSON_AddStringToObject(row, "severity", severities[severity]) ||
        !(subject ? cJSON_AddStringToObject(row, "subject", subject) : cJSON_AddNullToObject(row, "subject")) ||
        !cJSON_AddStringToObject(row, "text", text) ||
        !(fix && fix[0] ? cJSON_AddStringToObject(row, "fix", fix) : cJSON_AddNullToObject(row, "fix")) ||
        !cJSON_AddItemToArray(doctor->findings, row)) {
        cJSON_Delete(row);
        doctor->broken = true;
    }
}

const char *
doctor_sampling(double rows, char out[64])
{
    out[0] = '\0';
    if (rows > 2 * DOCTOR_SAMPLE) /* half as many again, for pages that are less full */
        (void)snprintf(out, 64, "TABLESAMPLE SYSTEM (%.6f)", fmin(100, 150.0 * DOCTOR_SAMPLE / rows));
    return out;
}

bool
doctor_query(struct doctor *doctor, const char *id, const char *subject, const char *text,
             const struct doctor_column *c, const struct params *params, PGresult **ret_result)
{
    char schema[80];
    char *sql = NULL;
    struct err err = ERR_INIT;
    enum rc rc;

    if (!doctor->db || !db_alive(doctor->db))
        return false;
    (void)snprintf(schema, sizeof schema, "\"%s\"", doctor->types.schema);
    const struct template_value values[] = {
        {"vector_schema", schema},
        {"from", c ? c->from : ""},
        {"vector", c ? c->vector : ""},
        {"content", c && c->content ? c->content : "NULL::text"},
        {"has_content", c && c->content ? "true" : "false"},
        {"filter", c ? c->filter : "true"},
        {"updated", c && c->updated ? c->updated : "NULL::timestamptz"},
        {"embedded", c && c->embedded ? c->embedded : "NULL::timestamptz"},
        {"send", c && strcmp(c->type, "halfvec") == 0 ? "halfvec_send" : "vector_send"},
    };
    if ((rc = template_render(text, values, sizeof values / sizeof *values, &sql, &err)) == RC_OK)
        rc = db_exec(doctor->db, sql, params, ret_result, &err);
    free(sql);
    if (rc == RC_OK)
        return true;
    if (strcmp(err.sqlstate, "57014") == 0)
        doctor_find(doctor, id, DOCTOR_INFO, subject, "look at a quieter time, or at a copy",
                    "not looked at: it took longer than %d s", DOCTOR_STATEMENT_MS / 1000);
    else
        doctor_find(doctor, id, DOCTOR_ERROR, subject,
                    err.hint[0] ? err.hint : "look at what the server says; the rest was looked at", "%s", err.message);
    return false;
}

static enum rc
connect_read_only(struct doctor *doctor, struct err *err)
{
    static const struct db_setting settings[] = {{"transaction_read_only", "on"}};
    const struct db_options options = {
        .url = doctor->options->common.database_url,
        .connect_timeout_secs = 4,
        .statement_timeout_ms = DOCTOR_STATEMENT_MS,
        .lock_timeout_ms = 2000,
        .settings = settings,
        .setting_count = 1,
    };
    enum rc rc = db_open(&options, &doctor->db, err);

    if (rc != RC_OK && err->hint[0] == '\0' && !options.url)
        err_hint(err, "name the database by --database-url, REEMBED_DATABASE_URL, or PGHOST, PGDATABASE and so on");
    return rc;
}

static enum rc
make_report(struct doctor *doctor, cJSON **ret_report, struct err *err)
{
    char limits[300];
    cJSON *report = cJSON_CreateObject(), *counts = NULL;

    (void)snprintf(limits, sizeof limits,
                   "at most about %d rows of each column were looked at, at most %d documents embedded again, no "
                   "statement ran longer than %d s; nothing was written",
                   DOCTOR_SAMPLE, DOCTOR_EMBEDDED, DOCTOR_STATEMENT_MS / 1000);
    bool built =
        report &&
        cJSON_AddStringToObject(report, "database", doctor->db && db_name(doctor->db) ? db_name(doctor->db) : "") &&
        (doctor->file ? cJSON_AddStringToObject(report, "file", doctor->options->file)
                      : cJSON_AddNullToObject(report, "file")) &&
        cJSON_AddBoolToObject(report, "ok", doctor->count[DOCTOR_ERROR] == 0) &&
        (counts = cJSON_AddObjectToObject(report, "counts")) != NULL;

    for (int severity = DOCTOR_ERROR; built && severity >= DOCTOR_INFO; severity--)
        built = cJSON_AddNumberToObject(counts, severities[severity], doctor->count[severity]) != NULL;
    built = built && cJSON_AddStringToObject(report, "limits", limits);
    if (built && !doctor->broken && cJSON_AddItemToObject(report, "columns", doctor->columns)) {
        doctor->columns = NULL;
        if (cJSON_AddItemToObject(report, "findings", doctor->findings)) {
            doctor->findings = NULL;
            *ret_report = report;
            return RC_OK;
        }
    }
    cJSON_Delete(report);
    return err_memory(err);
}

int
doctor_severity_of(const char *word)
{
    for (int severity = DOCTOR_INFO; severity <= DOCTOR_ERROR; severity++)
        if (strcmp(word, severities[severity]) == 0)
            return severity;
    return -1;
}

static int
exit_of_findings(const struct doctor *doctor, struct err *err)
{
    int from = doctor->options->fail_on ? doctor_severity_of(doctor->options->fail_on) : -1, found = 0;

    for (int severity = DOCTOR_ERROR; from >= 0 && severity >= from; severity--)
        found += doctor->count[severity];
    if (found == 0)
        return EXIT_DONE;
    (void)err_set(err, RC_REFUSED, ERR_GATE, "%d %s of severity %s%s", found, found == 1 ? "finding" : "findings",
                  doctor->options->fail_on, from == DOCTOR_ERROR ? "" : " or above");
    return EXIT_GATE;
}

int
doctor_command(const struct doctor_options *options, struct cJSON **ret_report, struct err *err)
{
    struct doctor doctor = {.options = options, .columns = cJSON_CreateArray(), .findings = cJSON_CreateArray()};
    int code = EXIT_DONE;
    enum rc rc = doctor.columns && doctor.findings ? RC_OK : err_memory(err);

    *ret_report = NULL;
    if (rc == RC_OK && options->file)
        rc = migration_file_read(options->file, &doctor.file, err);
    if (rc == RC_OK) {
        struct err unreachable = ERR_INIT, ignored = ERR_INIT;
        enum rc connected = connect_read_only(&doctor, &unreachable);
        if (connected != RC_OK) {
            doctor_find(&doctor, "connection.failed", DOCTOR_ERROR, NULL,
                        unreachable.hint[0] ? unreachable.hint : "check the address, the role and the server's log",
                        "%s", unreachable.message);
            code = exit_code_of(connected, &unreachable);
            *err = unreachable;
        } else {
            doctor_server(&doctor);
            if (schema_vector_types(doctor.db, &doctor.types, &ignored) == RC_OK && !doctor.file)
                doctor_find_columns(&doctor);
        }
        if (doctor.file)
            doctor_planned(&doctor);
        if ((rc = make_report(&doctor, ret_report, err)) == RC_OK && code == EXIT_DONE)
            code = exit_of_findings(&doctor, err);
    }
    cJSON_Delete(doctor.columns);
    cJSON_Delete(doctor.findings);
    db_close(doctor.db);
    migration_file_free(doctor.file);
    return rc == RC_OK ? code : exit_code_of(rc, err);
}
