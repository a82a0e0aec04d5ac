#include "embed/hashing.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "embed/embedder.h"

#define PRIME_1 0x9E3779B185EBCA87u
#define PRIME_2 0xC2B2AE3D27D4EB4Fu
#define PRIME_3 0x165667B19E3779F9u
#define PRIME_4 0x85EBCA77C2B2AE63u
#define PRIME_5 0x27D4EB2F165667C5u

#define BYTES_PER_TOKEN 4

struct hashing {
    struct provider_options options;
    size_t dimensions;
    uint64_t seed;
};

static inline uint64_t
rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

/* Little-endian whatever the machine is: the vectors must be the same everywhere. */
static inline uint64_t
read_64(const unsigned char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint32_t
read_32(const unsigned char *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t
lane_round(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * PRIME_2, 31) * PRIME_1;
}

static inline uint64_t
lane_merge(uint64_t hash, uint64_t lane)
{
    return (hash ^ lane_round(0, lane)) * PRIME_1 + PRIME_4;
}

uint64_t
hashing_xxh64(const void *bytes, size_t length, uint64_t seed)
{
    const unsigned char *p = bytes;
    size_t left = length;
    uint64_t hash;

    if (left >= 32) {
        uint64_t lane[4] = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1};
        for (; left >= 32; p += 32, left -= 32) {
            lane[0] = lane_round(lane[0], read_64(p));
            lane[1] = lane_round(lane[1], read_64(p + 8));
            lane[2] = lane_round(lane[2], read_64(p + 16));
            lane[3] = lane_round(lane[3], read_64(p + 24));
        }
        hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
        for (int i = 0; i < 4; i++)
            hash = lane_merge(hash, lane[i]);
    } else {
        hash = seed + PRIME_5;
    }
    hash += (uint64_t)length;
    for (; left >= 8; p += 8, left -= 8)
        hash = rotate(hash ^ lane_round(0, read_64(p)), 27) * PRIME_1 + PRIME_4;
    if (left >= 4) {
        hash = rotate(hash ^ read_32(p) * PRIME_1, 23) * PRIME_2 + PRIME_3;
        p += 4, left -= 4;
    }
    for (; left > 0; p++, left--)
        hash = rotate(hash ^ *p * PRIME_5, 11) * PRIME_1;
    hash = (hash ^ hash >> 33) * PRIME_2;
    hash = (hash ^ hash >> 29) * PRIME_3;
    return hash ^ hash >> 32;
}

/* A position of the stream depends on nothing but its number, so that several can be computed at once. */
static inline uint64_t
stream_word(uint64_t state)
{
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void
hashing_vector(uint64_t seed, const void *bytes, size_t length, size_t dimensions, float *vector)
{
    uint64_t state = hashing_xxh64(bytes, length, seed);
    uint64_t sum = 0;

    assert(dimensions > 0 && dimensions <= HASHING_MAX_DIMENSIONS); /* 2^16 squares of 23 bits fit into 64 bits */
    for (size_t i = 0; i < dimensions; i += 2) {
        state += 0x9E3779B97F4A7C15u;
        uint64_t word = stream_word(state);
        int32_t low = (int32_t)((uint32_t)word >> 8) - (1 << 23);
        int32_t high = (int32_t)(word >> 40) - (1 << 23);

        vector[i] = (float)low; /* 24 bits: exact */
        sum += (uint64_t)((int64_t)low * low);
        if (i + 1 < dimensions) {
            vector[i + 1] = (float)high;
            sum += (uint64_t)((int64_t)high * high);
        }
    }
    if (sum == 0) {
        vector[0] = 1.0f;
        return;
    }
    double scale = 1.0 / sqrt((double)sum);
    for (size_t i = 0; i < dimensions; i++)
        vector[i] = (float)((double)vector[i] * scale);
}

static enum rc
open_hashing(const struct provider_options *options, void **ret_state, struct err *err)
{
    const struct model_facts *facts = options->model ? model_find(options->model) : NULL;
    size_t dimensions = options->dimensions ? options->dimensions : facts ? facts->dimensions : 0;

    if (!options->model || !options->model[0])
        return err_set(err, RC_INVALID, ERR_USAGE, "the hashing provider needs a model name: vectors depend on it");
    if (dimensions == 0 || dimensions > HASHING_MAX_DIMENSIONS)
        return err_set(err, RC_INVALID, ERR_USAGE, "the hashing provider needs dimensions from 1 to %d, not %zu",
                       HASHING_MAX_DIMENSIONS, dimensions);

    struct hashing *hashing = calloc(1, sizeof *hashing);
    if (!hashing)
        return err_memory(err);
    hashing->options = *options;
    hashing->dimensions = dimensions;
    hashing->seed = hashing_xxh64(options->model, strlen(options->model), 0);
    *ret_state = hashing;
    return RC_OK;
}

static void
close_hashing(void *state)
{
    free(state);
}

static size_t
hashing_dimensions(const void *state)
{
    return ((const struct hashing *)state)->dimensions;
}

static void
hashing_limits(void *state, struct embed_limits *ret_limits)
{
    const struct hashing *hashing = state;

    *ret_limits = (struct embed_limits){
        .max_text_tokens = hashing->options.max_tokens,
        .cuts = hashing->options.on_too_long == POLICY_TRUNCATE,
        .exact_tokens = true,
    };
}

static size_t
hashing_count_tokens(void *state, const char *bytes, size_t length)
{
    (void)state, (void)bytes;
    return length / BYTES_PER_TOKEN + (length % BYTES_PER_TOKEN != 0);
}

static enum rc
open_session(void *state, void **ret_session, struct err *err)
{
    (void)err;
    *ret_session = state; /* nothing of its own: the embedder's state is only read */
    return RC_OK;
}

static void
close_session(void *session)
{
    (void)session;
}

static enum rc
hashing_embed(void *session, const struct text *texts, size_t count, size_t dimensions, float *vectors,
              struct text_result *results, struct request_outcome *ret_outcome, const atomic_bool *cancel,
              struct arena *arena, struct err *err)
{
    const struct hashing *hashing = session;
    size_t max_bytes =
        hashing->options.max_tokens <= SIZE_MAX / BYTES_PER_TOKEN ? hashing->options.max_tokens * BYTES_PER_TOKEN : 0;

    if (dimensions != hashing->dimensions) {
        ret_outcome->failure = REQUEST_HALT;
        return err_set(err, RC_HALT, ERR_PROVIDER, "the hashing provider was opened for %zu dimensions, not %zu",
                       hashing->dimensions, dimensions);
    }
    for (size_t i = 0; i < count; i++) {
        size_t length = texts[i].length;

        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) {
            ret_outcome->failure = REQUEST_CANCELLED;
            return err_set(err, RC_CLOSED, ERR_NONE, "cancelled");
        }
        results[i] = (struct text_result){.status = TEXT_EMBEDDED};
        if (max_bytes && length > max_bytes) {
            if (hashing->options.on_too_long != POLICY_TRUNCATE) {
                results[i].status = TEXT_TOO_LONG;
                results[i].detail =
                    arena_printf(arena, "content too large: %zu tokens (max %zu)",
                                 hashing_count_tokens(session, texts[i].bytes, length), hashing->options.max_tokens);
                continue;
            }
            for (length = max_bytes; length > 0 && ((unsigned char)texts[i].bytes[length] & 0xC0) == 0x80;)
                length--;
            results[i].truncated = true;
        }
        hashing_vector(hashing->seed, texts[i].bytes, length, dimensions, vectors + i * dimensions);
        results[i].tokens = (uint32_t)hashing_count_tokens(session, texts[i].bytes, length);
        ret_outcome->usage.tokens += results[i].tokens;
    }
    ret_outcome->usage.requests = 1;
    return RC_OK;
}

const struct provider_ops hashing_provider = {
    .name = "hashing",
    .open = open_hashing,
    .close = close_hashing,
    .dimensions = hashing_dimensions,
    .limits = hashing_limits,
    .count_tokens = hashing_count_tokens,
    .session_open = open_session,
    .session_close = close_session,
    .embed = hashing_embed,
};
