#include "cli/text_lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "embed/http/json_scan.h"

enum { READ_SIZE = 65536 };

struct text_lines {
    int fd;
    bool ended;          /* the input gave everything it had */
    size_t number;       /* of the line that was taken last */
    struct strbuf bytes; /* what was read; lines before `taken` are done with */
    size_t taken;
    size_t searched; /* no line break between `taken` and here */
    struct scan_paths paths;
};

/* What the scanner finds in one line. */
struct found {
    struct strbuf text;
    enum scan_type type;
    bool any;
};

struct text_lines *
text_lines_open(int fd)
{
    struct text_lines *lines = calloc(1, sizeof *lines);
    if (lines == NULL)
        return NULL;
    lines->fd = fd;
    strbuf_init(&lines->bytes, TEXT_LINE_MAX + READ_SIZE);
    (void)scan_paths_add(&lines->paths, "text");
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

/* Of two equal names the last one counts, as for other readers of JSON. */
static bool
on_begin(void *context, unsigned selected, enum scan_type type)
{
    struct found *found = context;
    (void)selected;
    found->any = true;
    found->type = type;
    strbuf_reset(&found->text);
    return true;
}

static bool
on_number(void *context, unsigned selected, float value, const struct number *number)
{
    (void)value;
    (void)number;
    return on_begin(context, selected, SCAN_NUMBER);
}

static bool
on_text(void *context, unsigned selected, const char *bytes, size_t length)
{
    struct found *found = context;
    (void)selected;
    strbuf_add(&found->text, bytes, length);
    return true;
}

static bool
on_end(void *context, unsigned selected, enum scan_type type)
{
    (void)context;
    (void)selected;
    (void)type;
    return true;
}

static enum rc
parse_line(const struct text_lines *lines, const char *line, size_t length, struct arena *arena, struct text *ret_text,
           struct err *err)
{
    static const struct scan_events events = {.begin = on_begin, .number = on_number, .text = on_text, .end = on_end};
    struct scanner scanner;
    struct found found = {.any = false};
    enum rc rc = RC_OK;

    strbuf_init(&found.text, TEXT_LINE_MAX);
    scanner_begin(&scanner, &lines->paths, &events, &found);
    if (length == 0 || !scanner_feed(&scanner, line, length) || !scanner_end(&scanner)) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "standard input, line %zu: %s", lines->number,
                     length == 0 ? "it is empty" : "this is not JSON");
    } else if (!found.any || found.type != SCAN_STRING) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "standard input, line %zu: %s", lines->number,
                     found.any ? "\"text\" must be a text in quotes" : "there is no \"text\"");
    } else if (found.text.failed) {
        rc = err_memory(err);
    } else {
        ret_text->bytes = arena_copy(arena, strbuf_text(&found.text), found.text.length);
        ret_text->length = found.text.length;
        rc = ret_text->bytes == NULL ? err_memory(err) : RC_OK;
    }
    if (rc == RC_INVALID)
        err_hint(err, "each line must be an object such as {\"text\": \"some words\"}");
    strbuf_free(&found.text);
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
