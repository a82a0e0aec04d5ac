/* Where a comparison's queries come from, and their vectors. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "coordinator/compare_internal.h"
#include "coordinator/provider.h"
#include "coordinator/query_file.h"
#include "db/result.h"
#include "db/statements.h"
#include "worker/embed.h"

enum {
    EMBED_BATCH = 64,
    READ_BATCH = 200,
    CONTENT_READ = 4000, /* characters of a document that a passage is taken from */
    PASSAGE_WORDS = 16,
    PASSAGE_BYTES = 200,   /* where words are not set apart by blanks */
    WORD_BYTES = 40,       /* longer ones on average are no words */
    KNOWN_ITEM_MAX = 1000, /* characters of the expression's value */
};

const char *
query_kind_name(enum query_kind kind)
{
    static const char *const names[] = {[QUERIES_DOCUMENTS] = "documents",
                                        [QUERIES_PASSAGES] = "passages",
                                        [QUERIES_KNOWN_ITEMS] = "known_items",
                                        [QUERIES_FILE] = "file"};
    return names[kind];
}

/* --- documents --- */

enum rc
compare_pick(struct compare_work *work, const char *salt, int64_t count, struct doc_key **ret_ids, size_t *ret_count,
             struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    char salted[64];

    (void)snprintf(salted, sizeof salted, " %s %llu", salt, (unsigned long long)work->settings->seed);
    params_add_int8(&params, count);
    params_add_text(&params, salted);
    enum rc rc = compare_exec(work, sql_compare_pick, NULL, &params, &result, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    size_t rows = (size_t)result_rows(result);
    struct doc_key *ids = arena_array(work->arena, rows + 1, sizeof *ids);
    for (size_t i = 0; ids && i < rows; i++) {
        struct doc_key id = result_key(result, (int)i, "id");
        ids[i] = (struct doc_key){arena_copy(work->arena, id.bytes, id.length), id.length};
        if (!ids[i].bytes)
            ids = NULL;
    }
    PQclear(result);
    if (!ids)
        return err_memory(err);
    *ret_ids = ids;
    *ret_count = rows;
    return RC_OK;
}

enum rc
compare_read_texts(struct compare_work *work, const char *expression, const struct doc_key *ids, size_t count,
                   int32_t characters, struct db_text *texts, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc = RC_OK;

    memset(texts, 0, count * sizeof *texts);
    for (size_t from = 0; rc == RC_OK && from < count; from += READ_BATCH) {
        size_t batch = count - from < READ_BATCH ? count - from : READ_BATCH;
        PGresult *result = NULL;
        params_reset(&params);
        params_add_key_array(&params, work->env->migration->id_type, ids + from, batch);
        params_add_int4(&params, characters);
        rc = compare_exec(work, sql_compare_texts, expression, &params, &result, err);
        for (int row = 0; rc == RC_OK && row < result_rows(result); row++) {
            size_t at = from + (size_t)result_int64(result, row, "n") - 1;
            struct db_text body = result_text(result, row, "body");
            texts[at] = (struct db_text){arena_copy(work->arena, body.bytes, body.length), body.length};
            if (!texts[at].bytes)
                rc = err_memory(err);
        }
        PQclear(result);
    }
    params_clear(&params);
    return rc;
}

enum rc
compare_read_vectors(struct compare_work *work, const struct doc_key *ids, size_t count, float *vectors[SIDES],
                     bool *found, struct err *err)
{
    const struct migration *m = work->env->migration;
    struct params params = PARAMS_INIT;
    enum rc rc = RC_OK;

    memset(found, 0, count * sizeof *found);
    for (size_t from = 0; rc == RC_OK && from < count; from += READ_BATCH) {
        size_t batch = count - from < READ_BATCH ? count - from : READ_BATCH;
        PGresult *result = NULL;
        params_reset(&params);
        params_add_key_array(&params, m->id_type, ids + from, batch);
        rc = compare_exec(work, sql_compare_vectors, NULL, &params, &result, err);
        for (int row = 0; rc == RC_OK && row < result_rows(result); row++) {
            static const char *const columns[SIDES] = {"target", "source"};
            size_t at = from + (size_t)result_int64(result, row, "n") - 1;
            found[at] = true;
            for (int side = 0; side < SIDES; side++) {
                size_t dimensions = work->sides[side].dimensions;
                if (work->sides[side].present &&
                    result_vector(result, row, columns[side], &m->types, vectors[side] + at * dimensions, dimensions) !=
                        dimensions)
                    found[at] = false;
            }
        }
        PQclear(result);
    }
    params_clear(&params);
    return rc;
}

/* --- passages --- */

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
continues_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Some words from anywhere in the text, at most half of it: what somebody might remember. A whole document as the query
 * would be found by any model. Cut out of `text`, which stays as it is. */
static struct db_text
passage_of(struct db_text text, uint64_t *random)
{
    size_t words = 0, begin, end, seen = 0, bytes = text.length / 2 < PASSAGE_BYTES ? text.length / 2 : PASSAGE_BYTES;

    for (size_t i = 0; i < text.length; i++)
        words += !is_blank(text.bytes[i]) && (i == 0 || is_blank(text.bytes[i - 1]));
    size_t taken = words / 2 < PASSAGE_WORDS ? words / 2 : PASSAGE_WORDS;
    size_t skipped = random_next(random) % (words - taken + 1);
    for (begin = 0; begin < text.length; begin++)
        if (!is_blank(text.bytes[begin]) && (begin == 0 || is_blank(text.bytes[begin - 1])) && seen++ == skipped)
            break;
    if (text.length / (words + 1) > WORD_BYTES) { /* a script without blanks */
        begin = random_next(random) % (text.length - bytes + 1);
        taken = words + 1;
    }
    while (begin < text.length && continues_character(text.bytes[begin]))
        begin++;
    seen = 0;
    for (end = begin; end < text.length && end - begin < bytes; end++)
        if (end > begin && is_blank(text.bytes[end]) && !is_blank(text.bytes[end - 1]) && ++seen == taken)
            break;
    while (end < text.length && end > begin && continues_character(text.bytes[end]))
        end--;
    return (struct db_text){text.bytes + begin, end - begin};
}

/* --- the queries without their vectors --- */

static enum rc
allot(struct compare_work *work, size_t count, size_t relevant, struct err *err)
{
    struct compare_queries *q = &work->queries;

    q->queries = arena_array(work->arena, count + 1, sizeof *q->queries);
    q->relevant = arena_array(work->arena, relevant + 1, sizeof *q->relevant);
    if (!q->queries || !q->relevant)
        return err_memory(err);
    q->count = q->relevant_count = 0;
    return RC_OK;
}

static void
add_relevant(struct compare_queries *q, struct doc_key id)
{
    q->relevant[q->relevant_count++] = (struct compare_relevant){.id = id, .query = q->count};
}

/* Queries out of the collection: each is made from a document, which it should find. */
static enum rc
known_items(struct compare_work *work, const char *expression, int32_t characters, struct err *err)
{
    struct compare_queries *q = &work->queries;
    uint64_t random = work->settings->seed ^ 0x70617373616765u;
    struct doc_key *ids = NULL;
    size_t count = 0;
    int64_t wanted = work->settings->sample > 0 ? work->settings->sample : COMPARE_SAMPLE;
    enum rc rc = compare_pick(work, "queries", wanted, &ids, &count, err);

    if (rc != RC_OK || (rc = allot(work, count, count, err)) != RC_OK)
        return rc;
    struct db_text *texts = arena_array(work->arena, count + 1, sizeof *texts);
    if (!texts)
        return err_memory(err);
    if ((rc = compare_read_texts(work, expression, ids, count, characters, texts, err)) != RC_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (!texts[i].bytes)
            continue;
        struct db_text text = q->kind == QUERIES_PASSAGES ? passage_of(texts[i], &random) : texts[i];
        if (text.length == 0)
            continue;
        q->queries[q->count] = (struct compare_query){
            .text = text.bytes, .length = text.length, .document = ids[i], .first = q->relevant_count, .count = 1};
        add_relevant(q, ids[i]);
        q->count++;
    }
    return RC_OK;
}

static enum rc
typed_ids(struct compare_work *work, const struct query_file *file, struct doc_key **ret_ids, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    struct doc_key *ids = arena_array(work->arena, file->relevant_count + 1, sizeof *ids);

    if (!ids)
        return err_memory(err);
    params_add_text_array(&params, file->relevant, file->relevant_count);
    enum rc rc = compare_exec(work, sql_compare_ids, NULL, &params, &result, err);
    params_clear(&params);
    if (rc == RC_INVALID) {
        err->class = ERR_USAGE;
        err_hint(err, "\"relevant\" of %s holds ids of %s", work->settings->queries, work->env->migration->docs_table);
    }
    for (size_t i = 0; rc == RC_OK && i < file->relevant_count; i++) {
        struct doc_key id = result_key(result, (int)i, "id");
        ids[i] = (struct doc_key){arena_copy(work->arena, id.bytes, id.length), id.length};
        if (!ids[i].bytes)
            rc = err_memory(err);
    }
    PQclear(result);
    *ret_ids = ids;
    return rc;
}

static enum rc
from_file(struct compare_work *work, struct err *err)
{
    struct compare_queries *q = &work->queries;
    struct query_file file = {0};
    struct doc_key *ids = NULL;
    enum rc rc = query_file_read(work->settings->queries, COMPARE_QUERIES_MAX, work->arena, &file, err);

    if (rc != RC_OK || (rc = allot(work, file.count, file.relevant_count, err)) != RC_OK ||
        (rc = typed_ids(work, &file, &ids, err)) != RC_OK)
        return rc;
    for (size_t i = 0; i < file.count; i++) {
        const struct query_line *line = &file.lines[i];
        q->queries[q->count] = (struct compare_query){.text = line->text.bytes,
                                                      .length = line->text.length,
                                                      .first = q->relevant_count,
                                                      .count = line->relevant_count};
        for (size_t r = 0; ids && r < line->relevant_count; r++)
            add_relevant(q, ids[line->first_relevant + r]);
        q->count++;
    }
    return RC_OK;
}

static enum rc
stored_documents(struct compare_work *work, struct err *err)
{
    struct compare_queries *q = &work->queries;
    struct doc_key *ids = NULL;
    size_t count = 0;
    int64_t wanted = work->settings->sample > 0 ? work->settings->sample : COMPARE_SAMPLE;
    enum rc rc = compare_pick(work, "queries", wanted, &ids, &count, err);

    if (rc != RC_OK || (rc = allot(work, count, 0, err)) != RC_OK)
        return rc;
    bool *found = arena_array(work->arena, count + 1, sizeof *found);
    if (!found)
        return err_memory(err);
    if ((rc = compare_read_vectors(work, ids, count, q->vectors, found, err)) != RC_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (!found[i])
            continue; /* it went away just now */
        for (int side = 0; side < SIDES; side++) {
            size_t d = work->sides[side].dimensions;
            if (q->vectors[side] && q->count != i)
                memcpy(q->vectors[side] + q->count * d, q->vectors[side] + i * d, d * sizeof(float));
        }
        q->queries[q->count++] = (struct compare_query){.document = ids[i]};
    }
    return RC_OK;
}

/* --- their vectors --- */

enum rc
compare_embed(struct compare_work *work, struct embedder *embedder, const struct db_text *texts, size_t count,
              bool query, size_t dimensions, float *vectors, size_t *ret_failed, struct err *err)
{
    const struct embed_policy plain = {
        .canary = provider_canary, .canary_length = strlen(provider_canary), .cancel = work->env->cancel};
    bool counted = work->env->target_policy && embedder != work->env->embedders[SIDE_SOURCE];
    const struct embed_policy *policy = counted ? work->env->target_policy : &plain;
    struct embed_usage ignored = {0};
    struct document documents[EMBED_BATCH];
    struct document_result results[EMBED_BATCH];
    struct embed_session *session = NULL;
    struct arena *batch_arena = arena_new(0);
    enum rc rc = batch_arena ? embed_session_open(embedder, &session, err) : err_memory(err);

    *ret_failed = 0;
    for (size_t from = 0; rc == RC_OK && from < count; from += EMBED_BATCH) {
        size_t batch = count - from < EMBED_BATCH ? count - from : EMBED_BATCH;
        if (!compare_going(work)) {
            rc = RC_CLOSED;
            break;
        }
        for (size_t i = 0; i < batch; i++)
            documents[i] =
                (struct document){.bytes = texts[from + i].bytes, .length = texts[from + i].length, .query = query};
        memset(results, 0, sizeof results);
        rc = embed_documents(session, policy, documents, batch, dimensions, vectors + from * dimensions, results,
                             counted ? &ignored : work->env->usage, batch_arena, err);
        for (size_t i = 0; rc == RC_OK && i < batch; i++) {
            if (results[i].status != DOCUMENT_EMBEDDED) {
                memset(vectors + (from + i) * dimensions, 0, dimensions * sizeof *vectors);
                (*ret_failed)++;
            }
        }
        arena_reset(batch_arena);
    }
    embed_session_close(session);
    arena_free(batch_arena);
    return rc;
}

static enum rc
embed_queries(struct compare_work *work, struct err *err)
{
    struct compare_queries *q = &work->queries;
    struct db_text *texts = arena_array(work->arena, q->count + 1, sizeof *texts);
    enum rc rc = RC_OK;

    if (!texts)
        return err_memory(err);
    for (size_t i = 0; i < q->count; i++)
        texts[i] = (struct db_text){q->queries[i].text, q->queries[i].length};
    for (int side = 0; rc == RC_OK && side < SIDES; side++) {
        size_t failed = 0;
        if (!q->vectors[side])
            continue;
        rc = compare_embed(work, work->env->embedders[side], texts, q->count, true, work->sides[side].dimensions,
                           q->vectors[side], &failed, err);
        if (rc == RC_OK && failed > 0)
            log_event(LOG_WARNING, "queries that the model does not take find nothing",
                      LF_STR("model", work->sides[side].space->model), LF_INT("queries", failed));
    }
    return rc;
}

/* --- the choice --- */

static enum rc
need_providers(const struct compare_work *work, const char *what, struct err *err)
{
    bool source = work->sides[SIDE_SOURCE].present && !work->env->embedders[SIDE_SOURCE];

    if (work->env->embedders[SIDE_TARGET] && !source)
        return RC_OK;
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "%s must be embedded by both models, and %s is not given", what,
                         source ? "source.provider" : "target.provider");
    err_hint(err,
             source ? "name source.provider in the migration file (--file FILE), or leave %s out: stored vectors "
                      "are compared then"
                    : "give the migration file that has it: --file FILE",
             what);
    return rc;
}

static enum rc
choose_kind(struct compare_work *work, struct err *err)
{
    const struct compare_settings *s = work->settings;
    const struct compare_environment *env = work->env;

    if (s->queries) {
        work->queries.kind = QUERIES_FILE;
        return need_providers(work, "--queries", err);
    }
    if (s->known_items) {
        work->queries.kind = QUERIES_KNOWN_ITEMS;
        return need_providers(work, "--known-items", err);
    }
    bool both = env->embedders[SIDE_TARGET] && (env->embedders[SIDE_SOURCE] || !work->sides[SIDE_SOURCE].present);
    work->queries.kind = both ? QUERIES_PASSAGES : QUERIES_DOCUMENTS;
    return RC_OK;
}

enum rc
compare_choose_queries(struct compare_work *work, struct err *err)
{
    struct compare_queries *q = &work->queries;
    enum rc rc = choose_kind(work, err);

    for (int side = 0; rc == RC_OK && side < SIDES; side++) {
        if (!work->sides[side].present)
            continue;
        q->vectors[side] =
            arena_array(work->arena, COMPARE_QUERIES_MAX * work->sides[side].dimensions, sizeof *q->vectors[side]);
        if (!q->vectors[side])
            rc = err_memory(err);
    }
    if (rc != RC_OK)
        return rc;
    switch (q->kind) {
    case QUERIES_FILE:
        rc = from_file(work, err);
        break;
    case QUERIES_KNOWN_ITEMS:
        rc = known_items(work, work->settings->known_items, KNOWN_ITEM_MAX, err);
        break;
    case QUERIES_PASSAGES:
        rc = known_items(work, NULL, CONTENT_READ, err);
        break;
    case QUERIES_DOCUMENTS:
        return stored_documents(work, err);
    }
    return rc == RC_OK ? embed_queries(work, err) : rc;
}
