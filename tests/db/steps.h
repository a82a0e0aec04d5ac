/* tests/db/steps.h - a worker by hand: the product's own statements, one at a time, in any order a test wants.
 *
 * The model is oracle.vector_of. A text that contains BAD fails (permanent_api_error), an empty one is skipped
 * (empty_content), all others get a vector.
 * The batch functions below the line do what a run does, and check what a worker checks.
 * Ownership: what is read belongs to the struct it was read into, and is freed by its _free.
 */
#ifndef REEMBED_TESTS_DB_STEPS_H
#define REEMBED_TESTS_DB_STEPS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/connection.h"
#include "db/types.h"
#include "tests/db/mutants/mutants.h"

#define LEASE_MS   INT64_C(3600000)
#define EXPIRED_MS INT64_C(-1000) /* a lease that has run out when it begins */

enum { TARGET = 0, SOURCE = 1, SPACES = 2 };

struct lease {
    PGresult *row; /* keys point into it */
    int64_t no;
    int64_t epoch;
    unsigned char owner[16];
    struct doc_key hi;
    struct doc_key cursor;
    int64_t done;
    bool finished;
    unsigned char cursor_room[256];
};

/* Documents as a statement returned them, with what the model made of each. */
struct reading {
    PGresult *rows;
    int count;
    bool last; /* of the chunk */
};

/* A list of changes. */
struct changes {
    PGresult *rows;
    int count;
    int64_t token;
    bool truncated; /* it holds markers of TRUNCATE */
};

struct drainer {
    int64_t epoch;
    unsigned char owner[16];
};

struct worker {
    struct db *db;
    char *id;
    int64_t number;
    Oid id_type;
    struct vector_types types;
    struct {
        int64_t id;
        enum vector_kind kind;
        bool side;
    } spaces[SPACES];
    char *sql[STATEMENTS][SPACES];
    struct lease lease; /* of the batch functions */
    bool leased;
};

/* `mutant` may be NULL. */
void worker_open(struct worker *worker, struct db *db, const char *migration_id, const struct mutant *mutant);
void worker_close(struct worker *worker);

bool cut(struct worker *worker, int documents); /* false: nothing left to cut */
bool claim(struct worker *worker, int64_t lease_ms, struct lease *ret_lease);
void lease_free(struct lease *lease);
bool renew(struct worker *worker, const struct lease *lease, int64_t lease_ms);
bool release(struct worker *worker, const struct lease *lease);
void read_chunk(struct worker *worker, const struct lease *lease, int limit, struct reading *ret_reading);
void reading_free(struct reading *reading);
int reading_to_embed(const struct reading *reading); /* documents that the model is asked for */

/* False: fenced, nothing was written. The lease's cursor moves only on true. */
bool write_chunk(struct worker *worker, struct lease *lease, const struct reading *reading);

bool drain_claim(struct worker *worker, int space, int64_t lease_ms, struct drainer *ret_drainer);
void drain_release(struct worker *worker, int space, const struct drainer *drainer);
void drain_list(struct worker *worker, int space, int limit, struct changes *ret_changes);
void changes_free(struct changes *changes);
void drain_read(struct worker *worker, int space, const struct changes *changes, struct reading *ret_reading);
/* The documents that are not current yet; those that are; false: fenced. *ret_settled may be NULL. */
bool drain_write(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes,
                 const struct reading *reading, int64_t *ret_settled);
/* The same, without waiting for the answer (sql_receive takes it). Side tables only. */
void drain_write_send(struct worker *worker, const struct drainer *drainer, const struct changes *changes,
                      const struct reading *reading);
bool drain_same(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes,
                const struct reading *reading, int64_t *ret_settled);
void truncate_kick(struct worker *worker);
void truncate_expand(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes);
int64_t purge(struct worker *worker, const struct drainer *drainer, int limit);

/* --- as a run does it --- */

/* Works until `wanted` more have been written, or nothing is left. In chunks of 100 and batches of 100. */
int64_t backfill(struct worker *worker, int64_t wanted);
/* The change log of a space until it is empty. Returns the number of documents met. */
int64_t drain(struct worker *worker, int space);
/* The exact sweep over everything: records the coverage and returns how many repairs were noted. */
int64_t sweep(struct worker *worker);
/* Backfill, changes, index, flip, sweep: completed, or the test fails. */
void complete(struct worker *worker);
/* An index as the migration wants one, valid or as an interrupted build leaves it. */
void build_index(struct worker *worker, bool valid);

/* The oracle's verdict over all documents. With `pending`, what stands in the change log is not held against anybody.
 */
struct verdict {
    int64_t wrong;
    int64_t missing;
    int64_t orphaned;
};
struct verdict check(struct worker *worker, const char *content, const char *filter, bool pending);

/* Nothing is wrong, missing or orphaned; `content` and `filter` as the test means them. */
void expect_current(struct worker *worker, const char *content, const char *filter);

#endif
