#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed/embedder.h"
#include "embed/onnx/groups.h"
#include "embed/onnx/ort_library.h"
#include "embed/onnx/pool_vectors.h"
#include "embed/onnx/runner.h"
#include "fixture.h"

enum { MINILM = 384, MPNET = 768, MAX_TEXTS = 200 };

static const struct provider_options onnx_defaults = {.kind = PROVIDER_ONNX, .normalize = -1};

/* Skips the test where the model, or ONNX Runtime, is not there. */
static const char *
need_model(const char *name)
{
    struct ort_api api;
    struct err err = ERR_INIT;
    const char *folder = fixture_model(name, "model.onnx");

    if (!folder)
        cr_skip_test("the model %s is not there: scripts/fetch-models", name);
    if (ort_library_open(NULL, &api, &err) != RC_OK)
        cr_skip_test("%s", err.message);
    return folder;
}

static struct embedder *
open_model(const struct provider_options *options)
{
    struct embedder *embedder = NULL;
    struct err err = ERR_INIT;
    enum rc rc = embedder_open(options, &embedder, &err);
    cr_assert_eq(rc, RC_OK, "%s", err.message);
    return embedder;
}

static void
embed_all(struct embedder *embedder, const struct text *texts, size_t count, size_t dimensions, float *vectors,
          struct text_result *results)
{
    struct embed_session *session = NULL;
    struct request_outcome outcome;
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(0);

    cr_assert_eq(embed_session_open(embedder, &session, &err), RC_OK);
    enum rc rc = embed_session_embed(session, texts, count, dimensions, vectors, results, &outcome, NULL, arena, &err);
    cr_assert_eq(rc, RC_OK, "%s", err.message);
    cr_assert_eq(outcome.usage.requests, 1);
    embed_session_close(session);
    arena_free(arena);
}

static size_t
read_texts(const char *name, struct text *texts, double (*expected)[MPNET], size_t dimensions)
{
    struct fixture fixture;
    size_t count = 0;

    for (fixture_open(&fixture, name); fixture_next(&fixture); count++) {
        size_t length;
        const char *text = fixture_text(&fixture, "text", &length);
        char *copy = malloc(length + 1);

        memcpy(copy, text, length);
        texts[count] = (struct text){.bytes = copy, .length = length};
        if (expected)
            cr_assert_eq(fixture_numbers(&fixture, "vector", expected[count], MPNET), dimensions);
    }
    fixture_close(&fixture);
    return count;
}

static double
compare_with_fixture(const char *model, const char *name, size_t dimensions)
{
    static struct text texts[MAX_TEXTS];
    static double expected[MAX_TEXTS][MPNET];
    static float vectors[MAX_TEXTS * MPNET], alone[MPNET];
    static struct text_result results[MAX_TEXTS];
    struct provider_options options = onnx_defaults;
    double worst = 0;

    options.path = need_model(model);
    struct embedder *embedder = open_model(&options);
    cr_assert_eq(embedder_dimensions(embedder), dimensions);
    size_t count = read_texts(name, texts, expected, dimensions);
    embed_all(embedder, texts, count, dimensions, vectors, results);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(results[i].status, TEXT_EMBEDDED);
        for (size_t d = 0; d < dimensions; d++)
            worst = fmax(worst, fabs(vectors[i * dimensions + d] - expected[i][d]));

        embed_all(embedder, &texts[i], 1, dimensions, alone, results + i);
        for (size_t d = 0; d < dimensions; d++)
            cr_assert(fabsf(alone[d] - vectors[i * dimensions + d]) < 1e-6f, "text %zu depends on its batch", i);
    }
    embedder_close(embedder);
    cr_log_info("%s: largest difference %.2g in %zu texts", model, worst, count);
    return worst;
}

Test(onnx, minilm_agrees_with_the_reference)
{
    cr_assert_lt(compare_with_fixture("all-MiniLM-L6-v2", "minilm_vectors.jsonl", MINILM), 2e-6);
}

Test(onnx, mpnet_agrees_with_the_reference, .timeout = 300)
{
    cr_assert_lt(compare_with_fixture("all-mpnet-base-v2", "mpnet_vectors.jsonl", MPNET), 1e-5);
}

Test(onnx, takes_odd_output_names_and_folders_without_configuration)
{
    struct provider_options options = onnx_defaults;
    const struct text text = {.bytes = "a small text", .length = 12};
    float vector[MINILM];
    struct text_result result;
    struct embed_limits limits;

    options.path = need_model("paraphrase-MiniLM-L3-v2");
    struct embedder *embedder = open_model(&options);
    embedder_limits(embedder, &limits);
    cr_assert_eq(limits.max_text_tokens, 128);
    cr_assert_eq(embedder_dimensions(embedder), MINILM);
    embed_all(embedder, &text, 1, MINILM, vector, &result);
    double norm = 0;
    for (size_t d = 0; d < MINILM; d++)
        norm += (double)vector[d] * vector[d];
    cr_assert_float_eq(norm, 1, 1e-5);
    embedder_close(embedder);
}

Test(onnx, options_go_before_the_folder)
{
    struct provider_options options = onnx_defaults;
    const struct text text = {.bytes = "a small text about pooling", .length = 26};
    float mean[MINILM], first[MINILM], raw[MINILM];
    struct text_result result;

    options.path = need_model("all-MiniLM-L6-v2");
    struct embedder *embedder = open_model(&options);
    embed_all(embedder, &text, 1, MINILM, mean, &result);
    embedder_close(embedder);

    options.pooling = POOLING_CLS;
    embedder = open_model(&options);
    embed_all(embedder, &text, 1, MINILM, first, &result);
    embedder_close(embedder);
    cr_assert_neq(memcmp(mean, first, sizeof mean), 0);

    options.pooling = POOLING_MEAN;
    options.normalize = 0;
    options.max_tokens = 5;
    embedder = open_model(&options);
    embed_all(embedder, &text, 1, MINILM, raw, &result);
    cr_assert(result.truncated);
    cr_assert_eq(result.tokens, 5);
    embedder_close(embedder);
    double norm = 0;
    for (size_t d = 0; d < MINILM; d++)
        norm += (double)raw[d] * raw[d];
    cr_assert(fabs(norm - 1) > 0.1);
}

Test(onnx, refuses_a_long_text_where_it_must_not_be_cut)
{
    struct provider_options options = onnx_defaults;
    const struct text texts[2] = {{.bytes = "one two three four five six", .length = 27},
                                  {.bytes = "one", .length = 3}};
    float vectors[2 * MINILM];
    struct text_result results[2];

    options.path = need_model("all-MiniLM-L6-v2");
    options.max_tokens = 5;
    options.on_too_long = POLICY_SKIP;
    struct embedder *embedder = open_model(&options);
    struct embed_session *session;
    struct request_outcome outcome;
    struct err err = ERR_INIT;
    struct arena *arena = arena_new(0);
    embed_session_open(embedder, &session, &err);
    cr_assert_eq(embed_session_embed(session, texts, 2, MINILM, vectors, results, &outcome, NULL, arena, &err), RC_OK);
    cr_assert_eq(results[0].status, TEXT_TOO_LONG);
    cr_assert_str_eq(results[0].detail, "content too large: 8 tokens (max 5)");
    cr_assert_eq(results[1].status, TEXT_EMBEDDED);

    atomic_bool cancel = true;
    cr_assert_eq(embed_session_embed(session, texts, 2, MINILM, vectors, results, &outcome, &cancel, arena, &err),
                 RC_CLOSED);
    cr_assert_eq(outcome.failure, REQUEST_CANCELLED);
    cr_assert_eq(embed_session_embed(session, texts, 2, 100, vectors, results, &outcome, NULL, arena, &err), RC_HALT);
    arena_free(arena);
    embed_session_close(session);
    embedder_close(embedder);
}

/* --- what is wrong with a folder --- */

static char scratch[64];

static void
make_scratch(void)
{
    strcpy(scratch, "/tmp/reembed-onnx-XXXXXX");
    cr_assert_not_null(mkdtemp(scratch));
}

static void
write_scratch(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void
link_scratch(const char *model, const char *name)
{
    char from[512], to[256];
    snprintf(from, sizeof from, "%s/%s", model, name);
    snprintf(to, sizeof to, "%s/%s", scratch, name);
    cr_assert_eq(symlink(from, to), 0);
}

static void
remove_scratch(void)
{
    DIR *dir = opendir(scratch);
    const struct dirent *entry;
    char path[512];

    cr_assert_not_null(dir);
    while ((entry = readdir(dir))) {
        snprintf(path, sizeof path, "%s/%s", scratch, entry->d_name);
        if (entry->d_name[0] != '.')
            cr_assert_eq(unlink(path), 0);
    }
    closedir(dir);
    cr_assert_eq(rmdir(scratch), 0);
}

static void
assert_refused(const struct provider_options *options, const char *message, const char *hint)
{
    struct embedder *embedder = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(embedder_open(options, &embedder, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_not_null(strstr(err.message, message), "%s", err.message);
    cr_assert_not_null(strstr(err.hint, hint), "%s", err.hint);
}

static const char tiny_tokenizer[] =
    "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0,\"a\":1}},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}}";

TestSuite(onnx_folder, .init = make_scratch, .fini = remove_scratch);

Test(onnx_folder, says_what_is_missing)
{
    struct provider_options options = onnx_defaults;

    assert_refused(&options, "needs \"path\"", "");
    options.path = "/nowhere/model";
    assert_refused(&options, "there is no model folder /nowhere/model", "model pull");
    options.path = scratch;
    assert_refused(&options, "has no tokenizer.json", "copy it");
    write_scratch("tokenizer.json", tiny_tokenizer);
    assert_refused(&options, "has neither model.onnx nor onnx/model.onnx", "model pull");
    write_scratch("model.safetensors", "weights");
    assert_refused(&options, "has neither model.onnx nor onnx/model.onnx", "weights only");
}

Test(onnx_folder, sends_sentencepiece_models_to_an_http_provider)
{
    struct provider_options options = onnx_defaults;

    options.path = scratch;
    options.model = "intfloat/multilingual-e5-small";
    assert_refused(&options, "no WordPiece", "run through an HTTP provider");
    options.model = NULL;
    write_scratch("sentencepiece.bpe.model", "x");
    assert_refused(&options, "no WordPiece", "run through an HTTP provider");
    write_scratch("tokenizer.json", "{\"model\":{\"type\":\"Unigram\"}}");
    write_scratch("model.onnx", "x");
    assert_refused(&options, "of type Unigram", "run through an HTTP provider");
}

Test(onnx_folder, refuses_modules_and_poolings_that_it_does_not_run)
{
    struct provider_options options = onnx_defaults;

    options.path = scratch;
    write_scratch("tokenizer.json", tiny_tokenizer);
    write_scratch("model.onnx", "x");
    write_scratch("modules.json", "[{\"type\":\"sentence_transformers.models.Dense\"}]");
    assert_refused(&options, "module of type Dense", "");
    write_scratch("modules.json", "[{\"type\":\"sentence_transformers.models.Pooling\",\"path\":\".\"}]");
    write_scratch("config.json", "{\"pooling_mode_max_tokens\":true}");
    assert_refused(&options, "pooling other than", "\"pooling\"");
}

Test(onnx_folder, refuses_limits_that_the_model_does_not_have)
{
    struct provider_options options = onnx_defaults;

    options.path = scratch;
    write_scratch("tokenizer.json", tiny_tokenizer);
    write_scratch("model.onnx", "x");
    write_scratch("config.json", "{\"max_position_embeddings\":512,\"vocab_size\":1}");
    assert_refused(&options, "ids up to 1, but the model has 1 words", "different models");
    write_scratch("config.json", "{\"max_position_embeddings\":512}");
    options.max_tokens = 513;
    assert_refused(&options, "max_tokens is 513, but the model", "");
    options.max_tokens = 0;
    options.threads = -1;
    assert_refused(&options, "threads is -1", "");
}

Test(onnx_folder, says_where_it_looked_for_the_library)
{
    struct provider_options options = onnx_defaults;

    options.path = scratch;
    write_scratch("tokenizer.json", tiny_tokenizer);
    write_scratch("model.onnx", "x");
    options.library = "/nowhere/libonnxruntime.so";
    assert_refused(&options, "/nowhere/libonnxruntime.so, which the option names", "pip download onnxruntime");
    options.library = scratch;
    assert_refused(&options, "which the option names", "onnxruntime");
    write_scratch("libonnxruntime.so.1", "not a library");
    assert_refused(&options, "cannot load ONNX Runtime", "onnxruntime");
    options.library = NULL;
    setenv("REEMBED_ONNXRUNTIME", "/nowhere", 1);
    assert_refused(&options, "which REEMBED_ONNXRUNTIME names", "onnxruntime");
}

Test(onnx_folder, refuses_a_broken_graph_and_wrong_dimensions)
{
    struct provider_options options = onnx_defaults;
    const char *model = need_model("all-MiniLM-L6-v2");
    char whole[512];

    options.path = scratch;
    link_scratch(model, "tokenizer.json");
    write_scratch("model.onnx", "this is no graph");
    assert_refused(&options, "ONNX Runtime cannot load", "broken or cut short");

    snprintf(whole, sizeof whole, "%s", model);
    options.path = whole;
    options.dimensions = 768;
    assert_refused(&options, "has 384 dimensions, not 768", "384");
    options.dimensions = 0;
    options.output = "no such output";
    assert_refused(&options, "has no output \"no such output\"", "");
}

/* --- many callers at once --- */

struct caller {
    struct embedder *embedder;
    const struct text *texts;
    size_t count;
    const float *expected;
    bool equal;
};

static void *
call_often(void *argument)
{
    struct caller *caller = argument;
    static _Thread_local float vectors[MAX_TEXTS * MINILM];
    static _Thread_local struct text_result results[MAX_TEXTS];

    caller->equal = true;
    for (int round = 0; round < 3; round++) {
        embed_all(caller->embedder, caller->texts, caller->count, MINILM, vectors, results);
        for (size_t i = 0; i < caller->count * MINILM; i++)
            caller->equal &= fabsf(vectors[i] - caller->expected[i]) < 1e-6f;
    }
    return NULL;
}

Test(onnx, serves_many_callers_at_once, .timeout = 300)
{
    static struct text texts[MAX_TEXTS];
    static float expected[MAX_TEXTS * MINILM];
    static struct text_result results[MAX_TEXTS];
    struct provider_options options = onnx_defaults;
    pthread_t threads[6];
    struct caller callers[6];

    options.path = need_model("all-MiniLM-L6-v2");
    options.threads = 3;
    size_t count = read_texts("minilm_vectors.jsonl", texts, NULL, 0);
    struct embedder *embedder = open_model(&options);
    count = count < 24 ? count : 24;
    embed_all(embedder, texts, count, MINILM, expected, results);
    for (size_t i = 0; i < 6; i++) {
        size_t skip = i * 4; /* callers of different batches, down to a single text */
        callers[i] =
            (struct caller){embedder, texts + skip, i == 5 ? 1 : count - skip, expected + skip * MINILM, false};
        cr_assert_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        cr_assert(callers[i].equal, "caller %zu", i);
    }
    embedder_close(embedder);
}
