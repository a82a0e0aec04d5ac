#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "cli/format.h"

struct output
output_standard(void)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    bool is_terminal = isatty(STDOUT_FILENO) != 0;
    bool dumb = terminal == NULL || strcmp(terminal, "dumb") == 0;
    return (struct output){
        .stream = stdout,
        .width = terminal_width(STDOUT_FILENO),
        .colour = is_terminal && !dumb && (no_colour == NULL || no_colour[0] == '\0'),
        .utf8 = terminal_is_utf8(),
    };
}

const char *
style_on(const struct output *out, enum style style)
{
    if (!out->colour)
        return "";
    switch (style) {
    case STYLE_PLAIN:
        return "";
    case STYLE_BOLD:
        return "\033[1m";
    case STYLE_DIM:
        return "\033[2m";
    case STYLE_GOOD:
        return "\033[32m";
    case STYLE_BAD:
        return "\033[31m";
    case STYLE_WARN:
        return "\033[33m";
    }
    return "";
}

const char *
style_off(const struct output *out, enum style style)
{
    return out->colour && style != STYLE_PLAIN ? "\033[0m" : "";
}

void
output_print(const struct output *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(out->stream, format, args);
    va_end(args);
}

const char *
output_mark(const struct output *out, bool good)
{
    if (out->colour && out->utf8)
        return good ? "\033[32m✓\033[0m" : "\033[31m✗\033[0m";
    if (out->utf8)
        return good ? "✓" : "✗";
    return good ? "+" : "-";
}

void
output_next(const struct output *out, const char *format, ...)
{
    va_list args;
    (void)fprintf(out->stream, "%snext:%s ", style_on(out, STYLE_BOLD), style_off(out, STYLE_BOLD));
    va_start(args, format);
    (void)vfprintf(out->stream, format, args);
    va_end(args);
    (void)fputc('\n', out->stream);
}

/* The write that failed may be long ago and its errno gone. */
static bool
is_reader_gone(FILE *stream)
{
    struct pollfd end = {.fd = fileno(stream)};
    return errno == EPIPE || (end.fd >= 0 && poll(&end, 1, 0) == 1 && (end.revents & (POLLERR | POLLHUP)) != 0);
}

enum rc
output_finish(const struct output *out, struct err *err)
{
    errno = 0;
    if ((fflush(out->stream) == 0 && !ferror(out->stream)) || is_reader_gone(out->stream))
        return RC_OK;
    return err_set(err, RC_FATAL, ERR_SYSTEM, "can't write the output: %s",
                   errno == 0 ? "an earlier write failed" : strerror(errno));
}

/* --- tables --- */

struct table {
    const struct table_column *columns;
    size_t count;
    struct arena *arena; /* owns the cells */
    const char **cells;  /* owned; row by row */
    size_t used;
    size_t room;
    bool failed;
};

struct table *
table_new(const struct table_column *columns, size_t count)
{
    struct table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    table->columns = columns;
    table->count = count;
    table->arena = arena_new(0);
    return table->arena == NULL ? table_free(table) : table;
}

struct table *
table_free(struct table *table)
{
    if (table == NULL)
        return NULL;
    arena_free(table->arena);
    free(table->cells);
    free(table);
    return NULL;
}

void
table_cell(struct table *table, const char *text)
{
    struct strbuf clean;

    if (table->failed)
        return;
    if (table->used == table->room) {
        size_t room = table->room == 0 ? 64 : table->room * 2;
        const char **cells = reallocarray(table->cells, room, sizeof *cells);
        if (cells == NULL) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->room = room;
    }
    strbuf_init(&clean, (size_t)64 * 1024 * 1024);
    if (text != NULL)
        format_fit(text, 0, &clean);
    const char *copy = arena_copy(table->arena, strbuf_text(&clean), clean.length);
    table->failed = clean.failed || copy == NULL;
    if (!table->failed)
        table->cells[table->used++] = copy;
    strbuf_free(&clean);
}

static void
print_blanks(const struct output *out, size_t count)
{
    (void)fprintf(out->stream, "%*s", (int)count, "");
}

/* `left`: columns that are left on the line; 0: no limit. */
static enum rc
print_cell(const struct output *out, const char *text, size_t width, bool right, bool last, size_t left,
           struct err *err)
{
    struct strbuf shown;
    enum rc rc = RC_OK;

    strbuf_init(&shown, strlen(text) * 4 + 64);
    if (last && left > 0)
        format_fit(text, left, &shown);
    else
        strbuf_puts(&shown, text);
    if (shown.failed)
        rc = err_memory(err);
    size_t taken = format_width(strbuf_text(&shown));
    size_t padding = width > taken ? width - taken : 0;
    if (right)
        print_blanks(out, padding);
    (void)fputs(strbuf_text(&shown), out->stream);
    if (!right && !last)
        print_blanks(out, padding);
    strbuf_free(&shown);
    return rc;
}

static enum rc
print_row(const struct table *table, const struct output *out, size_t indent, const size_t *widths,
          const char *const *cells, struct err *err)
{
    size_t used = indent;
    print_blanks(out, indent);
    for (size_t i = 0; i < table->count; i++) {
        bool last = i + 1 == table->count;
        size_t left = out->width >= used + 8 ? out->width - used : 0;
        const char *text = cells == NULL ? table->columns[i].title : cells[i];
        enum rc rc = print_cell(out, text, widths[i], table->columns[i].right, last, left, err);
        if (rc != RC_OK)
            return rc;
        if (!last)
            print_blanks(out, 2);
        used += widths[i] + 2;
    }
    (void)fputc('\n', out->stream);
    return RC_OK;
}

enum rc
table_print(const struct table *table, const struct output *out, size_t indent, bool titles, struct err *err)
{
    enum rc rc = RC_OK;
    if (table->failed)
        return err_memory(err);
    size_t rows = table->used / table->count;
    if (rows == 0)
        return RC_OK;

    size_t *widths = calloc(table->count, sizeof *widths);
    if (widths == NULL)
        return err_memory(err);
    for (size_t i = 0; i < table->count; i++) {
        widths[i] = titles ? format_width(table->columns[i].title) : 0;
        for (size_t row = 0; row < rows; row++) {
            size_t width = format_width(table->cells[row * table->count + i]);
            if (width > widths[i])
                widths[i] = width;
        }
    }
    if (titles) {
        (void)fputs(style_on(out, STYLE_DIM), out->stream);
        rc = print_row(table, out, indent, widths, NULL, err);
        (void)fputs(style_off(out, STYLE_DIM), out->stream);
    }
    for (size_t row = 0; row < rows && rc == RC_OK; row++)
        rc = print_row(table, out, indent, widths, table->cells + row * table->count, err);
    free(widths);
    return rc;
}
