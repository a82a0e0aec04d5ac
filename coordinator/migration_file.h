/* coordinator/migration_file.h - what a person asks for: one migration, read from a JSON file with comments.
 *
 * After a successful read everything is there, checked and defaulted; nothing later asks whether a setting was given.
 * What only the database can tell (does the column exist, how wide is it, may this role see every row) is not checked
 * here. Every refusal is RC_INVALID with class ERR_USAGE and one line "file:line: key what is wrong", the hint says
 * what to write instead.
 *
 * Ownership: the struct owns all its strings; the provider options inside point into it, so it must outlive every
 * embedder opened with them. Threads: read-only once returned. Units: seconds, as in the file.
 * Secrets: the file names environment variables, their values are in `provider.api_key` alone and are registered with
 * log_secret. No JSON made here shows a key, an address or a folder.
 */
#ifndef REEMBED_COORDINATOR_MIGRATION_FILE_H
#define REEMBED_COORDINATOR_MIGRATION_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/strbuf.h"
#include "embed/embedder.h"

enum migration_vector_type { VECTOR_TYPE_VECTOR, VECTOR_TYPE_HALFVEC };
enum migration_metric { METRIC_COSINE, METRIC_INNER_PRODUCT, METRIC_L2 };
enum migration_placement { PLACEMENT_SIDE, PLACEMENT_COLUMN };
enum migration_index_method { INDEX_HNSW, INDEX_IVFFLAT, INDEX_NONE, INDEX_AS_SOURCE };

/* The words of the file and of the database for the enums above. */
const char *migration_vector_type_name(enum migration_vector_type type);
const char *migration_metric_name(enum migration_metric metric);
const char *migration_placement_name(enum migration_placement placement);
const char *migration_index_method_name(enum migration_index_method method);

/* A setting that may be null in the file. */
struct optional_number {
    bool given;
    double value;
};

/* Table names and the two expressions are SQL as it stands in the file; column names are SQL too (quoted if needed). */
struct migration_documents {
    const char *table;
    const char *id;
    const char *content; /* an expression over the row */
    const char *where;   /* a condition over the row; NULL: all rows */
};

struct migration_source {
    bool present; /* false: a collection without vectors yet; nothing else is set */
    const char *model;
    const char *table; /* default: the documents' table */
    const char *id;    /* default: the documents' id, where the table is the same */
    const char *column;
    bool has_provider;                /* false: the application keeps the source current itself */
    struct provider_options provider; /* dimensions: of the model table, 0 when unknown; the column decides */
};

struct migration_index {
    enum migration_index_method method;
    int64_t m;               /* hnsw */
    int64_t ef_construction; /* hnsw */
    int64_t lists;           /* ivfflat; 0: by the number of documents when the index is built */
};

struct migration_target {
    const char *model;
    int64_t dimensions;
    enum migration_vector_type type;
    enum migration_metric metric;
    enum migration_placement placement;
    const char *table; /* NULL: a side table that reembed names and creates */
    struct migration_index index;
    struct provider_options provider;
};

struct migration_backfill {
    int64_t batch_size;
    int64_t max_concurrent;
    bool dual_write;
    double target_query_threshold;
    double rollback_window_secs;
};

struct migration_gates {
    bool auto_cutover;
    int64_t max_failed;
    double max_change_lag_secs;
    struct optional_number min_overlap_at_10;
    struct optional_number min_recall_change; /* target minus source; may be negative */
    struct optional_number min_index_recall;
};

/* When the backfill may work, by the clock of a time zone. From a minute of the day up to, not including, another, which
 * may be that of the next day. */
struct active_hours {
    int from_minute;
    int to_minute;
    const char *zone; /* a name for the database to know */
};

struct migration_limits {
    struct optional_number requests_per_minute;
    struct optional_number tokens_per_minute;
    struct optional_number max_tokens;
    struct optional_number max_cost; /* needs the price */
    struct optional_number price_per_million_tokens;
    struct optional_number max_documents_per_second;
    struct optional_number max_replica_lag_secs;
    struct optional_number max_wal_bytes_per_second;
    struct optional_number max_waiting_locks; /* sessions */
    const char *active_hours;                 /* as in the file; NULL: at any time */
    struct active_hours hours;                /* the same, read */
};

struct migration_database {
    double lease_secs;
    double statement_timeout_secs;
    double lock_timeout_secs;
    int64_t writers;
};

struct migration_file {
    const char *path; /* as given, for messages */
    const char *id;
    const char *collection;
    struct migration_documents documents;
    struct migration_source source;
    struct migration_target target;
    struct migration_backfill backfill;
    struct migration_gates gates;
    struct migration_limits limits;
    struct migration_database database;

    struct arena *arena; /* owned: every string above */
    struct cJSON *extra; /* owned: what the providers' `extra` points into */
};

/* Reads and checks the file at `path`. The caller frees *ret_file. */
enum rc migration_file_read(const char *path, struct migration_file **ret_file, struct err *err);

/* The same for text in memory; `path` names it in messages and relative model folders are looked for beside it. */
enum rc migration_file_parse(const char *path, const char *text, size_t length, struct migration_file **ret_file,
                             struct err *err);

struct migration_file *migration_file_free(struct migration_file *file); /* NULL is fine; returns NULL */

/* Appends the canonical configuration, one JSON object: collection, documents, source and target without their
 * providers, backfill, gates, limits, database; every default spelled out. The same file gives the same bytes. */
void migration_file_config_json(const struct migration_file *file, struct strbuf *out);

/* Appends {"source":{...}|null,"target":{...}}: of each provider the kind, the model and what shapes its vectors
 * (prefixes, pooling, policies); no key, address or folder. */
void migration_file_provider_note(const struct migration_file *file, struct strbuf *out);

#endif
