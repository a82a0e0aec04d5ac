/* cli/progress.h - how a run shows that it moves.
 *
 * On a terminal: one line on stderr, drawn again in place; log lines go above it. Otherwise: one log line every 10 s,
 * and one at each change of state, stage or routing.
 * Threads: progress_show from one thread at a time; log lines may come from any. There is one progress a process.
 */
#ifndef REEMBED_CLI_PROGRESS_H
#define REEMBED_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "coordinator/commands.h"

enum progress_mode { PROGRESS_BAR, PROGRESS_LOG };

/* PROGRESS_BAR where stderr is a terminal that can move its cursor. */
enum progress_mode progress_choose(bool no_progress);

void progress_open(enum progress_mode mode);

/* As run_options.on_progress; `context` is not used. Cheap enough to be called at any rate. */
void progress_show(void *context, const struct progress_view *view);

/* Takes the bar away. */
void progress_close(void);

/* The line for `width` columns, without colour. What matters least goes first where it is narrow: counts, note,
 * failed documents, ETA, rate; share and stage stay. */
void progress_line(const struct progress_view *view, size_t width, bool utf8, struct strbuf *line);

#endif
