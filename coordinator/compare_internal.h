/* coordinator/compare_internal.h - what the parts of a comparison share. Included by coordinator/compare*.c only. */
#ifndef REEMBED_COORDINATOR_COMPARE_INTERNAL_H
#define REEMBED_COORDINATOR_COMPARE_INTERNAL_H

#include "coordinator/compare.h"
#include "db/template.h"
#include "db/types.h"

enum compare_metric { BY_COSINE, BY_INNER_PRODUCT, BY_L2 };

struct compare_side {
    bool present;
    const struct space *space;
    enum compare_metric metric;
    size_t dimensions;
    const char *table;
    const char *searched; /* the table that searches look into, id_column and vector_column with it */
    const char *id_column;
    const char *vector_column;
    const char *operator;
    bool indexed; /* with a valid vector index */
};

/* Something that a query should find. */
struct compare_relevant {
    struct doc_key id;
    size_t query;
    bool held; /* both spaces hold it */
    float distance[SIDES];
    int64_t nearer[SIDES];
    int64_t equal[SIDES]; /* itself included */
};

struct compare_query {
    const char *text; /* NULL: QUERIES_DOCUMENTS */
    size_t length;
    struct doc_key document; /* it was made from, or is; NULL bytes: none */
    size_t first;            /* of its relevant documents */
    size_t count;
};

/* All in the comparison's scratch arena. */
struct compare_queries {
    enum query_kind kind;
    struct compare_query *queries;
    size_t count;
    struct compare_relevant *relevant; /* by query */
    size_t relevant_count;
    float *vectors[SIDES]; /* count x dimensions; NULL: that side is absent */
};

struct compare_hit {
    float distance;
    uint64_t document; /* document_number */
};

/* The nearest documents of every query: rows of `depth` hits, ascending once the pass is over. */
struct compare_lists {
    size_t depth;
    struct compare_hit *hits;
    size_t *counts;
};

struct compare_work {
    const struct compare_environment *env;
    const struct compare_settings *settings;
    struct comparison *result;
    struct arena *arena; /* until the comparison is done */
    struct compare_side sides[SIDES];
    double documents_total;             /* of the collection, when capture began */
    const struct template_value *names; /* for the statements of this migration */
    size_t name_count;
    struct compare_queries queries;
    struct compare_lists lists[SIDES]; /* over the documents that both hold */
    struct compare_lists whole;        /* over all of the target */
};

/* Renders and runs one of the statements; `know` is the value of {text}, or NULL. */
enum rc compare_exec(struct compare_work *work, const char *text, const char *know, const struct params *params,
                     PGresult **ret_result, struct err *err);
bool compare_going(const struct compare_work *work);

/* compare_queries.c */
enum rc compare_choose_queries(struct compare_work *work, struct err *err);
/* Random documents that both spaces hold, by the seed and `salt`. */
enum rc compare_pick(struct compare_work *work, const char *salt, int64_t count, struct doc_key **ret_ids,
                     size_t *ret_count, struct err *err);
/* Embeds texts with one side's provider. Rows of texts that can't be embedded are zero and `ret_failed` counts them. */
enum rc compare_embed(struct compare_work *work, struct embedder *embedder, const struct db_text *texts, size_t count,
                      bool query, size_t dimensions, float *vectors, size_t *ret_failed, struct err *err);
/* The stored vectors of documents, in the order of `ids`; found[i]: both spaces hold ids[i]. Rows must have room. */
enum rc compare_read_vectors(struct compare_work *work, const struct doc_key *ids, size_t count, float *vectors[SIDES],
                             bool *found, struct err *err);
/* `expression` of documents, in the order of `ids`, of at most `characters`; NULL bytes: none. In the work's arena. */
enum rc compare_read_texts(struct compare_work *work, const char *expression, const struct doc_key *ids, size_t count,
                           int32_t characters, struct db_text *texts, struct err *err);

/* compare_scan.c */
enum rc compare_scan(struct compare_work *work, struct err *err);
float compare_distance(enum compare_metric metric, const float *a, const float *b, size_t dimensions);

/* compare_index.c */
enum rc compare_indexes(struct compare_work *work, struct err *err);

/* compare_check.c */
enum rc compare_check_stored(struct compare_work *work, struct err *err);
enum rc compare_check_settings(struct compare_work *work, struct err *err);

/* compare_measure.c: from lists and ranks to figures */
enum rc compare_measure(struct compare_work *work, struct err *err);

#endif
