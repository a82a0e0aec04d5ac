/* cli/status_text.h - the status of a migration in words.
 *
 * `status` is the document of cli/sql/show_status.sql, `more` that of show_more.sql. Pure functions of these: what is
 * printed can be tested without a database.
 */
#ifndef REEMBED_CLI_STATUS_TEXT_H
#define REEMBED_CLI_STATUS_TEXT_H

#include <cjson/cJSON.h>

#include "base/strbuf.h"
#include "cli/output.h"

/* Where is it, how fast, when done, who answers queries, what blocks the flip, what failed; without the next step. */
enum rc status_print(const struct output *out, const cJSON *status, const cJSON *more, struct err *err);

/* Three lines: state, counts, routing. What an operation leaves behind. */
void status_print_brief(const struct output *out, const cJSON *status);

/* A mark, the name and the figure of each gate. */
enum rc status_print_gates(const struct output *out, const cJSON *status, size_t indent, struct err *err);

/* The line "next: ...". */
void status_print_next(const struct output *out, const cJSON *status, const cJSON *more);

/* How many of the workers are alive. */
size_t status_workers(const cJSON *status);

/* "in progress (backfill)", "rolled back": a state without underscores, with the stage where there is one. */
void status_state(const cJSON *status, struct strbuf *text);

/* Appends a bar of `width` columns: `share` filled, a mark at `threshold` (< 0: none). */
void bar_draw(struct strbuf *text, size_t width, double share, double threshold, bool utf8);

#endif
