/* coordinator/compare.h - both models of a migration on the same queries: what is measured, and what it says.
 *
 *   compare_queries.c   where the queries come from, and their vectors
 *   compare_scan.c      one exact pass over the documents that both spaces hold
 *   compare_index.c     the vector indexes: how much of the exact answer they find, how quickly
 *   compare_check.c     whether the stored vectors are what the providers make
 *   compare_verdict.c   go, no_go or inconclusive
 *   compare_report.c    as JSON
 *
 * Everything is measured over documents that have a vector in both spaces, so a partial fill is judged as fairly as a
 * whole one: `run --until` fills a random share. Models are asked outside any transaction.
 */
#ifndef REEMBED_COORDINATOR_COMPARE_H
#define REEMBED_COORDINATOR_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "coordinator/commands.h"
#include "coordinator/migration.h"
#include "coordinator/migration_file.h"
#include "coordinator/sampling.h"
#include "coordinator/sweep.h"
#include "db/connection.h"
#include "embed/embedder.h"

struct cJSON;

/* In the order of EMBEDDER_TARGET and EMBEDDER_SOURCE. */
enum { SIDE_TARGET = 0, SIDE_SOURCE = 1, SIDES = 2 };

enum query_kind {
    QUERIES_DOCUMENTS,   /* stored vectors of a sample of documents; it is not known what they should find */
    QUERIES_PASSAGES,    /* some words out of a document, which should find it */
    QUERIES_KNOWN_ITEMS, /* an SQL expression over a document, which should find it */
    QUERIES_FILE,        /* texts of the user, some with the ids of what they should find */
};
const char *query_kind_name(enum query_kind kind); /* "documents", "passages", "known_items", "file" */

struct compare_settings {
    const char *queries;     /* path, JSON Lines; NULL: none */
    const char *known_items; /* SQL expression; NULL: none */
    int64_t sample;          /* queries out of the collection; 0: COMPARE_SAMPLE */
    int64_t k;               /* 0: 10 */
    uint64_t seed;
};
enum { COMPARE_SAMPLE = 1000, COMPARE_QUERIES_MAX = 2000, COMPARE_K_MAX = 200 };

/* What the comparison works with; all borrowed. Embedders may be NULL: then only stored vectors are known of that side. */
struct compare_environment {
    struct db *db;
    const struct migration *migration;
    struct embedder *embedders[SIDES];
    const struct provider_options *target_options; /* as in the file, to try the model without them; may be NULL */
    const struct common_options *common;           /* for that */
    sweep_exec exec;                               /* runs a statement with the caller's retries */
    void *context;
    bool (*going)(void *context);             /* asked now and then; false: RC_CLOSED. May be NULL */
    const atomic_bool *cancel;                /* aborts requests to a provider; may be NULL */
    struct embed_usage *usage;                /* added to, but by requests that target_policy counts */
    const struct embed_policy *target_policy; /* of requests to the target's provider, and counts them; may be NULL */
};

/* --- what is measured --- */

/* One side's figures over the queries whose relevant documents are known. */
struct compare_quality {
    struct estimate recall_1, recall_10, mrr_10, ndcg_10;
};

struct compare_latency {
    size_t count; /* queries; 0: not measured */
    double p50_ms;
    double p95_ms;
};

/* One point of the sweep over hnsw.ef_search (or ivfflat.probes). */
struct compare_sweep_point {
    int64_t setting;
    double recall; /* share of the exact k nearest that the index finds */
    double p50_ms;
    double p95_ms;
};
enum { COMPARE_SWEEP_MAX = 8 };

enum { COMPARE_HISTOGRAM = 24, COMPARE_THRESHOLDS = 5 };

/* Distances of one side, as the space's operator gives them. */
struct compare_scores {
    bool known;
    double low, high;                   /* of the histogram */
    int64_t hits[COMPARE_HISTOGRAM];    /* the k nearest of every query */
    int64_t randoms[COMPARE_HISTOGRAM]; /* random documents */
    int64_t relevant[COMPARE_HISTOGRAM];
    double hit_quantiles[COMPARE_THRESHOLDS]; /* 10, 25, 50, 75, 90 % of the hits are nearer */
};

/* A sample of documents, embedded again and compared with what is stored. */
struct compare_stored {
    size_t documents; /* 0: not checked */
    size_t differing; /* cosine below COMPARE_SAME_COSINE */
    double median_cosine;
    double min_cosine;
};
#define COMPARE_SAME_COSINE 0.99

/* The provider as the model is known, without the prefixes and the pooling that the file gives. Not checked where the
 * file gives none, or nothing else than what is known. */
struct compare_defaults {
    bool checked;
    size_t queries;
    struct estimate mrr_change; /* as known, less as in the file: below 0 the file's settings pay */
};

enum verdict { VERDICT_GO, VERDICT_NO_GO, VERDICT_INCONCLUSIVE };
const char *verdict_name(enum verdict verdict); /* "go", "no_go", "inconclusive" */

struct comparison {
    struct arena *arena; /* owned: all strings */
    const char *migration_id;
    const char *models[SIDES];
    const char *metrics[SIDES];
    bool has_source;
    enum query_kind kind;
    uint64_t seed;
    size_t k;
    size_t queries;          /* that were searched */
    size_t judged;           /* of these, with a relevant document that both spaces hold */
    int64_t documents;       /* that both spaces hold: all figures but the index's are over these */
    int64_t target_vectors;  /* that the target holds */
    double coverage;         /* vectors of the target / documents, at most 1 */
    struct estimate overlap; /* at k */
    struct estimate overlap_10;
    struct estimate rank_correlation; /* Spearman over a random sample of documents */
    size_t overlap_counts[11];        /* queries by tenths of overlap_10 */
    struct compare_quality quality[SIDES];
    struct compare_quality change; /* target less source, query by query */
    struct compare_scores scores[SIDES];
    struct compare_latency latency[SIDES];
    bool indexed; /* the target has a valid index */
    const char *index_name;
    const char *index_setting; /* "hnsw.ef_search", "ivfflat.probes" */
    int64_t index_setting_now;
    struct estimate index_recall; /* at k, at the present setting */
    struct compare_sweep_point sweep[COMPARE_SWEEP_MAX];
    size_t sweep_count;
    struct compare_stored stored[SIDES];
    struct compare_defaults defaults;
    struct compare_gates {
        struct optional_number min_overlap_at_10, min_recall_change, min_index_recall;
    } gates;
    enum verdict verdict;
    bool by_gate; /* no_go for nothing but what a gate asks for */
    const char *reason;
    double seconds;
};

/* Measures, decides and records the event. The caller frees *ret_comparison. RC_REFUSED/ERR_STATE: there is nothing to
 * compare; RC_INVALID: the queries; otherwise what the database and the providers say. */
enum rc compare_models(const struct compare_environment *environment, const struct compare_settings *settings,
                       struct comparison **ret_comparison, struct err *err);
struct comparison *comparison_free(struct comparison *comparison); /* NULL is fine; returns NULL */

/* Sets verdict and reason. RC_FATAL: out of memory. */
enum rc compare_judge(struct comparison *comparison, struct err *err);

/* The report; owned by the caller; NULL: out of memory. */
struct cJSON *compare_report(const struct comparison *comparison);

#endif
