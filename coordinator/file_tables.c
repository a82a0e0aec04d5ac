#include "coordinator/file_tables.h"

#include <stddef.h>

#include "coordinator/file_provider.h"

/* pgvector's own limit. */
enum { VECTOR_DIMENSIONS_MAX = 16000 };

static const double ten_years_secs = 315360000;

static const char *const type_words[] = {"vector", "halfvec", NULL};
static const char *const metric_words[] = {"cosine", "inner_product", "l2", NULL};
static const char *const placement_words[] = {"side", "column", NULL};
static const char *const index_words[] = {"hnsw", "ivfflat", "none", "as_source", NULL};

_Static_assert(VECTOR_TYPE_VECTOR == 0 && VECTOR_TYPE_HALFVEC == 1, "type_words are in this order");
_Static_assert(METRIC_COSINE == 0 && METRIC_INNER_PRODUCT == 1 && METRIC_L2 == 2, "metric_words are in this order");
_Static_assert(PLACEMENT_SIDE == 0 && PLACEMENT_COLUMN == 1, "placement_words are in this order");
_Static_assert(INDEX_HNSW == 0 && INDEX_IVFFLAT == 1 && INDEX_NONE == 2 && INDEX_AS_SOURCE == 3, "as index_words");
_Static_assert(sizeof(enum migration_metric) == sizeof(int), "FIELD_WORD writes an int");

const char *
migration_vector_type_name(enum migration_vector_type type)
{
    return type_words[type];
}

const char *
migration_metric_name(enum migration_metric metric)
{
    return metric_words[metric];
}

const char *
migration_placement_name(enum migration_placement placement)
{
    return placement_words[placement];
}

const char *
migration_index_method_name(enum migration_index_method method)
{
    return index_words[method];
}

#define AT(type, member) .offset = offsetof(struct type, member)
#define TABLE(name, rows)                                                                                              \
    {                                                                                                                  \
        .section = (name), .fields = (rows), .count = sizeof(rows) / sizeof(rows)[0]                                   \
    }

static const struct field top_fields[] = {
    {.key = "id", .kind = FIELD_TEXT, AT(migration_file, id), .required = true},
    {.key = "collection", .kind = FIELD_TEXT, AT(migration_file, collection), .required = true},
    {.key = "documents", .kind = FIELD_SECTION},
    {.key = "source", .kind = FIELD_SECTION},
    {.key = "target", .kind = FIELD_SECTION},
    {.key = "backfill", .kind = FIELD_SECTION},
    {.key = "gates", .kind = FIELD_SECTION},
    {.key = "limits", .kind = FIELD_SECTION},
    {.key = "database", .kind = FIELD_SECTION},
};

static const struct field documents_fields[] = {
    {.key = "table", .kind = FIELD_TEXT, AT(migration_documents, table), .required = true},
    {.key = "id", .kind = FIELD_TEXT, AT(migration_documents, id), .required = true},
    {.key = "content", .kind = FIELD_TEXT, AT(migration_documents, content), .required = true},
    {.key = "where", .kind = FIELD_TEXT, AT(migration_documents, where)},
};

static const struct field source_fields[] = {
    {.key = "model", .kind = FIELD_TEXT, AT(migration_source, model), .required = true},
    {.key = "table", .kind = FIELD_TEXT, AT(migration_source, table)},
    {.key = "id", .kind = FIELD_TEXT, AT(migration_source, id)},
    {.key = "column", .kind = FIELD_TEXT, AT(migration_source, column), .required = true},
    {.key = "provider", .kind = FIELD_SECTION},
};

static const struct field target_fields[] = {
    {.key = "model", .kind = FIELD_TEXT, AT(migration_target, model), .required = true},
    {.key = "dimensions",
     .kind = FIELD_COUNT,
     AT(migration_target, dimensions),
     .minimum = 1,
     .maximum = VECTOR_DIMENSIONS_MAX},
    {.key = "type", .kind = FIELD_WORD, AT(migration_target, type), .words = type_words},
    {.key = "metric", .kind = FIELD_WORD, AT(migration_target, metric), .words = metric_words},
    {.key = "placement", .kind = FIELD_WORD, AT(migration_target, placement), .words = placement_words},
    {.key = "table", .kind = FIELD_TEXT, AT(migration_target, table)},
    {.key = "index", .kind = FIELD_SECTION},
    {.key = "provider", .kind = FIELD_SECTION},
};

static const struct field index_fields[] = {
    {.key = "method", .kind = FIELD_WORD, AT(migration_index, method), .words = index_words},
    {.key = "m", .kind = FIELD_COUNT, AT(migration_index, m), .minimum = 2, .maximum = 100, .kinds = 1U << INDEX_HNSW},
    {.key = "ef_construction",
     .kind = FIELD_COUNT,
     AT(migration_index, ef_construction),
     .minimum = 4,
     .maximum = 1000,
     .kinds = 1U << INDEX_HNSW},
    {.key = "lists",
     .kind = FIELD_COUNT,
     AT(migration_index, lists),
     .minimum = 1,
     .maximum = 32768,
     .kinds = 1U << INDEX_IVFFLAT},
};

static const struct field backfill_fields[] = {
    {.key = "batch_size", .kind = FIELD_COUNT, AT(migration_backfill, batch_size), .minimum = 1, .maximum = 10000},
    {.key = "max_concurrent",
     .kind = FIELD_COUNT,
     AT(migration_backfill, max_concurrent),
     .minimum = 1,
     .maximum = 512},
    {.key = "dual_write", .kind = FIELD_SWITCH, AT(migration_backfill, dual_write)},
    {.key = "target_query_threshold",
     .kind = FIELD_NUMBER,
     AT(migration_backfill, target_query_threshold),
     .maximum = 1},
    {.key = "rollback_window_secs",
     .kind = FIELD_NUMBER,
     AT(migration_backfill, rollback_window_secs),
     .maximum = ten_years_secs},
};

static const struct field gates_fields[] = {
    {.key = "auto_cutover", .kind = FIELD_SWITCH, AT(migration_gates, auto_cutover)},
    {.key = "max_failed", .kind = FIELD_COUNT, AT(migration_gates, max_failed)},
    {.key = "max_change_lag_secs", .kind = FIELD_NUMBER, AT(migration_gates, max_change_lag_secs)},
    {.key = "min_overlap_at_10", .kind = FIELD_OPTIONAL, AT(migration_gates, min_overlap_at_10), .maximum = 1},
    {.key = "min_recall_change",
     .kind = FIELD_OPTIONAL,
     AT(migration_gates, min_recall_change),
     .minimum = -1,
     .maximum = 1},
    {.key = "min_index_recall", .kind = FIELD_OPTIONAL, AT(migration_gates, min_index_recall), .maximum = 1},
};

static const struct field limits_fields[] = {
    {.key = "requests_per_minute", .kind = FIELD_OPTIONAL, AT(migration_limits, requests_per_minute), .above = true},
    {.key = "tokens_per_minute", .kind = FIELD_OPTIONAL, AT(migration_limits, tokens_per_minute), .above = true},
    {.key = "max_tokens", .kind = FIELD_OPTIONAL, AT(migration_limits, max_tokens), .whole = true},
    {.key = "max_cost", .kind = FIELD_OPTIONAL, AT(migration_limits, max_cost)},
    {.key = "price_per_million_tokens", .kind = FIELD_OPTIONAL, AT(migration_limits, price_per_million_tokens)},
    {.key = "max_documents_per_second",
     .kind = FIELD_OPTIONAL,
     AT(migration_limits, max_documents_per_second),
     .above = true},
    {.key = "max_replica_lag_secs", .kind = FIELD_OPTIONAL, AT(migration_limits, max_replica_lag_secs)},
    {.key = "max_wal_bytes_per_second",
     .kind = FIELD_OPTIONAL,
     AT(migration_limits, max_wal_bytes_per_second),
     .above = true},
    {.key = "max_waiting_locks", .kind = FIELD_OPTIONAL, AT(migration_limits, max_waiting_locks), .whole = true},
    {.key = "active_hours", .kind = FIELD_TEXT, AT(migration_limits, active_hours)},
};

static const struct field database_fields[] = {
    {.key = "lease_secs", .kind = FIELD_NUMBER, AT(migration_database, lease_secs), .minimum = 0.02, .maximum = 86400},
    /* 0 would mean "no limit" to Postgres, and a stopped process could hold up the others for ever. */
    {.key = "statement_timeout_secs",
     .kind = FIELD_NUMBER,
     AT(migration_database, statement_timeout_secs),
     .minimum = 0.01,
     .maximum = 86400},
    {.key = "lock_timeout_secs",
     .kind = FIELD_NUMBER,
     AT(migration_database, lock_timeout_secs),
     .minimum = 0.01,
     .maximum = 3600},
    {.key = "writers", .kind = FIELD_COUNT, AT(migration_database, writers), .minimum = 1, .maximum = 8},
};

const struct field_table file_top_table = TABLE("", top_fields);
const struct field_table file_documents_table = TABLE("documents", documents_fields);
const struct field_table file_source_table = TABLE("source", source_fields);
const struct field_table file_target_table = TABLE("target", target_fields);
const struct field_table file_index_table = TABLE("target.index", index_fields);
const struct field_table file_backfill_table = TABLE("backfill", backfill_fields);
const struct field_table file_gates_table = TABLE("gates", gates_fields);
const struct field_table file_limits_table = TABLE("limits", limits_fields);
const struct field_table file_database_table = TABLE("database", database_fields);

const struct field_table *const file_tables[] = {
    &file_top_table,
    &file_documents_table,
    &file_source_table,
    &file_target_table,
    &file_index_table,
    &file_backfill_table,
    &file_gates_table,
    &file_limits_table,
    &file_database_table,
    &file_provider_table,
    NULL,
};

const struct migration_file file_defaults = {
    .target = {.index = {.method = INDEX_HNSW, .m = 16, .ef_construction = 64}},
    .backfill = {.batch_size = 100,
                 .max_concurrent = 4,
                 .dual_write = true,
                 .target_query_threshold = 0.8,
                 .rollback_window_secs = 86400},
    .gates = {.auto_cutover = true, .max_failed = 0, .max_change_lag_secs = 30},
    .database = {.lease_secs = 60, .statement_timeout_secs = 30, .lock_timeout_secs = 2, .writers = 1},
};
