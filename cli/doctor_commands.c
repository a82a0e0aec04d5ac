/* doctor: the findings as text, JSON or a page. */
#include <stdio.h>
#include <string.h>

#include "cli/doctor_page.h"
#include "cli/format.h"
#include "cli/report.h"
#include "cli/session.h"
#include "coordinator/exit_code.h"

static const char *const order[] = {"error", "warning", "info"};

static enum style
style_of(const char *severity)
{
    if (strcmp(severity, "error") == 0)
        return STYLE_BAD;
    return strcmp(severity, "warning") == 0 ? STYLE_WARN : STYLE_DIM;
}

static void
print_column(const struct output *out, const cJSON *column)
{
    char text[FORMAT_SIZE];
    const cJSON *index = NULL;
    const cJSON *dimensions = cJSON_GetObjectItemCaseSensitive(column, "dimensions");
    const char *content = json_text(column, "content"), *model = json_text(column, "model");

    output_print(out, "  %s%s.%s%s  %s", style_on(out, STYLE_BOLD), json_text(column, "table"),
                 json_text(column, "column"), style_off(out, STYLE_BOLD), json_text(column, "type"));
    if (cJSON_IsNumber(dimensions))
        output_print(out, "(%d)", dimensions->valueint);
    output_print(out, ", %s%s rows", json_true(column, "all_rows") ? "" : "about ",
                 format_count((int64_t)json_number(column, "rows", 0), text));
    output_print(out, ", %s", format_bytes(json_number(column, "bytes", 0), text));
    if (!json_true(column, "all_rows"))
        output_print(out, "; %s looked at", format_count((int64_t)json_number(column, "looked_at", 0), text));
    output_print(out, "\n");
    if (content != NULL || model != NULL)
        output_print(out, "    %s%s%s%s\n", content == NULL ? "" : "text: ", content == NULL ? "" : content,
                     model == NULL     ? ""
                     : content == NULL ? "model: "
                                       : "; model: ",
                     model == NULL ? "" : model);
    cJSON_ArrayForEach (index, cJSON_GetObjectItemCaseSensitive(column, "indexes")) {
        output_print(out, "    index: %s, %s by %s, %s%s\n", json_text(index, "name"), json_text(index, "method"),
                     json_text(index, "metric"), format_bytes(json_number(index, "bytes", 0), text),
                     json_true(index, "valid") ? "" : ", not valid");
    }
}

static void
print_foreign(const struct output *out, const char *before, const char *text)
{
    struct strbuf clean;

    strbuf_init(&clean, 65536);
    format_fit(text, 0, &clean);
    output_print(out, "%s%s\n", before, strbuf_text(&clean));
    strbuf_free(&clean);
}

static void
print_findings(const struct output *out, const cJSON *findings, const char *severity)
{
    const cJSON *finding = NULL;

    cJSON_ArrayForEach (finding, findings) {
        const char *subject = json_text(finding, "subject"), *fix = json_text(finding, "fix");
        if (strcmp(json_text(finding, "severity"), severity) != 0)
            continue;
        output_print(out, "  %s%-7s%s  %s%s%s%s%s\n", style_on(out, style_of(severity)), severity,
                     style_off(out, style_of(severity)), style_on(out, STYLE_BOLD), json_text(finding, "id"),
                     style_off(out, STYLE_BOLD), subject == NULL ? "" : "  ", subject == NULL ? "" : subject);
        print_foreign(out, "           ", json_text(finding, "text"));
        if (fix != NULL)
            print_foreign(out, "           fix: ", fix);
    }
}

static void
print_report(const struct output *out, const cJSON *report, const struct doctor_options *options)
{
    const cJSON *column = NULL, *findings = cJSON_GetObjectItemCaseSensitive(report, "findings");
    const cJSON *columns = cJSON_GetObjectItemCaseSensitive(report, "columns");
    const cJSON *counts = cJSON_GetObjectItemCaseSensitive(report, "counts");
    int errors = (int)json_number(counts, "error", 0), warnings = (int)json_number(counts, "warning", 0);

    if (cJSON_GetArraySize(columns) > 0)
        output_print(out, "\n%svector columns%s\n", style_on(out, STYLE_BOLD), style_off(out, STYLE_BOLD));
    cJSON_ArrayForEach (column, columns)
        print_column(out, column);
    output_print(out, "\n%sfindings%s\n", style_on(out, STYLE_BOLD), style_off(out, STYLE_BOLD));
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        print_findings(out, findings, order[i]);
    output_print(out, "\n%s %d %s, %d %s\n", output_mark(out, errors == 0), errors, plural(errors, "error", "errors"),
                 warnings, plural(warnings, "warning", "warnings"));
    output_print(out, "%s%s%s\n", style_on(out, STYLE_DIM), json_text(report, "limits"), style_off(out, STYLE_DIM));
    if (errors > 0)
        output_next(out, "mend what is marked as error, then again: reembed doctor%s%s%s%s", options->file ? " " : "",
                    options->file ? options->file : "", options->table ? " --table " : "",
                    options->table ? options->table : "");
    else if (options->file)
        output_next(out, "reembed plan %s", options->file);
    else
        output_next(out, "write a migration file: reembed new%s%s", options->table ? " --table " : "",
                    options->table ? options->table : "");
}

static enum rc
check_options(const struct doctor_options *options, struct err *err)
{
    enum rc rc = RC_OK;

    if (options->file != NULL && options->table != NULL)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "a migration file names its table: give either FILE or --table");
    else if (options->column != NULL && options->table == NULL)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--column is one of --table: give that too");
    else if (options->fail_on != NULL && doctor_severity_of(options->fail_on) < 0)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--fail-on must be error, warning or info, not \"%.40s\"",
                     options->fail_on);
    return rc;
}

/* With a remote provider some documents are sent to it. */
static bool
may_send(const struct invocation *invocation, const struct doctor_options *options)
{
    return options->file == NULL || !invocation->common.interactive || invocation->common.yes ||
           ask(&invocation->common,
               "With a provider in the file, up to 24 documents are sent to it to compare. Go on?");
}

int
doctor_run(const struct invocation *invocation, struct err *err)
{
    const struct arguments *arguments = invocation->arguments;
    const struct doctor_options options = {
        .common = invocation->common,
        .file = arguments->count > 0 ? arguments->texts[0] : NULL,
        .table = option_text(arguments, "table"),
        .column = option_text(arguments, "column"),
        .fail_on = option_text(arguments, "fail-on"),
    };
    const char *page = option_text(arguments, "html");
    cJSON *report = NULL;
    struct err print_error = ERR_INIT;
    enum rc rc = check_options(&options, err);

    if (rc != RC_OK)
        return exit_code_of(rc, err);
    if (!may_send(invocation, &options)) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "nothing was sent and nothing was looked at");
        return exit_code_of(rc, err);
    }
    int code = doctor_command(&options, &report, err);
    if (report != NULL && option_given(arguments, "json"))
        rc = report_print_json(&invocation->out, report, &print_error);
    else if (report != NULL)
        print_report(&invocation->out, report, &options);
    if (rc == RC_OK && report != NULL && page != NULL)
        rc = doctor_page_write(page, report, &print_error);
    cJSON_Delete(report);
    return report_code(code, rc, &print_error, err);
}
