/* coordinator/commands.h - the commands that need the coordinator, as the command line calls them.
 *
 * Options are plain data, already checked for form and range; strings are borrowed until the call returns. Nothing is
 * printed here but log lines: what a person or a script is to see goes back as data, and cli/ shows it.
 * Each returns an exit code of the contract. When it is not EXIT_DONE and there is something to say, `err` is filled.
 * Threads: called once, from the main thread, with SIGINT, SIGTERM and SIGHUP blocked in every thread.
 */
#ifndef REEMBED_COORDINATOR_COMMANDS_H
#define REEMBED_COORDINATOR_COMMANDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct cJSON;
struct measurements;

enum exit_code {
    EXIT_DONE = 0, /* done, or nothing left to do */
    EXIT_UNEXPECTED = 1,
    EXIT_USAGE = 2,       /* command line, configuration, unknown id */
    EXIT_MORE = 3,        /* stopped with work left: --once, --max-runtime, --until, a signal */
    EXIT_UNREACHABLE = 4, /* database away, or it refuses us */
    EXIT_PROVIDER = 5,    /* refused for good: key, quota, model, dimensions */
    EXIT_STATE = 6,       /* not allowed in this state */
    EXIT_GATE = 7,        /* a gate or a verification failed */
    EXIT_PAUSED = 8,      /* by a person or a budget */
    EXIT_FAILURES = 9,    /* completed, but documents are in `failures` */
};

/* What every command is told by the global options. */
struct common_options {
    const char *database_url; /* NULL: libpq's own PG* environment */
    const char *onnxruntime;  /* the library to load; NULL: environment, then the usual places */
    bool yes;                 /* questions are answered with yes */
    bool interactive;         /* a person is at the terminal and can be asked */
};

/* --- run --- */

/* How a migration stands, for a progress bar or a log line. Strings may be NULL while unknown. */
struct progress_view {
    const char *migration_id;
    const char *state;   /* "in_progress", ... */
    const char *stage;   /* "capture", "backfill", "index", "verify"; NULL outside in_progress */
    const char *routing; /* the side that queries go to: "source" or "target" */
    const char *note;    /* why it waits, such as "429: next request in 12 s" */
    int64_t total;
    int64_t processed;
    int64_t skipped;
    int64_t failed;
    int64_t pending;
    int64_t changes_pending;
    double throughput;  /* documents a second; < 0: unknown */
    double eta_secs;    /* < 0: unknown */
    double coverage;    /* effective coverage, 0 to 1 */
    double threshold;   /* the coverage at which queries go over, 0 to 1 */
    double index_share; /* of an index that is being built, 0 to 1; < 0: none is */
};

struct run_options {
    struct common_options common;
    const char *file;           /* path of the migration file */
    bool once;                  /* one pass until no work is claimable */
    bool follow;                /* stay until the stop flag is raised */
    bool ok_if_more;            /* EXIT_DONE where it would be EXIT_MORE */
    double max_runtime_secs;    /* 0: no limit */
    double until;               /* share of the documents, above 0, at most 1; 0: not given */
    int64_t batch_size;         /* 0: the file's */
    int64_t max_concurrent;     /* 0: the file's */
    double shutdown_grace_secs; /* after the stop flag: to store what is being embedded */

    /* Raised by the first SIGINT, SIGTERM or SIGHUP; the second ends the process where it stands. */
    const atomic_bool *stop;

    /* Called with the newest figures, once a second or more often, always by one thread at a time. */
    void (*on_progress)(void *context, const struct progress_view *view);
    void *progress_context;

    /* Filled by the run; must outlive it. NULL: nobody looks. */
    struct measurements *measurements;

    /* Asks at the terminal; true: yes. Called before anything is drawn over, only when common.interactive. */
    bool (*confirm)(void *context, const char *question);
    void *confirm_context;
};

/* ret_migration_id: room for 256 bytes; set as soon as the file was read, whatever comes after. */
int run_command(const struct run_options *options, char *ret_migration_id, struct err *err);

/* --- plan, verify, search: the report is one JSON object, owned by the caller; it may be there with any exit code
 * (findings are what the exit code is about) and is NULL when there is nothing to show. --- */

struct plan_options {
    struct common_options common;
    const char *file;
    bool probe; /* embed 16 documents to measure the model */
};

/* {"migration_id", "collection", "ok": bool,
 *  "checks": [{"check", "ok": bool, "text", "fix": text|null}],
 *  "estimate": {"documents", "tokens", "requests", "cost": n|null, "seconds": n|null, "table_bytes", "wal_bytes",
 *               "index_bytes", "index_memory_bytes", "maintenance_work_mem_bytes", "index_seconds",
 *               "tokens_basis": "counted"|"sampled"|"probed"|"estimated"|null, "sampled": documents looked at},
 *  "probe": {"documents", "seconds", "documents_per_second", "tokens_per_document"}|null,
 *  "locks": [{"object", "mode", "when", "text"}], "sql": [text]}
 * An estimate that can't be made is null; a key that is missing is not shown. */
int plan_command(const struct plan_options *options, struct cJSON **ret_report, struct err *err);

struct verify_options {
    struct common_options common;
    const char *migration_id;
    const char *file; /* to embed the sample with; NULL: no sample can be taken */
    int64_t sample;   /* documents to embed again and compare; 0: none */
};

/* {"migration_id", "holds": bool, "documents", "current", "missing", "stale", "orphaned", "excused", "queued",
 *  "unusable", "sample": {"documents", "differing", "min_cosine", "required_cosine"}|null}
 * EXIT_GATE when it does not hold. */
int verify_command(const struct verify_options *options, struct cJSON **ret_report, struct err *err);

/* --- compare: both models on the same queries; the report is coordinator/compare_report.c --- */

struct compare_options {
    struct common_options common;
    const char *migration_id;
    const char *file;        /* to embed queries with; NULL: stored vectors of a sample of documents are compared */
    const char *queries;     /* JSON Lines; NULL: none */
    const char *known_items; /* SQL expression over a document, which should find it; NULL: none */
    int64_t sample;          /* queries out of the collection; 0: 1,000 */
    int64_t k;               /* 0: 10 */
    uint64_t seed;
};

/* EXIT_GATE where the verdict is not `go`; the report is there all the same. */
int compare_command(const struct compare_options *options, struct cJSON **ret_report, struct err *err);

struct doctor_options {
    struct common_options common;
    const char *file;    /* a migration file; NULL: none */
    const char *table;   /* without a file: SQL as it stands; NULL: every pgvector column the role can see */
    const char *column;  /* of the table; NULL: all */
    const char *fail_on; /* "info", "warning", "error"; NULL: findings don't decide the exit code */
};

/* {"database", "file": text|null, "ok": no error was found, "counts": {"error", "warning", "info"}, "limits": text,
 *  "columns": [{"table", "column", "type", "dimensions": n|null, "sizes": text|null, "rows", "bytes", "looked_at",
 *               "all_rows", "content": text|null, "model": text|null,
 *               "indexes": [{"name", "method", "metric", "valid", "bytes"}]}],
 *  "findings": [{"id", "severity", "subject": text|null, "text", "fix": text|null}]}
 * EXIT_GATE where there is a finding of severity `fail_on` or above. Nothing is written. */
int doctor_command(const struct doctor_options *options, struct cJSON **ret_report, struct err *err);

/* The order of "info", "warning", "error"; -1 for any other word. */
int doctor_severity_of(const char *word);

enum search_side { SEARCH_ROUTED, SEARCH_SOURCE, SEARCH_TARGET, SEARCH_FUSED };

struct search_options {
    struct common_options common;
    const char *collection;
    const char *text;
    const char *file; /* the migration file whose providers embed the text */
    int64_t limit;
    enum search_side side;
};

/* {"collection", "model", "hits": [{"doc_id", "distance": n|null, "model", "content": text|null}]} */
int search_command(const struct search_options *options, struct cJSON **ret_report, struct err *err);

#endif
