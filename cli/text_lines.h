/* cli/text_lines.h - reads JSON Lines of {"text": ...}.
 *
 * Lines are read as they come: what has arrived can be worked on while the writer thinks about the next one. Other
 * members of a line are ignored. A text may hold U+0000, so it has a length; a lone surrogate becomes U+FFFD.
 * Limits: a line of TEXT_LINE_MAX bytes. Threads: one.
 * Errors: RC_INVALID, ERR_USAGE, naming the line; RC_FATAL when the input can't be read.
 */
#ifndef REEMBED_CLI_TEXT_LINES_H
#define REEMBED_CLI_TEXT_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "embed/embedder.h"

#define TEXT_LINE_MAX ((size_t)64 * 1024 * 1024)

struct text_lines;

/* Borrows `fd`. NULL: out of memory. */
struct text_lines *text_lines_open(int fd);
struct text_lines *text_lines_close(struct text_lines *lines); /* NULL is fine; returns NULL */

/* The text of the next line, copied into `arena`. RC_CLOSED at the end; RC_AGAIN where `wait` is false and no whole
 * line is there yet. */
enum rc text_lines_next(struct text_lines *lines, bool wait, struct arena *arena, struct text *ret_text,
                        struct err *err);

#endif
