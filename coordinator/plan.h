/* coordinator/plan.h - inside the command `plan`: what is found out, step by step, on the way to the report.
 *
 * Every step adds rows to the checks and goes on as far as it can; the first row that fails decides how the command
 * ends, so the steps are taken in the order in which `run` would meet the same obstacles.
 * Threads: one. Ownership: the struct owns what it points at, but for the options.
 */
#ifndef REEMBED_COORDINATOR_PLAN_H
#define REEMBED_COORDINATOR_PLAN_H

#include <cjson/cJSON.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "coordinator/commands.h"
#include "coordinator/migration.h"
#include "coordinator/migration_file.h"
#include "db/connection.h"
#include "embed/embedder.h"

struct plan {
    const struct plan_options *options;
    const atomic_bool *stop; /* ends the reading of documents; may be NULL */
    struct migration_file *file;
    struct db *db; /* NULL: unreachable */
    cJSON *checks;
    bool broken; /* out of memory while the report was written */
    int code;    /* of the first check that failed; EXIT_DONE: none has */
    struct err err;

    /* from the database; NULL where it could not be found out */
    PGresult *documents;         /* docs_table, docs_alias, id_column, id_type, content, filter */
    struct migration *migration; /* as `run` would create it */
    PGresult *statements;        /* plan_sql */
    PGresult *index;             /* index_facts; NULL: no index is wanted, or it is there */
    bool canary[2];              /* of the target's and the source's space: one is kept from an earlier start */
    bool schema_missing;
    int schema_latest;
    bool begun;        /* the migration has started: its documents were counted */
    double docs_bytes; /* of the documents' rows, without what is stored out of line */
    double docs_vector_index_bytes;
    double docs_other_indexes;
    double share; /* of the documents, that is still to be embedded */

    struct embedder *embedder; /* the target's; NULL: it can't be opened */
    bool embeds;               /* it has embedded a text */
};

/* --- plan.c --- */

/* Rows of the checks: one that holds, one that holds but should be known (`fix` says what to do), one that fails. */
void plan_holds(struct plan *plan, const char *check, const char *format, ...) __attribute__((format(printf, 3, 4)));
void plan_warns(struct plan *plan, const char *check, const char *fix, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void plan_fails(struct plan *plan, const char *check, enum rc rc, const struct err *err);
void plan_fails_with(struct plan *plan, const char *check, int code, const struct err *err);

/* The transaction is over: what is there now was there before. `object`: a relation's name as SQL. */
enum rc plan_is_there(struct plan *plan, const char *object, bool *ret_there, struct err *err);

/* --- plan_database.c --- */

/* Connects and does what `run` would do up to the installation of change capture, in a transaction that is rolled back.
 * No lock on the documents is asked for. */
void plan_database(struct plan *plan);

/* Where the target's index is still to be built: how it will be called (plan->index). */
enum rc plan_read_index(struct plan *plan, struct err *err);

/* --- plan_locks.c --- */

/* The locks that the statements of `sql` take, in their order: [{"object", "mode", "when", "text"}]. NULL: out of
 * memory. */
cJSON *plan_locks(const struct plan *plan, const cJSON *sql);

/* --- plan_estimate.c --- */

/* Counts and samples the documents. `*ret_estimate` and `*ret_probe` are NULL where nothing can be said. RC_FATAL: out
 * of memory; other errors are rows of the checks. */
enum rc plan_estimate(struct plan *plan, cJSON **ret_estimate, cJSON **ret_probe, double *ret_documents,
                      struct err *err);

/* --- plan_size.c --- */

struct plan_size {
    double table_bytes; /* side table, its key and what is stored out of line */
    double wal_bytes;   /* of writing the vectors once, and the index */
    double index_bytes; /* < 0: unknown */
    double index_memory_bytes;
};

/* `share`: of the documents that are still to be written. `index_method`: NULL where only the database knows it.
 * `index_missing`: it is still to be built, so that it counts for the WAL. */
void plan_size(const struct migration_target *target, const char *id_type, const char *index_method, double documents,
               double share, bool index_missing, struct plan_size *ret_size);

/* What the server gives to the build of an index. */
struct index_means {
    double memory_bytes; /* maintenance_work_mem */
    int workers;         /* parallel ones, beside the process that builds */
};

/* How long the build takes on a core of a few years' age; < 0: unknown. */
double index_seconds(const struct migration_target *target, const char *method, const struct plan_size *size,
                     double documents, const struct index_means *means);

/* WAL of copying all vectors into a column of the documents, on top of the side table's: each row is written anew, its
 * page goes into the WAL as it was, and every index of the table gets an entry. Compared with real tables in docs/plan.md. */
double plan_column_wal(const struct plan *plan, double documents);

#endif
