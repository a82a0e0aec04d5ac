#include "base/strbuf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"

enum { FIRST_CAPACITY = 64 };

void
strbuf_init(struct strbuf *buf, size_t maximum)
{
    *buf = (struct strbuf){.maximum = maximum};
}

void
strbuf_free(struct strbuf *buf)
{
    free(buf->bytes);
    strbuf_init(buf, buf->maximum);
}

void
strbuf_reset(struct strbuf *buf)
{
    buf->length = 0;
    buf->failed = false;
    if (buf->bytes != NULL)
        buf->bytes[0] = '\0';
}

/* Makes room for `more` bytes and the NUL, or sets `failed`. */
static bool
reserve(struct strbuf *buf, size_t more)
{
    if (buf->failed || more > buf->maximum - buf->length) {
        buf->failed = true;
        return false;
    }
    size_t needed = buf->length + more + 1;
    if (needed <= buf->capacity)
        return true;

    size_t capacity = buf->capacity == 0 ? FIRST_CAPACITY : buf->capacity;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    if (capacity > buf->maximum + 1)
        capacity = buf->maximum + 1;
    char *bytes = realloc(buf->bytes, capacity);
    if (bytes == NULL) {
        buf->failed = true;
        return false;
    }
    buf->bytes = bytes;
    buf->capacity = capacity;
    return true;
}

void
strbuf_add(struct strbuf *buf, const void *bytes, size_t length)
{
    if (!reserve(buf, length))
        return;
    if (length > 0)
        memcpy(buf->bytes + buf->length, bytes, length);
    buf->length += length;
    buf->bytes[buf->length] = '\0';
}

void
strbuf_puts(struct strbuf *buf, const char *text)
{
    strbuf_add(buf, text, strlen(text));
}

void
strbuf_putc(struct strbuf *buf, char c)
{
    strbuf_add(buf, &c, 1);
}

void
strbuf_printf(struct strbuf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        buf->failed = true;
        return;
    }
    if (!reserve(buf, (size_t)length))
        return;
    va_start(args, format);
    (void)vsnprintf(buf->bytes + buf->length, (size_t)length + 1, format, args);
    va_end(args);
    buf->length += (size_t)length;
}

/* Characters that stand for themselves; most of any text is runs of them. */
static size_t
plain_run(const char *bytes, size_t length)
{
    size_t at = 0;

    while (at < length && (unsigned char)bytes[at] >= 0x20 && (unsigned char)bytes[at] < 0x7f && bytes[at] != '"' &&
           bytes[at] != '\\')
        at++;
    return at;
}

void
strbuf_json(struct strbuf *buf, const char *bytes, size_t length)
{
    strbuf_putc(buf, '"');
    for (size_t at = 0; at < length && !buf->failed;) {
        char escaped[ESCAPE_MAX];
        size_t taken = plain_run(bytes + at, length - at);
        if (taken > 0) {
            strbuf_add(buf, bytes + at, taken);
            at += taken;
            continue;
        }
        size_t size = escape_json(bytes + at, length - at, escaped, &taken);
        strbuf_add(buf, escaped, size);
        at += taken;
    }
    strbuf_putc(buf, '"');
}

const char *
strbuf_text(const struct strbuf *buf)
{
    return buf->bytes == NULL ? "" : buf->bytes;
}

char *
strbuf_take(struct strbuf *buf)
{
    char *bytes = NULL;

    strbuf_add(buf, "", 0); /* an empty string is memory, too */
    if (!buf->failed) {
        bytes = buf->bytes;
        buf->bytes = NULL;
    }
    strbuf_free(buf);
    return bytes;
}
