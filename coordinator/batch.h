/* coordinator/batch.h - documents on their way through one process: chunks that are leased, batches that are embedded.
 *
 * A chunk is a range of ids that this process leases. Its batches go to the pool in order and are written in order,
 * since each write moves the chunk's cursor; workers finish them in any order.
 * Ownership: a batch owns an arena that holds everything it points at, and one reference to its chunk.
 */
#ifndef REEMBED_COORDINATOR_BATCH_H
#define REEMBED_COORDINATOR_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "coordinator/run.h"
#include "db/types.h"
#include "worker/pool.h"

enum document_work { WORK_CURRENT = 0, WORK_EMBED = 1, WORK_KNOWN_FAILURE = 2, WORK_GONE = 3 };

struct chunk {
    struct chunk *next; /* in run->chunks, under run->mutex */
    atomic_int references;
    atomic_bool lost; /* fenced: nothing of it may be written any more */
    int64_t no;
    int64_t epoch;
    unsigned char owner[16];
    struct doc_key hi;       /* owned copies */
    struct doc_key cursor;   /* NULL bytes: from the start; the writer moves it */
    int64_t docs;            /* when it was cut */
    uint64_t read_sequence;  /* reader only: number of the next batch */
    uint64_t write_sequence; /* writer only: number of the batch to be written next */
    struct batch *waiting;   /* writer only: finished batches, ascending */
    char cursor_room[64];    /* where a short cursor is kept; longer ones are allocated */
    char *cursor_long;
};

struct batch {
    struct batch *next; /* in a chunk's list of waiting ones, or a group's */
    struct arena *arena;
    struct run *run;
    struct chunk *chunk; /* NULL: changes */
    uint64_t sequence;
    struct db_server server; /* that it was read from */
    bool last;               /* of its chunk */
    struct doc_key cursor;   /* id of the last document; NULL bytes: no documents were left */

    size_t count; /* documents of the window, whatever has to be done */
    struct doc_key *ids;
    const unsigned char **hashes; /* NULL: none */
    enum document_work *work;
    size_t embed_count;
    size_t *places; /* places[i]: index in ids of the i-th document to embed */
    struct document *documents;
    size_t bytes; /* of content and vectors, as counted in run->read_bytes */
    struct embed_task task;
};

/* Copies the rows [first, first + count) of a read result (columns id, content_hash, work, body, cut). NULL: memory. */
struct batch *batch_from_rows(struct run *run, const PGresult *rows, int first, int count);
struct batch *batch_free(struct batch *batch); /* NULL is fine; drops its chunk reference */

/* Counts a batch's documents and bytes in and out of run->read_documents, run->read_bytes. */
void batch_count(const struct batch *batch);
void batch_discount(const struct batch *batch);

/* The row of a batch's i-th document to embed, or NULL when it has no vector. */
static inline const float *
batch_vector(const struct batch *batch, size_t i)
{
    return batch->task.results[i].status == DOCUMENT_EMBEDDED ? batch->task.vectors + i * batch->task.dimensions : NULL;
}

/* What the writers and drainers send, gathered from one or more batches. Arrays are parallel and live in the arena. */
struct write_set {
    struct arena *arena;
    bool keep_hashes; /* also of documents without a vector, as plain spaces want it */
    size_t count;     /* rows of the target: vectors and tombstones */
    struct doc_key *ids;
    const unsigned char **hashes;
    const float **vectors;
    size_t failed_count;
    struct doc_key *failed_ids;
    const unsigned char **failed_hashes;
    struct db_text *kinds;
    struct db_text *reasons;
    struct db_text *details;
    int64_t *attempts;
    int64_t *statuses;
    size_t known_count;
    struct doc_key *known_ids;
    size_t gone_count;
    struct doc_key *gone_ids;
    size_t same_count; /* current already */
    struct doc_key *same_ids;
    const unsigned char **same_hashes;
    int64_t truncated;
};

/* Room for `capacity` documents. RC_FATAL: memory. */
enum rc write_set_init(struct write_set *set, struct arena *arena, size_t capacity, struct err *err);
void write_set_add(struct write_set *set, const struct batch *batch);

/* Adds the seven arrays of failed documents, as every write statement takes them. */
void params_add_failures(struct params *params, Oid id_type, const struct write_set *set);

struct chunk *chunk_new(const PGresult *claimed); /* one reference; NULL: memory */
void chunk_retain(struct chunk *chunk);
void chunk_release(struct chunk *chunk);
bool chunk_move_cursor(struct chunk *chunk, struct doc_key to); /* false: memory */

#endif
