/* cli/report.h - the reports of plan, verify and search in words. Their shapes: coordinator/commands.h. */
#ifndef REEMBED_CLI_REPORT_H
#define REEMBED_CLI_REPORT_H

#include <cjson/cJSON.h>

#include "cli/output.h"

enum rc plan_print(const struct output *out, const cJSON *report, const char *file, struct err *err);
enum rc verify_print(const struct output *out, const cJSON *report, struct err *err);
enum rc search_print(const struct output *out, const cJSON *report, struct err *err);

/* One JSON document, whatever else is to be said. */
enum rc report_print_json(const struct output *out, const cJSON *report, struct err *err);

/* The exit code of a command that has printed: a failure to print is only told when there is nothing worse. */
int report_code(int code, enum rc rc, const struct err *print_error, struct err *err);

#endif
