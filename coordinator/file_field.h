/* coordinator/file_field.h - the sections of the migration file as tables: one row a key.
 *
 * A row says where in the section's struct a value goes, which values are allowed and for which kind of section the
 * key exists. Reading, refusing, suggesting and printing all follow from the rows, so a key can't be known to one of
 * them alone. Defaults are what the struct holds before it is read.
 * Threads: a reader belongs to one thread. Errors: RC_INVALID, ERR_USAGE, "file:line: section.key ...".
 */
#ifndef REEMBED_COORDINATOR_FILE_FIELD_H
#define REEMBED_COORDINATOR_FILE_FIELD_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/strbuf.h"

enum field_kind {
    FIELD_TEXT,     /* const char *, not empty */
    FIELD_ANY_TEXT, /* const char *, may be empty: an empty prefix says "none", which is not "not given" */
    FIELD_SWITCH,   /* bool */
    FIELD_TRISTATE, /* int: 0 or 1; what stands for "not given" is the caller's default */
    FIELD_COUNT,    /* int64_t, a whole number */
    FIELD_SIZE,     /* size_t, a whole number; 0: not given */
    FIELD_INT,      /* int, a whole number */
    FIELD_NUMBER,   /* double */
    FIELD_OPTIONAL, /* struct optional_number; null is a value: no such limit */
    FIELD_WORD,     /* an enum; its value is the index of the word in `words`; an empty word can't be chosen */
    FIELD_SECTION,  /* read and printed by the caller; the row only makes the key known */
};

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    bool required;
    bool whole;               /* FIELD_OPTIONAL: a whole number */
    bool above;               /* the minimum itself is not allowed */
    double minimum;           /* numbers */
    double maximum;           /* numbers; 0: none */
    const char *const *words; /* FIELD_WORD; NULL-ended */
    unsigned kinds;           /* bits of the kinds of section that have this key; 0: all */
};

struct field_table {
    const char *section; /* "backfill", "target.index"; "" at the top */
    const struct field *fields;
    size_t count;
};

struct file_reader {
    const char *path; /* names the file in messages */
    const char *text; /* as it is on disk, to find lines */
    size_t length;
    struct arena *arena; /* takes the strings that are read */
    struct err *err;
    const struct field_table *const *tables; /* all of the file, NULL-ended: where does a misplaced key belong? */
};

/* Refuses `section`.`key` (either may be "") with a message that begins with file, line and key. RC_INVALID. */
enum rc file_refuse(const struct file_reader *reader, const char *section, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Refuses anything but an object, unknown keys, and keys that exist for other kinds only. `section` overrides the
 * table's name (one table may serve two sections); `kind` is one bit of field.kinds, `kind_name` its word. */
enum rc file_fields_check(const struct file_reader *reader, const struct field_table *table, const char *section,
                          const cJSON *object, unsigned kind, const char *kind_name);

/* Reads all but the FIELD_SECTION rows of `object` into `out`. A key that is absent or null keeps what `out` holds. */
enum rc file_fields_read(const struct file_reader *reader, const struct field_table *table, const char *section,
                         const cJSON *object, void *out);

/* Appends "key":value pairs, separated by commas, of all but the FIELD_SECTION rows for `kind`. What is not
 * given (a NULL text, an optional number, a size of 0, a tristate outside 0 and 1) is null. */
void file_fields_json(const struct field_table *table, const void *in, unsigned kind, struct strbuf *out);

/* The shortest decimal that reads back as `value`. */
void file_number_json(double value, struct strbuf *out);

#endif
