/* coordinator/doctor.h - inside the command `doctor`: findings about pgvector columns, and what they rest on.
 *
 * Everything is read, in read-only transactions of one statement each, and bounded: rows by sampling, time by a
 * statement timeout. A statement that fails or takes too long becomes a finding, and the others go on.
 * The ids of findings are stable: docs/doctor.md lists them. Threads: one.
 */
#ifndef REEMBED_COORDINATOR_DOCTOR_H
#define REEMBED_COORDINATOR_DOCTOR_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "coordinator/commands.h"
#include "coordinator/migration_file.h"
#include "db/connection.h"
#include "db/types.h"
#include "embed/embedder.h"

enum doctor_severity { DOCTOR_INFO, DOCTOR_WARNING, DOCTOR_ERROR };

enum {
    DOCTOR_SAMPLE = 20000,       /* rows of a column that are looked at */
    DOCTOR_EMBEDDED = 24,        /* documents that are embedded again */
    DOCTOR_STATEMENT_MS = 20000, /* longest time of a statement */
};

struct doctor {
    const struct doctor_options *options;
    struct migration_file *file; /* owned; NULL: none was given */
    struct db *db;               /* owned; NULL: unreachable */
    struct vector_types types;
    double shared_buffers, cache;
    cJSON *columns;  /* owned */
    cJSON *findings; /* owned */
    int count[3];    /* of findings, by severity */
    bool broken;     /* out of memory while the report was written */
};

/* A column and the SQL that reads it. Strings point into the query result of its facts, or into the migration file. */
struct doctor_column {
    int64_t oid;
    const char *table, *column, *name, *type;
    const char *subject; /* "public.docs.embedding" */
    int dimensions;      /* 0: the column has no fixed size */
    double rows;         /* as the server believes; < 0: never analyzed */
    double bytes;

    /* templates' values; content NULL: no text is known */
    const char *from, *vector, *content, *filter, *updated, *embedded;
    const char *key;                         /* NULL: none */
    bool joined;                             /* the vectors are in another table than the documents */
    const struct provider_options *provider; /* NULL: the claimed model can't be asked */
    const char *model;
};

/* Takes nothing over. `fix` and `subject` may be NULL. */
void doctor_find(struct doctor *doctor, const char *id, enum doctor_severity severity, const char *subject,
                 const char *fix, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Runs a statement made of a template. A failure is a finding `id`, and false. */
bool doctor_query(struct doctor *doctor, const char *id, const char *subject, const char *text,
                  const struct doctor_column *column, const struct params *params, PGresult **ret_result);

/* The clause that bounds a scan of a large table: "TABLESAMPLE SYSTEM (...)", or "". */
const char *doctor_sampling(double rows, char out[64]);

/* --- doctor_database.c --- */

/* The server and the role. */
void doctor_server(struct doctor *doctor);

/* Without a file: every column the role can see, or those of options->table. */
void doctor_find_columns(struct doctor *doctor);

/* With a file: its documents, and its source column. */
void doctor_planned(struct doctor *doctor);

/* --- doctor_column.c --- */

/* What is in the column, its indexes and triggers. Adds a row to doctor->columns. */
void doctor_examine(struct doctor *doctor, const struct doctor_column *column);

/* --- doctor_model.c --- */

/* Whether the claimed model made the vectors: some documents are embedded again. */
void doctor_compare_model(struct doctor *doctor, const struct doctor_column *column);

/* Whether a provider works at all, by a short text of ours. */
void doctor_try_provider(struct doctor *doctor, const char *subject, const struct provider_options *provider,
                         size_t dimensions);

#endif
