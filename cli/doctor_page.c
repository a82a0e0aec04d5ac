#include "cli/doctor_page.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/format.h"
#include "cli/page.h"
#include "cli/session.h"

static void
put_card(struct strbuf *page, const char *class, int count, const char *label)
{
    strbuf_printf(page, "<div class=\"card %s\"><b>%d</b>%s</div>", count > 0 ? class : "", count, label);
}

static void
put_finding(struct strbuf *page, const cJSON *finding)
{
    const char *severity = json_text(finding, "severity"), *subject = json_text(finding, "subject");
    const char *fix = json_text(finding, "fix"), *id = json_text(finding, "id");

    strbuf_printf(page,
                  "<div class=\"row %s\" id=\"%s\"><p><span class=\"tag %s\">%s</span> <span class=\"mono\">%s</span>",
                  severity, id, severity, severity, id);
    if (subject) {
        page_raw(page, " <span class=\"mono soft\">");
        page_text(page, subject);
        page_raw(page, "</span>");
    }
    page_raw(page, "</p>");
    page_tag(page, "p", NULL, json_text(finding, "text"));
    if (fix) {
        page_raw(page, "<p class=\"soft\">fix: ");
        page_tag(page, isupper((unsigned char)fix[0]) && isupper((unsigned char)fix[1]) ? "code" : "span", NULL, fix);
        page_raw(page, "</p>");
    }
    page_raw(page, "</div>\n");
}

static void
put_column(struct strbuf *page, const cJSON *column)
{
    char text[FORMAT_SIZE];
    const cJSON *index = NULL, *dimensions = cJSON_GetObjectItemCaseSensitive(column, "dimensions");
    const char *separator = "";

    page_raw(page, "<tr><td class=\"mono\">");
    page_text(page, json_text(column, "table"));
    page_raw(page, ".");
    page_text(page, json_text(column, "column"));
    page_raw(page, "</td><td class=\"mono\">");
    page_text(page, json_text(column, "type"));
    if (cJSON_IsNumber(dimensions))
        strbuf_printf(page, "(%d)", dimensions->valueint);
    strbuf_printf(page, "</td><td class=\"n\">%s</td>", format_count((int64_t)json_number(column, "rows", 0), text));
    strbuf_printf(page, "<td class=\"n\">%s</td>", format_count((int64_t)json_number(column, "looked_at", 0), text));
    strbuf_printf(page, "<td class=\"n\">%s</td><td>", format_bytes(json_number(column, "bytes", 0), text));
    cJSON_ArrayForEach (index, cJSON_GetObjectItemCaseSensitive(column, "indexes")) {
        page_raw(page, separator);
        page_tag(page, "span", "mono", json_text(index, "name"));
        strbuf_printf(page, " %s, %s%s", json_text(index, "method"), format_bytes(json_number(index, "bytes", 0), text),
                      json_true(index, "valid") ? "" : ", not valid");
        separator = "<br>";
    }
    if (separator[0] == '\0')
        page_tag(page, "span", "soft", "none");
    page_raw(page, "</td></tr>\n");
}

enum rc
doctor_page_write(const char *path, const cJSON *report, struct err *err)
{
    static const char *const order[] = {"error", "warning", "info"};
    const cJSON *columns = cJSON_GetObjectItemCaseSensitive(report, "columns"), *column = NULL;
    const cJSON *findings = cJSON_GetObjectItemCaseSensitive(report, "findings"), *finding = NULL;
    const cJSON *counts = cJSON_GetObjectItemCaseSensitive(report, "counts");
    const char *file = json_text(report, "file");
    char at[32] = "";
    struct strbuf page;
    time_t now = time(NULL);
    struct tm utc;

    if (gmtime_r(&now, &utc))
        (void)strftime(at, sizeof at, "%Y-%m-%d %H:%M UTC", &utc);
    strbuf_init(&page, (size_t)64 << 20);
    page_begin(&page, "Diagnosis of vector columns");
    page_raw(&page, "<p class=\"soft\">database ");
    page_tag(&page, "code", NULL, json_text(report, "database"));
    if (file) {
        page_raw(&page, ", migration file ");
        page_tag(&page, "code", NULL, file);
    }
    strbuf_printf(&page, ", %s</p>\n<div class=\"cards\">", at);
    put_card(&page, "error", (int)json_number(counts, "error", 0), "errors");
    put_card(&page, "warning", (int)json_number(counts, "warning", 0), "warnings");
    put_card(&page, "info", (int)json_number(counts, "info", 0), "notes");
    put_card(&page, "info", cJSON_GetArraySize(columns), "vector columns");
    page_raw(&page, "</div>\n");
    if (cJSON_GetArraySize(columns) > 0) {
        page_raw(
            &page,
            "<h2>Columns</h2>\n<div class=\"scroll\"><table><thead><tr><th>column</th><th>type</th><th class=\"n\">rows"
            "</th><th class=\"n\">looked at</th><th class=\"n\">table</th><th>indexes</th></tr></thead><tbody>\n");
        cJSON_ArrayForEach (column, columns)
            put_column(&page, column);
        page_raw(&page, "</tbody></table></div>\n");
    }
    page_raw(&page, "<h2>Findings</h2>\n");
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        cJSON_ArrayForEach (finding, findings) {
            if (strcmp(json_text(finding, "severity"), order[i]) == 0)
                put_finding(&page, finding);
        }
    }
    page_tag(&page, "p", "soft foot", json_text(report, "limits"));
    page_end(&page);
    enum rc rc = page_write(&page, path, err);
    strbuf_free(&page);
    return rc;
}
