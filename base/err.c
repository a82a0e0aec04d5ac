#include "base/err.h"

#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/log.h"

/* Room for what is cut away later: a secret is scrubbed while it is still whole. */
enum { DRAFT_SIZE = 4096 };

/* Formats one clean line into `out`: no secret, no line break, no half of a UTF-8 sequence at the end. */
static void __attribute__((format(printf, 3, 0))) format_line(char *out, size_t size, const char *format, va_list args)
{
    char draft[DRAFT_SIZE];

    if (vsnprintf(draft, sizeof draft, format, args) < 0)
        draft[0] = '\0';
    log_scrub(draft);

    size_t length = 0;
    for (const char *p = draft; *p != '\0' && length + 1 < size; p++) {
        char c = *p;
        if (c == '\n' || c == '\r' || c == '\t')
            c = ' ';
        if (c == ' ' && (length == 0 || out[length - 1] == ' '))
            continue;
        out[length++] = c;
    }
    length = utf8_whole(out, length);
    while (length > 0 && out[length - 1] == ' ')
        length--;
    out[length] = '\0';
}

enum rc
err_set(struct err *err, enum rc rc, enum err_class class, const char *format, ...)
{
    if (err == NULL)
        return rc;

    /* Formatted aside, because an argument may be the old message. */
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    format_line(message, sizeof message, format, args);
    va_end(args);

    *err = (struct err){.class = class};
    memcpy(err->message, message, sizeof message);
    return rc;
}

void
err_hint(struct err *err, const char *format, ...)
{
    if (err == NULL)
        return;

    char hint[sizeof err->hint];
    va_list args;
    va_start(args, format);
    format_line(hint, sizeof hint, format, args);
    va_end(args);
    memcpy(err->hint, hint, sizeof hint);
}

enum rc
err_memory(struct err *err)
{
    if (err != NULL) {
        *err = (struct err){.class = ERR_SYSTEM, .message = "out of memory"};
    }
    return RC_FATAL;
}

const char *
rc_name(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return "ok";
    case RC_AGAIN:
        return "again";
    case RC_RETRY:
        return "retry";
    case RC_FENCED:
        return "fenced";
    case RC_CLOSED:
        return "closed";
    case RC_INVALID:
        return "invalid";
    case RC_REFUSED:
        return "refused";
    case RC_HALT:
        return "halt";
    case RC_FATAL:
        return "fatal";
    }
    return "unknown";
}
