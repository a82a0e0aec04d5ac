#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "embed/hashing.h"
#include "tests/fake_server/vectors.h"
#include "tests/fake_server/work.h"

static bool
seen_grow(struct seen *seen)
{
    size_t capacity = seen->capacity == 0 ? 1024 : seen->capacity * 2;
    uint64_t *hashes = calloc(capacity, sizeof *hashes);

    if (hashes == NULL)
        return false;
    for (size_t i = 0; i < seen->capacity; i++) {
        if (seen->hashes[i] == 0)
            continue;
        size_t at = seen->hashes[i] & (capacity - 1);
        while (hashes[at] != 0)
            at = (at + 1) & (capacity - 1);
        hashes[at] = seen->hashes[i];
    }
    free(seen->hashes);
    seen->hashes = hashes;
    seen->capacity = capacity;
    return true;
}

/* True when the hash was there before. */
static bool
seen_add(struct seen *seen, uint64_t hash)
{
    if (hash == 0)
        hash = 1;
    if (seen->count * 2 >= seen->capacity && !seen_grow(seen))
        return false;
    size_t at = hash & (seen->capacity - 1);
    for (; seen->hashes[at] != 0; at = (at + 1) & (seen->capacity - 1))
        if (seen->hashes[at] == hash)
            return true;
    seen->hashes[at] = hash;
    seen->count++;
    return false;
}

static bool
is_item_fault(enum fault_kind kind)
{
    return kind >= FAULT_NULL;
}

static bool
hits_item(const struct work *work, size_t item)
{
    const struct fault *fault = work->fault;

    if (fault == NULL || !is_item_fault(fault->kind))
        return false;
    if (fault->marker[0] != '\0')
        return strstr(work->texts[item], fault->marker) != NULL;
    return fault->item < 0 || (size_t)fault->item == item;
}

static size_t
kept_length(const struct work *work, size_t i)
{
    size_t limit = (size_t)work->fake->settings.max_text_tokens * BYTES_PER_TOKEN, length = work->lengths[i];

    return limit == 0 || length <= limit ? length : utf8_whole(work->texts[i], limit);
}

static void
put_vector(struct work *work, struct strbuf *body, size_t i)
{
    struct fake *fake = work->fake;
    size_t dimensions = work->dimensions;
    bool hit = hits_item(work, i);
    enum fault_kind kind = hit ? work->fault->kind : FAULT_KINDS;
    int64_t wrong = work->fault != NULL && work->fault->kind == FAULT_WRONG_TYPE ? work->fault->variant : -1;

    if (kind == FAULT_NULL) {
        strbuf_puts(body, "null");
        return;
    }
    if (wrong == 1 || wrong == 2 || wrong == 3) {
        strbuf_puts(body, wrong == 1 ? "12.5" : wrong == 2 ? "{\"vector\":[1,2]}" : "[\"0.1\",\"0.2\"]");
        return;
    }
    hashing_vector(hashing_xxh64(work->model, strlen(work->model), 0), work->texts[i], kept_length(work, i), dimensions,
                   fake->vector);
    if (kind == FAULT_ZEROS)
        memset(fake->vector, 0, dimensions * sizeof(float));
    if (kind == FAULT_WRONG_DIMENSIONS)
        dimensions = work->fault->dimensions >= 0 ? (size_t)work->fault->dimensions : dimensions - 1;
    if (dimensions > DIMENSIONS_MAX)
        dimensions = DIMENSIONS_MAX;
    bool spoils = kind == FAULT_NAN || kind == FAULT_HUGE || kind == FAULT_NULL_ELEMENT;
    size_t element = !spoils || work->fault->element < 0 ? (work->base64 ? dimensions / 2 : 0)
                                                         : (size_t)work->fault->element % dimensions;
    if (work->base64) {
        if (spoils)
            fake->vector[element] = kind == FAULT_HUGE ? INFINITY : NAN;
        vector_put_base64(body, fake->vector, dimensions);
        return;
    }
    if (spoils) {
        for (size_t k = 0; k < dimensions; k++) {
            strbuf_putc(body, k == 0 ? '[' : ',');
            strbuf_puts(body, k != element ? "0.5" : kind == FAULT_NAN ? "NaN" : kind == FAULT_HUGE ? "1e400" : "null");
        }
        strbuf_putc(body, ']');
        return;
    }
    vector_put_numbers(body, fake->vector, dimensions, fake->settings.float_digits);
}

/* Which text stands at the i-th place of the reply, and with what index. */
static size_t
place_of(const struct work *work, size_t i, size_t *ret_index)
{
    enum fault_kind kind = work->fault != NULL ? work->fault->kind : FAULT_KINDS;
    size_t text = i < work->count ? i : 0;

    *ret_index = i;
    if (kind == FAULT_REORDER) {
        text = work->count - 1 - i;
        *ret_index = text;
    } else if (kind == FAULT_DUPLICATE && i + 1 == work->count) {
        *ret_index = 0;
    }
    return text;
}

static void
put_items(struct work *work, struct strbuf *body)
{
    enum fault_kind kind = work->fault != NULL ? work->fault->kind : FAULT_KINDS;
    enum reply_form form = work->shape->reply;
    size_t count = kind == FAULT_FEWER ? work->count - 1 : kind == FAULT_MORE ? work->count + 1 : work->count;
    /* Some servers put the index behind the vector. */
    bool index_last = strcmp(work->shape->name, "llama-server") == 0 || strcmp(work->shape->name, "mistral") == 0;

    for (size_t i = 0; i < count; i++) {
        size_t index, text = place_of(work, i, &index);

        if (i > 0)
            strbuf_putc(body, ',');
        if (form == REPLY_FORM_GEMINI)
            strbuf_puts(body, "{\"values\":");
        else if (form == REPLY_FORM_OPENAI && (index_last || kind == FAULT_NO_INDEX))
            strbuf_puts(body, "{\"embedding\":");
        else if (form == REPLY_FORM_OPENAI)
            strbuf_printf(body, "{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", index);
        put_vector(work, body, text);
        if (form == REPLY_FORM_OPENAI && index_last && kind != FAULT_NO_INDEX)
            strbuf_printf(body, ",\"index\":%zu,\"object\":\"embedding\"}", index);
        else if (form == REPLY_FORM_OPENAI || form == REPLY_FORM_GEMINI)
            strbuf_putc(body, '}');
    }
}

/* How much of an answer of this length is sent: less than all, but for a walk that has reached its end. */
static size_t
cut_position(const struct fault *fault, size_t length)
{
    size_t cut = fault->bytes >= 0 ? (size_t)fault->bytes : length / 2;

    if (cut < length)
        return cut;
    return fault->step > 0 ? length : length - 1;
}

static void
put_model(struct work *work, struct strbuf *body)
{
    bool wrong = work->fault != NULL && work->fault->kind == FAULT_WRONG_MODEL;

    strbuf_puts(body, "\"model\":");
    if (wrong)
        strbuf_puts(body, "\"another-model\"");
    else if (strcmp(work->shape->name, "tei-openai") == 0)
        strbuf_puts(body, "\"BAAI/bge-small-en-v1.5\""); /* its own, whatever was asked */
    else
        strbuf_json(body, work->model, strlen(work->model));
}

static void
put_reply(struct work *work, struct strbuf *body)
{
    const bool usage = work->fake->settings.usage;
    const unsigned long long tokens = work->tokens;
    int64_t wrong = work->fault != NULL && work->fault->kind == FAULT_WRONG_TYPE ? work->fault->variant : -1;

    if (wrong == 0 || wrong >= 4) {
        strbuf_puts(body, wrong == 0   ? "{\"data\":{\"0\":[1,2]},\"embeddings\":{\"0\":[1,2]}}"
                          : wrong == 4 ? "null"
                                       : "{\"object\":\"list\"}");
        return;
    }
    switch (work->shape->reply) {
    case REPLY_FORM_OPENAI:
        strbuf_puts(body, "{\"object\":\"list\",\"data\":[");
        put_items(work, body);
        strbuf_puts(body, "],");
        put_model(work, body);
        if (usage)
            strbuf_printf(body, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}", tokens, tokens);
        strbuf_puts(body, "}");
        break;
    case REPLY_FORM_TEI:
        strbuf_putc(body, '[');
        put_items(work, body);
        strbuf_putc(body, ']');
        break;
    case REPLY_FORM_OLLAMA:
        strbuf_puts(body, "{");
        put_model(work, body);
        strbuf_puts(body, ",\"embeddings\":[");
        put_items(work, body);
        strbuf_puts(body, "],\"total_duration\":14143917,\"load_duration\":1019500");
        if (usage)
            strbuf_printf(body, ",\"prompt_eval_count\":%llu", tokens);
        strbuf_puts(body, "}");
        break;
    case REPLY_FORM_COHERE:
        strbuf_printf(body, "{\"id\":\"1\",\"texts\":[\"[1\"],\"embeddings\":{\"%s\":[",
                      work->base64 ? "base64" : "float");
        put_items(work, body);
        strbuf_puts(body, "]},\"meta\":{\"api_version\":{\"version\":\"2\"}");
        if (usage)
            strbuf_printf(body, ",\"billed_units\":{\"input_tokens\":%llu}", tokens);
        strbuf_puts(body, "},\"response_type\":\"embeddings_by_type\"}");
        break;
    case REPLY_FORM_GEMINI:
        strbuf_puts(body, "{\"embeddings\":[");
        put_items(work, body);
        strbuf_puts(body, "]");
        if (usage)
            strbuf_printf(body, ",\"usageMetadata\":{\"promptTokenCount\":%llu}", tokens);
        strbuf_puts(body, "}");
        break;
    }
}

void
respond_vectors(struct work *work)
{
    struct fake *fake = work->fake;
    const struct fault *fault = work->fault;
    struct strbuf body, headers;

    strbuf_init(&body, OUT_MAX);
    strbuf_init(&headers, 4096);
    put_reply(work, &body);
    if (work->shape->reply == REPLY_FORM_TEI && fake->settings.usage)
        strbuf_printf(&headers, "x-compute-tokens: %llu\r\n", (unsigned long long)work->tokens);
    if (fault != NULL && fault->kind == FAULT_CUT_JSON)
        body.length = cut_position(fault, body.length);
    respond(work, 200, "application/json", strbuf_text(&headers), &body);

    if (fault != NULL && (fault->kind == FAULT_RESET || fault->kind == FAULT_TRUNCATE)) {
        struct strbuf *out = &work->answer->bytes;
        out->length = cut_position(fault, out->length);
        work->answer->end = fault->kind == FAULT_RESET ? END_RESET : END_CLOSE;
    }
    if (fault != NULL && fault->kind == FAULT_DRIP) {
        work->answer->drip_bytes = fault->bytes > 0 ? fault->bytes : 1;
        work->answer->drip_ms = fault->ms;
    }
    fake->counters.texts += work->count;
    fake->counters.tokens += work->tokens;
    for (size_t i = 0; i < work->count; i++)
        fake->counters.repeated += seen_add(&fake->seen, hashing_xxh64(work->texts[i], work->lengths[i], 0));
    strbuf_free(&body);
    strbuf_free(&headers);
}
