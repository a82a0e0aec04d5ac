/* base/strbuf.h - a growing string with a maximum.
 *
 * A failed append (memory, maximum) sets `failed` and turns all later appends into no-ops, so a long chain of
 * appends needs one check at its end. `bytes` is always NUL-terminated once anything was appended.
 * Threads: plain data, one owner.
 */
#ifndef REEMBED_BASE_STRBUF_H
#define REEMBED_BASE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
    char *bytes; /* owned; NULL while empty */
    size_t length;
    size_t capacity;
    size_t maximum; /* bytes; set at init */
    bool failed;
};

void strbuf_init(struct strbuf *buf, size_t maximum);
void strbuf_free(struct strbuf *buf);  /* leaves it usable, empty */
void strbuf_reset(struct strbuf *buf); /* empties it, clears `failed`, keeps the memory */

void strbuf_add(struct strbuf *buf, const void *bytes, size_t length);
void strbuf_puts(struct strbuf *buf, const char *text);
void strbuf_putc(struct strbuf *buf, char c);
void strbuf_printf(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_json(struct strbuf *buf, const char *bytes, size_t length); /* a quoted, escaped JSON string */

/* "" while empty; never NULL. Valid until the next append. */
const char *strbuf_text(const struct strbuf *buf);

/* Hands the memory over (caller frees); the buffer is empty afterwards. NULL when `failed`. */
char *strbuf_take(struct strbuf *buf);

#endif
