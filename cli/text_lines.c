#include "cli/text_lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "cli/json_string.h"

enum { READ_SIZE = 65536 };

struct text_lines {
    int fd;
    bool ended;          /* the input gave everything it had */
    size_t number;       /* of the line that was taken last */
    struct strbuf bytes; /* what was read; lines before `taken` are done with */
    size_t taken;
    size_t searched; /* no line break between `taken` and here */
};

struct text_lines *
text_lines_open(int fd)
{
    struct text_lines *lines = calloc(1, sizeof *lines);
    if (lines == NULL)
        return NULL;
    lines->fd = fd;
    strbuf_init(&lines->bytes, TEXT_LINE_MAX + READ_SIZE);
    return lines;
}

struct text_lines *
text_lines_close(struct text_lines *lines)
{
    if (lines == NULL)
        return NULL;
    strbuf_free(&lines->bytes);
    free(lines);
    return NULL;
}

/* --- one line --- */

static enum rc
parse_line(const struct text_lines *lines, const char *line, size_t length, struct arena *arena, struct text *ret_text,
           struct err *err)
{
    const char *wrong = "";
    const char *bytes = NULL;
    size_t size = 0;

    switch (json_member(line, length, "text", arena, &bytes, &size)) {
    case MEMBER_TEXT:
        *ret_text = (struct text){.bytes = bytes, .length = size};
        return RC_OK;
    case MEMBER_MEMORY:
        return err_memory(err);
    case MEMBER_OTHER:
        wrong = "\"text\" must be a text in quotes";
        break;
    case MEMBER_MISSING:
        wrong = "there is no \"text\"";
        break;
    case MEMBER_BROKEN:
        wrong = length == 0 ? "it is empty" : "this is not JSON";
        break;
    }
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "standard input, line %zu: %s", lines->number, wrong);
    err_hint(err, "each line must be an object such as {\"text\": \"some words\"}");
    return rc;
}

/* --- the stream --- */

/* Makes room by dropping what was taken. */
static void
drop_taken(struct text_lines *lines)
{
    size_t left = lines->bytes.length - lines->taken;
    if (lines->taken == 0)
        return;
    memmove(lines->bytes.bytes, lines->bytes.bytes + lines->taken, left);
    lines->bytes.length = left;
    lines->bytes.bytes[left] = '\0';
    lines->searched -= lines->taken;
    lines->taken = 0;
}

static enum rc
read_more(struct text_lines *lines, bool wait, struct err *err)
{
    char chunk[READ_SIZE];
    struct pollfd ready = {.fd = lines->fd, .events = POLLIN};

    if (!wait && poll(&ready, 1, 0) == 0)
        return RC_AGAIN;
    ssize_t got = 0;
    do {
        got = read(lines->fd, chunk, sizeof chunk);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "can't read standard input: %s", strerror(errno));
    if (got == 0) {
        lines->ended = true;
        return RC_OK;
    }
    drop_taken(lines);
    strbuf_add(&lines->bytes, chunk, (size_t)got);
    if (lines->bytes.failed)
        return err_set(err, RC_INVALID, ERR_USAGE, "standard input, line %zu: it is longer than %zu bytes",
                       lines->number + 1, TEXT_LINE_MAX);
    return RC_OK;
}

enum rc
text_lines_next(struct text_lines *lines, bool wait, struct arena *arena, struct text *ret_text, struct err *err)
{
    for (;;) {
        const char *bytes = strbuf_text(&lines->bytes);
        size_t length = lines->bytes.length;
        const char *line = bytes + lines->taken;
        const char *end = memchr(bytes + lines->searched, '\n', length - lines->searched);
        if (end == NULL && lines->ended && length > lines->taken)
            end = bytes + length;
        if (end != NULL) {
            size_t size = (size_t)(end - line);
            lines->taken += size + (end < bytes + length ? 1 : 0);
            lines->searched = lines->taken;
            lines->number++;
            return parse_line(lines, line, size, arena, ret_text, err);
        }
        lines->searched = length;
        if (lines->ended)
            return RC_CLOSED;
        enum rc rc = read_more(lines, wait, err);
        if (rc != RC_OK)
            return rc;
    }
}
