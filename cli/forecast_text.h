/* cli/forecast_text.h - what was forecast when a migration began, and beside it what it took (reembed.events). */
#ifndef REEMBED_CLI_FORECAST_TEXT_H
#define REEMBED_CLI_FORECAST_TEXT_H

#include <cjson/cJSON.h>

#include "cli/output.h"

/* One line, for a migration under way. `forecast`: the detail of the event. */
void forecast_print_line(const struct output *out, const cJSON *forecast);

/* A table of both. `outcome`: the detail of the event, {"forecast": {...}, "actual": {...}}. */
enum rc forecast_print_outcome(const struct output *out, const cJSON *outcome, size_t indent, struct err *err);

#endif
