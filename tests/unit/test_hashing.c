#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "embed/embedder.h"
#include "embed/hashing.h"

/* From the specification's own test vectors and an independent implementation (the Python package xxhash). */
Test(hashing, hashes_as_xxh64)
{
    static const struct {
        const char *text;
        uint64_t seed, hash;
    } cases[] = {
        {"", 0, 0xEF46DB3751D8E999u},
        {"a", 0, 0xD24EC4F1A98C6E5Bu},
        {"abc", 0, 0x44BC2CF5AD770999u},
        {"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1u},
        {"abc", 42, 0x13C1D910702770E6u},
        {"0123456789abcdef0123456789abcdef", 0, 0x642A94958E71E6C5u},
        {"0123456789abcdef0123456789abcdef0123456789abcde", 7, 0x6AEE864D55B6C0ADu},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(hashing_xxh64(cases[i].text, strlen(cases[i].text), cases[i].seed), cases[i].hash, "%s",
                     cases[i].text);
}

static struct embedder *
open_hashing(const char *model, size_t dimensions, size_t max_tokens, enum text_policy on_too_long)
{
    struct provider_options options = {.kind = PROVIDER_HASHING,
                                       .model = model,
                                       .dimensions = dimensions,
                                       .max_tokens = max_tokens,
                                       .on_too_long = on_too_long};
    struct embedder *embedder = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(embedder_open(&options, &embedder, &err), RC_OK, "%s", err.message);
    return embedder;
}

static struct text_result
embed_one(struct embedder *embedder, const char *text, float *vector)
{
    struct embed_session *session = NULL;
    struct request_outcome outcome;
    struct text_result result;
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(0);
    const struct text one = {.bytes = text, .length = strlen(text)};

    cr_assert_eq(embed_session_open(embedder, &session, &err), RC_OK);
    cr_assert_eq(embed_session_embed(session, &one, 1, embedder_dimensions(embedder), vector, &result, &outcome, NULL,
                                     arena, &err),
                 RC_OK);
    cr_assert_eq(outcome.usage.tokens, result.tokens);
    embed_session_close(session);
    arena_free(arena);
    return result;
}

/* Computed in Python from the description in embed/hashing.h alone. */
Test(hashing, gives_the_documented_numbers)
{
    static const float expected[] = {-0x1.e54c96p-3f, -0x1.1485cep-1f, -0x1.ebf45cp-2f, 0x1.422e7ap-2f,
                                     -0x1.22b24ep-1f};
    float vector[5];
    struct embedder *embedder = open_hashing("some-model", 5, 0, POLICY_TRUNCATE);

    struct text_result result = embed_one(embedder, "Hello, world", vector);
    cr_assert_eq(result.tokens, 3);
    cr_assert_eq(memcmp(vector, expected, sizeof vector), 0, "%.9g %.9g %.9g %.9g %.9g", vector[0], vector[1],
                 vector[2], vector[3], vector[4]);
    embedder_close(embedder);
}

Test(hashing, depends_on_model_and_text_only)
{
    float a[384], b[384], c[384], d[384];
    struct embedder *one = open_hashing("all-minilm-l6-v2", 0, 0, POLICY_TRUNCATE);
    struct embedder *other = open_hashing("bge-small-en-v1.5", 0, 0, POLICY_TRUNCATE);

    cr_assert_eq(embedder_dimensions(one), 384);
    embed_one(one, "a text", a);
    embed_one(one, "another text", b);
    embed_one(other, "a text", c);
    embed_one(one, "a text", d);
    double norm = 0, product = 0;
    for (size_t i = 0; i < 384; i++) {
        norm += (double)a[i] * a[i];
        product += (double)a[i] * b[i];
    }
    cr_assert_float_eq(norm, 1, 1e-6);
    cr_assert_lt(fabs(product), 0.3);
    cr_assert_neq(memcmp(a, c, sizeof a), 0);
    cr_assert_eq(memcmp(a, d, sizeof a), 0);
    embedder_close(one);
    embedder_close(other);
}

Test(hashing, cuts_or_refuses_long_texts)
{
    float cut[8], whole[8];
    struct embedder *embedder = open_hashing("m", 8, 2, POLICY_TRUNCATE);

    struct text_result result = embed_one(embedder, "1234567\u00e9", cut); /* the letter does not fit into 8 bytes */
    cr_assert(result.truncated && result.tokens == 2);
    result = embed_one(embedder, "1234567", whole);
    cr_assert(!result.truncated);
    cr_assert_eq(memcmp(cut, whole, sizeof cut), 0);
    embedder_close(embedder);

    embedder = open_hashing("m", 8, 2, POLICY_FAIL);
    cr_assert_eq(embed_one(embedder, "123456789", cut).status, TEXT_TOO_LONG);
    embedder_close(embedder);
}

Test(hashing, needs_a_name_and_dimensions)
{
    struct provider_options options = {.kind = PROVIDER_HASHING, .dimensions = 8};
    struct embedder *embedder = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(embedder_open(&options, &embedder, &err), RC_INVALID);
    options = (struct provider_options){.kind = PROVIDER_HASHING, .model = "unknown"};
    cr_assert_eq(embedder_open(&options, &embedder, &err), RC_INVALID);
    cr_assert_not_null(strstr(err.message, "dimensions"));
    options.dimensions = HASHING_MAX_DIMENSIONS + 1;
    cr_assert_eq(embedder_open(&options, &embedder, &err), RC_INVALID);
}

Test(hashing, tells_unusable_vectors)
{
    float vector[4] = {0, 0, 1e-30f, 0};

    cr_assert(vector_is_valid(vector, 4));
    vector[2] = 0;
    cr_assert_not(vector_is_valid(vector, 4));
    vector[1] = NAN;
    cr_assert_not(vector_is_valid(vector, 4));
    vector[1] = -INFINITY;
    cr_assert_not(vector_is_valid(vector, 4));
    vector[1] = 3e38f;
    cr_assert(vector_is_valid(vector, 4));
}
