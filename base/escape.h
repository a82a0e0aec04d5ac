/* base/escape.h - bytes of unknown quality made fit for JSON and for a log line, one character at a time.
 *
 * Threads: pure functions.
 */
#ifndef REEMBED_BASE_ESCAPE_H
#define REEMBED_BASE_ESCAPE_H

#include <stddef.h>

enum { ESCAPE_MAX = 8 }; /* the longest output of escape_json and escape_text */

/* Length of the well-formed UTF-8 sequence at `bytes` (1 to 4), or 0 where there is none: stray or missing
 * continuation bytes, overlong forms, surrogates, above U+10FFFF. `left` > 0 is how many bytes may be read. */
size_t utf8_sequence(const char *bytes, size_t left);

/* The largest n <= length for which bytes[0..n) does not end inside a sequence that was cut off there. */
size_t utf8_whole(const char *bytes, size_t length);

/* Writes the next character as it stands in a JSON string (without quotes) and returns its length in `out`;
 * *ret_taken is how many input bytes it was. A malformed byte becomes U+FFFD. */
size_t escape_json(const char *bytes, size_t left, char out[ESCAPE_MAX], size_t *ret_taken);

/* The same for a line of text: control characters and malformed bytes become \n, \t, \xHH. */
size_t escape_text(const char *bytes, size_t left, char out[ESCAPE_MAX], size_t *ret_taken);

#endif
