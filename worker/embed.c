#include "worker/embed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "embed/hashing.h"
#include "worker/request.h"

/* Documents that are told apart by what is wrong with their bytes, before any request. */

static bool
is_blank(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = bytes[i];
        if (c != ' ' && (c < '\t' || c > '\r'))
            return false;
    }
    return true;
}

/* The length of the beginning that is valid UTF-8 without U+0000. */
static size_t
valid_length(const char *bytes, size_t length)
{
    size_t at = 0;

    while (at < length) {
        uint64_t word;

        /* Eight ASCII bytes that are not 0: no high bit, and none that borrows when 1 is taken from each. */
        while (length - at >= sizeof word) {
            memcpy(&word, bytes + at, sizeof word);
            if (((word | (word - 0x0101010101010101u)) & 0x8080808080808080u) != 0)
                break;
            at += sizeof word;
        }
        if (at == length)
            break;
        size_t size = bytes[at] == '\0' ? 0 : utf8_sequence(bytes + at, length - at);
        if (size == 0)
            break;
        at += size;
    }
    return at;
}

const char *
document_reason_name(enum document_reason reason)
{
    switch (reason) {
    case REASON_NONE:
        return NULL;
    case REASON_CONTENT_TOO_LARGE:
        return "content_too_large";
    case REASON_INVALID_ENCODING:
        return "invalid_encoding";
    case REASON_EMPTY_CONTENT:
        return "empty_content";
    case REASON_PERMANENT_API_ERROR:
        return "permanent_api_error";
    case REASON_INVALID_VECTOR:
        return "invalid_vector";
    }
    return NULL;
}

const char *
embed_prefix(const struct embedder *embedder, bool query)
{
    const struct provider_options *options = embedder_options(embedder);
    const char *given = query ? options->query_prefix : options->document_prefix;
    const struct model_facts *facts = model_find(options->model);

    if (!given && facts)
        given = query ? facts->query_prefix : facts->document_prefix;
    return given ? given : "";
}

void
request_finish(struct request_batch *batch, const struct request_item *item, enum document_status status,
               enum document_reason reason, const struct text_result *result, const float *row)
{
    size_t first = item->first_document;

    assert((status == DOCUMENT_EMBEDDED) == (row != NULL) && (status == DOCUMENT_EMBEDDED) == (reason == REASON_NONE));
    for (size_t d = first; d != REQUEST_NO_DOCUMENT; d = batch->same_text[d]) {
        assert(batch->results[d].status == DOCUMENT_PENDING); /* an outcome is given once */
        batch->results[d] = (struct document_result){
            .status = status,
            .reason = reason,
            .truncated = row && (result->truncated || item->cut || batch->documents[d].cut),
            .tokens = d == first ? result->tokens : 0,
            .attempts = item->attempts,
            .http_status = result->http_status,
            .detail = row              ? NULL
                      : result->detail ? result->detail
                                       : "no reason given",
        };
        if (row)
            memcpy(batch->vectors + d * batch->dimensions, row, batch->dimensions * sizeof *row);
    }
}

/* --- from documents to items --- */

static void
set_aside(struct request_batch *batch, size_t document, bool skip, enum document_reason reason, const char *detail)
{
    batch->results[document] = (struct document_result){
        .status = skip ? DOCUMENT_SKIPPED : DOCUMENT_FAILED, .reason = reason, .detail = detail};
}

/* Whether the document goes on to a request; sets its outcome when not. *ret_length is how much of it is used. */
static bool
is_fit(struct request_batch *batch, size_t number, size_t *ret_length)
{
    const struct document *document = &batch->documents[number];
    size_t length = document->length, valid;

    if (document->cut && length > 0)
        length = utf8_whole(document->bytes, length);
    if (is_blank(document->bytes, length)) {
        set_aside(batch, number, batch->options->on_empty != POLICY_FAIL, REASON_EMPTY_CONTENT,
                  "no text, or nothing but white space");
        return false;
    }
    valid = valid_length(document->bytes, length);
    if (valid < length) {
        set_aside(batch, number, false, REASON_INVALID_ENCODING,
                  arena_printf(batch->arena,
                               document->bytes[valid] == '\0' ? "U+0000 at byte %zu" : "no valid UTF-8 at byte %zu",
                               valid));
        return false;
    }
    if (document->cut && batch->options->on_too_long != POLICY_TRUNCATE) {
        set_aside(batch, number, batch->options->on_too_long == POLICY_SKIP, REASON_CONTENT_TOO_LARGE,
                  arena_printf(batch->arena, "content too large: more than %zu bytes", length));
        return false;
    }
    *ret_length = length;
    return true;
}

/* Puts a text into the table of distinct texts; a power of two of slots, item number + 1 or 0. */
static void
add_text(struct request_batch *batch, size_t *slots, size_t mask, size_t document, const char *bytes, size_t length,
         size_t prefix_length)
{
    bool query = batch->documents[document].query;
    size_t slot = (size_t)hashing_xxh64(bytes, length, 0) & mask;

    batch->same_text[document] = REQUEST_NO_DOCUMENT;
    for (; slots[slot] != 0; slot = (slot + 1) & mask) {
        const struct request_item *item = &batch->items[slots[slot] - 1];

        if (item->length == length && item->query == query && memcmp(item->bytes, bytes, length) == 0) {
            batch->same_text[document] = batch->same_text[item->first_document];
            batch->same_text[item->first_document] = document;
            return;
        }
    }
    batch->items[batch->item_count] = (struct request_item){.bytes = bytes,
                                                            .length = length,
                                                            .first_document = document,
                                                            .number = batch->item_count,
                                                            .prefix_length = prefix_length,
                                                            .query = query};
    slots[slot] = ++batch->item_count;
}

static enum rc
collect_items(struct request_batch *batch, size_t count)
{
    const struct embedder *embedder = embed_session_embedder(batch->session);
    size_t slot_count = 16;

    while (slot_count < 2 * count)
        slot_count *= 2;
    size_t *slots = arena_array(batch->arena, slot_count, sizeof *slots);
    batch->items = arena_array(batch->arena, count, sizeof *batch->items);
    batch->same_text = arena_array(batch->arena, count, sizeof *batch->same_text);
    if (!slots || !batch->items || !batch->same_text)
        return err_memory(&batch->err);
    memset(slots, 0, slot_count * sizeof *slots);

    for (size_t i = 0; i < count; i++) {
        const struct document *document = &batch->documents[i];
        const char *prefix = embed_prefix(embedder, document->query), *bytes = document->bytes;
        size_t prefix_length = strlen(prefix), length;

        if (!is_fit(batch, i, &length))
            continue;
        if (prefix_length > 0) {
            char *joined = arena_alloc(batch->arena, prefix_length + length);
            if (!joined)
                return err_memory(&batch->err);
            memcpy(joined, prefix, prefix_length);
            memcpy(joined + prefix_length, bytes, length);
            bytes = joined;
            length += prefix_length;
        }
        add_text(batch, slots, slot_count - 1, i, bytes, length, prefix_length);
    }
    return RC_OK;
}

/* Exact counts cost a pass of the tokenizer, so they are asked for only where a budget needs them. */
static void
measure_items(struct request_batch *batch)
{
    struct embedder *embedder = embed_session_embedder(batch->session);
    bool needed = batch->limits.max_request_tokens || batch->limits.max_padded_tokens ||
                  (batch->limits.sort_by_length && batch->limits.exact_tokens);

    for (size_t i = 0; i < batch->item_count; i++) {
        struct request_item *item = &batch->items[i];

        item->tokens = needed ? embedder_count_tokens(embedder, item->bytes, item->length) : item->length / 4 + 1;
        if (batch->limits.cuts && batch->limits.max_text_tokens && item->tokens > batch->limits.max_text_tokens)
            item->tokens = batch->limits.max_text_tokens;
    }
}

static int
compare_length(const void *left, const void *right)
{
    const struct request_item *a = left, *b = right;

    if (a->tokens != b->tokens)
        return a->tokens < b->tokens ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* A text that no request can hold is cut or set aside here. False: it has its outcome. */
static bool
fits_alone(struct request_batch *batch, struct request_item *item)
{
    size_t most = batch->limits.max_request_bytes;
    struct text_result result = {.status = TEXT_TOO_LONG};

    if (most == 0 || item->length <= most)
        return true;
    if (batch->options->on_too_long == POLICY_TRUNCATE && most > item->prefix_length + REQUEST_MIN_CUT_BYTES) {
        item->length = utf8_whole(item->bytes, most);
        item->cut = true;
        return true;
    }
    result.detail = arena_printf(batch->arena, "content too large: %zu bytes (max %zu)", item->length, most);
    request_finish(batch, item, batch->options->on_too_long == POLICY_SKIP ? DOCUMENT_SKIPPED : DOCUMENT_FAILED,
                   REASON_CONTENT_TOO_LARGE, &result, NULL);
    return false;
}

static bool
over(size_t value, size_t limit)
{
    return limit > 0 && value > limit;
}

/* How many items from `first` on one request may hold; at least one. */
static size_t
range_length(const struct request_batch *batch, size_t first)
{
    const struct embed_limits *limits = &batch->limits;
    size_t tokens = 0, bytes = 0, longest = 0, count = 0;

    for (; first + count < batch->item_count; count++) {
        const struct request_item *item = &batch->items[first + count];

        tokens += item->tokens;
        bytes += item->length;
        longest = item->tokens > longest ? item->tokens : longest;
        if (count > 0 && (over(count + 1, limits->max_items) || over(count + 1, batch->item_cap) ||
                          over(tokens, limits->max_request_tokens) || over(bytes, limits->max_request_bytes) ||
                          over(longest * (count + 1), limits->max_padded_tokens)))
            break;
    }
    return count;
}

static enum rc
solve_items(struct request_batch *batch)
{
    struct embedder *embedder = embed_session_embedder(batch->session);
    size_t count = batch->item_count, kept = 0;
    enum rc rc = RC_OK;

    if (count == 0)
        return RC_OK;
    batch->texts = arena_array(batch->arena, count, sizeof *batch->texts);
    batch->text_results = arena_array(batch->arena, count, sizeof *batch->text_results);
    batch->suspects = arena_array(batch->arena, count, sizeof *batch->suspects);
    batch->rows = batch->dimensions <= SIZE_MAX / sizeof(float)
                      ? arena_array(batch->arena, count, batch->dimensions * sizeof(float))
                      : NULL;
    if (!batch->texts || !batch->text_results || !batch->suspects || !batch->rows)
        return err_memory(&batch->err);

    embedder_limits(embedder, &batch->limits);
    measure_items(batch);
    if (batch->limits.sort_by_length)
        qsort(batch->items, count, sizeof *batch->items, compare_length);
    for (size_t i = 0; i < count; i++) {
        if (fits_alone(batch, &batch->items[i]))
            batch->items[kept++] = batch->items[i];
    }
    batch->item_count = kept;

    for (size_t first = 0; first < batch->item_count && rc == RC_OK;) {
        embedder_limits(embedder, &batch->limits);
        size_t length = range_length(batch, first);
        rc = request_solve(batch, first, length);
        first += length;
    }
    return rc == RC_OK ? request_settle(batch) : rc;
}

enum rc
embed_documents(struct embed_session *session, const struct embed_policy *policy, const struct document *documents,
                size_t count, size_t dimensions, float *vectors, struct document_result *results,
                struct embed_usage *usage, struct arena *arena, struct err *err)
{
    struct request_batch batch = {
        .session = session,
        .policy = policy,
        .options = embedder_options(embed_session_embedder(session)),
        .documents = documents,
        .dimensions = dimensions,
        .vectors = vectors,
        .results = results,
        .usage = usage,
        .arena = arena,
        .err = ERR_INIT,
    };
    enum rc rc;

    for (size_t i = 0; i < count; i++)
        results[i] = (struct document_result){.status = DOCUMENT_PENDING};
    if (count == 0)
        return RC_OK;
    rc = collect_items(&batch, count);
    if (rc == RC_OK)
        rc = solve_items(&batch);
    if (rc != RC_OK && err)
        *err = batch.err;
    return rc;
}
