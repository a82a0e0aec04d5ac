/* cli/format.h - figures and texts as people read them.
 *
 * Each function writes a NUL-terminated text into `out` and returns it. FORMAT_SIZE bytes are enough for all but
 * format_fit. Threads: pure functions.
 */
#ifndef REEMBED_CLI_FORMAT_H
#define REEMBED_CLI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

enum { FORMAT_SIZE = 48 };

const char *format_count(int64_t count, char out[FORMAT_SIZE]);     /* 1,234,567 */
const char *format_rate(double per_second, char out[FORMAT_SIZE]);  /* 1,240/s, 12.5/s, 0.03/s; "unknown" if < 0 */
const char *format_bytes(double bytes, char out[FORMAT_SIZE]);      /* 512 B, 1.4 MB, 20 GB: powers of 1000 */
const char *format_duration(double seconds, char out[FORMAT_SIZE]); /* 0.4 s, 42 s, 6 min 58 s, 3 h 12 min, 2 d 4 h */

/* 48.2 %. Cut, not rounded: nothing is 100 % before the last document is done. */
const char *format_share(double share, char out[FORMAT_SIZE]);
const char *format_money(double amount, char out[FORMAT_SIZE]); /* 0.0042, 12.50 */

/* Columns of a terminal that the text takes: 2 for wide characters, 0 for combining ones. */
size_t format_width(const char *text);

/* Appends `text` cut to `width` columns (0: not cut), ending in "…" where something was cut off. Control characters and
 * broken UTF-8 become visible: what a document holds must not move the cursor. */
void format_fit(const char *text, size_t width, struct strbuf *out);

/* "document" or "documents". */
const char *plural(int64_t count, const char *one, const char *many);

/* Whether the terminal shows UTF-8, by LC_ALL, LC_CTYPE and LANG. */
bool terminal_is_utf8(void);

/* Columns of the terminal behind `fd`; 0: it is none. */
size_t terminal_width(int fd);

#endif
