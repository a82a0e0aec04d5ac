/* cli/output.h - what goes to standard output: lines, tables, one JSON document.
 *
 * On a terminal there are colours (unless NO_COLOR is set) and the last column of a table is cut to the width; in a
 * pipe there is neither, so that nothing is lost. Texts from the database are made harmless on the way.
 * Threads: one at a time.
 */
#ifndef REEMBED_CLI_OUTPUT_H
#define REEMBED_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

struct output {
    FILE *stream; /* borrowed */
    size_t width; /* columns; 0: not limited */
    bool colour;
    bool utf8; /* box characters and check marks may be used */
};

/* For standard output as it is. */
struct output output_standard(void);

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD, STYLE_WARN };

/* The sequences that begin and end a style; "" without colour. */
const char *style_on(const struct output *out, enum style style);
const char *style_off(const struct output *out, enum style style);

void output_print(const struct output *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A check mark or a cross, in colour. */
const char *output_mark(const struct output *out, bool good);

/* The last line of every command for people. */
void output_next(const struct output *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether all of it was taken; a reader that went away (EPIPE) is no error. RC_FATAL, ERR_SYSTEM. */
enum rc output_finish(const struct output *out, struct err *err);

/* --- tables --- */

struct table_column {
    const char *title;
    bool right; /* figures */
};

struct table;

/* Copies nothing but what table_cell is given; `columns` must outlive the table. NULL: out of memory. */
struct table *table_new(const struct table_column *columns, size_t count);
struct table *table_free(struct table *table); /* NULL is fine; returns NULL */

/* Cells from left to right; after the last column a new row begins. NULL and "" are an empty cell. */
void table_cell(struct table *table, const char *text);

/* RC_FATAL when a cell could not be kept. Rows are indented by `indent` blanks; without rows nothing is printed. */
enum rc table_print(const struct table *table, const struct output *out, size_t indent, bool titles, struct err *err);

#endif
