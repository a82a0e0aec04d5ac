/* coordinator/run.h - what the threads of one `reembed run` share.
 *
 *   main thread       heartbeat, leases, progress; decides when to stop and why
 *   reader            claims and cuts chunks, reads documents, hands batches to the pool
 *   workers           embed (worker/pool.h)
 *   writers           store finished batches, fenced
 *   drainers          one for each space that is kept: changes of documents
 *   column keeper     a target that is placed in the documents table (coordinator/column.h)
 *   finisher          index, gates, flip, exact sweep, completion
 *
 * A connection belongs to one thread. Nothing that must survive lives here.
 */
#ifndef REEMBED_COORDINATOR_RUN_H
#define REEMBED_COORDINATOR_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/measurements.h"
#include "coordinator/commands.h"
#include "coordinator/migration.h"
#include "coordinator/migration_file.h"
#include "db/connection.h"
#include "worker/pool.h"
#include "worker/queue.h"

#define RUN_MAX_WRITERS 8

enum { EMBEDDER_TARGET = 0, EMBEDDER_SOURCE = 1 };

/* Why the process stops; the first reason wins. */
enum stop_reason {
    STOP_NOT = 0,
    STOP_SIGNAL,    /* SIGTERM, SIGINT */
    STOP_RUNTIME,   /* --max-runtime */
    STOP_ONCE,      /* --once: nothing more to claim */
    STOP_UNTIL,     /* --until reached */
    STOP_PAUSED,    /* by a person or a budget */
    STOP_CANCELLED, /* or rolled back */
    STOP_BLOCKED,   /* only the flip is left and a gate holds it back */
    STOP_DONE,      /* completed, or drained */
    STOP_UNDONE,    /* another server took over that missed what was done: run_command begins anew */
    STOP_FAILED,    /* run->err says why; another process may have failed it */
};

struct chunk;
struct flow;

struct run {
    const struct run_options *options;
    const struct migration_file *file;
    const struct migration *migration;
    struct embedder *embedders[POOL_MAX_EMBEDDERS]; /* NULL: not needed */
    struct pool *pool;
    struct flow *flow; /* NULL: the target's model is in process */
    size_t batch_size;
    size_t threads;
    int64_t lease_ms;
    int64_t content_limit; /* characters of a document that are read */
    unsigned char worker_id[16];

    /* --- stopping: set by run_stop, read everywhere --- */
    atomic_int stop_reason;    /* enum stop_reason; not STOP_NOT: no new batches */
    atomic_bool stopping;      /* the same as a flag, for what is cut short at once: nothing paid for hangs on it */
    atomic_bool abandon;       /* grace is over: requests and statements under way are cut short */
    atomic_bool backfill_over; /* the reader has nothing left and never will have */
    atomic_bool drain_allowed; /* dual_write, or the backfill is done, or queries went over */
    atomic_bool keep_only;     /* completed: only changes are drained */
    bool gone_back;            /* rolled back: what waits for either space is applied, and then it ends */
    bool sample_only;          /* --until: a random share goes ahead by way of the change log, and then it ends */
    atomic_bool flipped;
    atomic_bool connected;   /* the database answered once */
    int64_t started_ms;      /* main thread only: when the command began to work */
    atomic_bool reader_done; /* the reader has returned */
    atomic_int threads_busy; /* reader, drainers, finisher: not returned yet */
    atomic_int writers_busy;

    pthread_mutex_t mutex;  /* of all below */
    pthread_cond_t changed; /* something that a waiting thread may look for */
    struct err err;         /* of STOP_FAILED and STOP_BLOCKED */
    int failure_rc;         /* enum rc of STOP_FAILED */
    struct chunk *chunks;   /* leased by this process */
    size_t read_documents;  /* read and not written yet: bounds the memory */
    size_t read_bytes;
    char note[256]; /* why it waits */
    int64_t note_until_ms;
    int64_t remaining; /* documents not cut yet, of the last look */
    int64_t alive_workers;

    struct queue *finished[RUN_MAX_WRITERS]; /* struct batch, from the workers to the writers */
    size_t writers;

    atomic_llong in_flight; /* documents handed to the pool and not written */
    atomic_llong processed; /* documents written by this process */
    atomic_ullong tokens;
    atomic_ullong requests;
    /* --- coordinator/throttle.h --- */
    atomic_int held;            /* enum measured_throttle: why the backfill waits for the database's sake */
    int64_t throttle_looked_ms; /* main thread only, as the next two */
    int64_t throttle_wal;       /* position of the WAL at the last look; -1: none yet */
    int64_t throttle_wal_us;    /* the database's clock then */
    bool outcome_recorded;      /* main thread only: what was forecast and what it took is kept */
    double allowance;           /* reader only, as the next */
    int64_t allowance_ms;

    atomic_llong half_sent_looked_ms;

    struct measurements *measurements; /* options->measurements, else `unseen` */
    struct measurements unseen;

    atomic_bool drained_once[POOL_MAX_EMBEDDERS]; /* the change log of that space was seen empty */
    atomic_bool column_drained;                   /* and then the placed column had all of the side table */
};

/* Asks everybody to stop; the first reason wins. `err` may be NULL. Any thread. */
void run_stop(struct run *run, enum stop_reason reason, enum rc rc, const struct err *err);
/* The migration is completed, by whichever process: the end, or with --follow the beginning of keeping its spaces current.
 * Any thread. */
void run_completed(struct run *run);
static inline bool
run_stopping(const struct run *run)
{
    return atomic_load(&run->stop_reason) != STOP_NOT;
}

/* Waits for at most `ms`, less when the run stops. Any thread. */
void run_sleep(struct run *run, int64_t ms);

/* The reader has nothing left and never will have: sets backfill_over and wakes who waits for it. */
void run_backfill_over(struct run *run);

/* run_sleep, but no longer than the backfill lasts. */
void run_sleep_during_backfill(struct run *run, int64_t ms);

/* Shown by status while it is fresh (10 s). Any thread. */
void run_note(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same without a line in the log, for what goes on: what was noted before stays shown until something else is. */
void run_note_keep(struct run *run, const char *note);

/* Usage of a task that came back, stored or not: it was paid. */
void run_count_usage(struct run *run, const struct embed_usage *usage);

/* Opens a connection with the run's timeouts and the abandon flag. */
enum rc run_connect_once(struct run *run, struct db **ret_db, struct err *err);

/* The same, but a database that is away is waited for once the process has been connected to it, until the run stops. */
enum rc run_connect(struct run *run, struct db **ret_db, struct err *err);

/* What a thread does after RC_RETRY: reconnects when the connection is lost, else waits a little. RC_OK: try again.
 * RC_CLOSED: the run stops. Otherwise the error is for good. */
enum rc run_recover(struct run *run, struct db *db, int attempt, struct err *err);

/* db_exec, retried by the policy until it works, fails for good or the run is abandoned. Only for statements that may
 * be repeated: reads, and writes that find out by themselves that they were done. */
enum rc run_exec(struct run *run, struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
                 struct err *err);

/* As run_exec, for what was computed from reads of `server`: RC_AGAIN, and nothing is done, once the connection leads to
 * another one. What a server said that has crashed since may never have been committed there. */
enum rc run_exec_on(struct run *run, struct db *db, const struct db_server *server, const char *sql,
                    const struct params *params, PGresult **ret_result, struct err *err);

/* Ends backends that a stopped process, or a broken network, left standing in the middle of a transaction: their locks would
 * hold everybody up for ever. Looks only now and then. Any thread, with its own connection. */
enum rc run_end_half_sent(struct run *run, struct db *db, struct err *err);

/* A statement failed because there is no such column or table: a cutover or rollback gave the name to another and took the
 * lease away, or the end of a migration took both away. Look for the lease and the names again; *attempts counts how often
 * in a row that happened. */
bool run_names_changed(enum rc rc, const struct err *err, int *attempts);

/* Thread bodies; `argument` is the run (writers: struct writer_argument). */
void *reader_thread(void *argument);
void *writer_thread(void *argument);
void *drainer_thread(void *argument);
void *finisher_thread(void *argument);

struct writer_argument {
    struct run *run;
    size_t index;
};
struct drainer_argument {
    struct run *run;
    const struct space *space;
    size_t embedder;
};

#endif
