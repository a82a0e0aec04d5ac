/* bench-embed - how near reembed comes to what the machine gives, for a model in process.
 *
 *   bench-embed --texts FILE --model DIR [--limit N] [--threads N] [--callers N] [--batch N] [--rounds N]
 *               [--onnxruntime PATH] [--database-url URL --reembed BINARY]
 *
 * On the same texts (JSON Lines, {"text": ...}), after one warm-up each, in turns so that a noisy machine is noisy for
 * all; the best of the rounds counts:
 *
 *   bare           the yardstick: ONNX Runtime alone on ids made beforehand, the whole corpus sorted, 8 or 4 a
 *                  run, by one caller whose runs use all threads, or a caller a thread: the best of these
 *   table order    what a plain script does: batches of 32 as they come, all threads a run
 *   reembed        worker/embed.h from the text on: tokenizer, duplicates, sorting within a batch, pooling, checks
 *   reembed run    the program from start to completed, with a database: bench/run-embed makes one with the same texts in
 *                  a table docs (id, body). Its start, the loading of the model included, counts.
 *
 * CPU is user and system time of the process: with --threads of all cores and a busy machine it says more than the wall.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "corpus.h"
#include "db/connection.h"
#include "embed/onnx/graph.h"
#include "embed/onnx/model_folder.h"
#include "embed/onnx/runner.h"
#include "whole_run.h"

enum { BARE_GROUP = 8, TABLE_GROUP = 32, MAX_CALLERS = 256 };

struct bench {
    struct provider_options options;
    struct corpus corpus;
    struct model_folder folder;
    size_t callers;
    size_t batch;
    size_t rounds;
    const char *url;            /* NULL: no whole run */
    const char *program;        /* reembed */
    struct graph *one_caller;   /* a run uses all threads */
    struct graph *many_callers; /* a run uses one */
    struct embedder *embedder;
};

struct work {
    const struct bench *bench;
    const struct graph *graph; /* NULL: by way of worker/embed.h */
    const struct encoded *texts;
    size_t group;
    atomic_size_t next; /* the first text that no caller has taken */
    atomic_bool failed;
};

struct result {
    double seconds; /* of the best round; 0: none yet */
    double cpu_seconds;
};

static double
cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return rusage_cpu_seconds(&usage);
}

static void
fail(struct work *work, const struct err *err)
{
    if (!atomic_exchange(&work->failed, true))
        fprintf(stderr, "bench-embed: %s\n", err->message);
}

/* --- the callers --- */

static void *
call_graph(void *argument)
{
    struct work *work = argument;
    struct graph_buffers buffers = {.capacity = 0};
    const uint32_t *ids[TABLE_GROUP];
    uint32_t lengths[TABLE_GROUP];
    size_t total = work->bench->corpus.count, first;

    while (!atomic_load(&work->failed) && (first = atomic_fetch_add(&work->next, work->group)) < total) {
        size_t count = total - first < work->group ? total - first : work->group, longest = 0;
        struct graph_output output;
        struct err err = ERR_INIT;

        for (size_t i = 0; i < count; i++) {
            /* From the longest on, so that the last runs are short. */
            const struct encoded *text = &work->texts[total - 1 - first - i];
            ids[i] = text->ids;
            lengths[i] = text->length;
            longest = text->length > longest ? text->length : longest;
        }
        const struct graph_batch batch = {.ids = ids,
                                          .lengths = lengths,
                                          .count = count,
                                          .length = longest,
                                          .pad_id = wordpiece_pad_id(work->bench->folder.tokenizer)};
        if (graph_run(work->graph, &batch, &buffers, &output, &err) != RC_OK)
            fail(work, &err);
        graph_release(work->graph, &output);
    }
    graph_buffers_clear(&buffers);
    return NULL;
}

static void *
call_worker(void *argument)
{
    struct work *work = argument;
    const struct bench *bench = work->bench;
    const struct embed_policy policy = {.canary = "a plain test text", .canary_length = 17};
    size_t dimensions = embedder_dimensions(bench->embedder), total = bench->corpus.count, first;
    float *vectors = malloc(bench->batch * dimensions * sizeof *vectors);
    struct document_result *results = calloc(bench->batch, sizeof *results);
    struct arena *arena = arena_new(0);
    struct embed_session *session = NULL;
    struct embed_usage usage = {0};
    struct err err = ERR_INIT;

    if (!vectors || !results || !arena) {
        err_memory(&err);
        fail(work, &err);
    } else if (embed_session_open(bench->embedder, &session, &err) != RC_OK) {
        fail(work, &err);
    }
    while (session && !atomic_load(&work->failed) && (first = atomic_fetch_add(&work->next, bench->batch)) < total) {
        size_t count = total - first < bench->batch ? total - first : bench->batch;

        if (embed_documents(session, &policy, bench->corpus.documents + first, count, dimensions, vectors, results,
                            &usage, arena, &err) != RC_OK)
            fail(work, &err);
        arena_reset(arena);
    }
    embed_session_close(session);
    arena_free(arena);
    free(results);
    free(vectors);
    return NULL;
}

static bool
run_round(struct work *work, size_t callers, struct result *result)
{
    pthread_t threads[MAX_CALLERS];
    double cpu = cpu_seconds();
    int64_t started = clock_now_us();
    size_t running = 0;

    atomic_store(&work->next, 0);
    for (; running < callers; running++) {
        if (pthread_create(&threads[running], NULL, work->graph ? call_graph : call_worker, work) != 0)
            break;
    }
    for (size_t i = 0; i < running; i++)
        pthread_join(threads[i], NULL);
    double seconds = (double)(clock_now_us() - started) / 1e6;
    cpu = cpu_seconds() - cpu;
    if (running < callers || atomic_load(&work->failed))
        return false;
    if (result && (result->seconds == 0 || seconds < result->seconds))
        result->seconds = seconds;
    if (result && (result->cpu_seconds == 0 || cpu < result->cpu_seconds))
        result->cpu_seconds = cpu;
    return true;
}

static bool
run_program(const struct bench *bench, struct result *result)
{
    char migration[PATH_MAX + 512];
    struct whole_run run;
    struct db *db = NULL;
    struct err err = ERR_INIT;
    bool clean =
        db_open(&(struct db_options){.url = bench->url}, &db, &err) == RC_OK &&
        db_exec_raw(db, "DROP SCHEMA IF EXISTS reembed_data CASCADE", DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err) == RC_OK &&
        db_exec_raw(db, "DROP SCHEMA IF EXISTS reembed CASCADE", DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err) == RC_OK;

    db_close(db);
    if (!clean) {
        fprintf(stderr, "bench-embed: %s\n", err.message);
        return false;
    }
    snprintf(migration, sizeof migration,
             "{\"id\": \"bench\", \"collection\": \"bench\", \"documents\": {\"table\": \"docs\", \"id\": \"id\", "
             "\"content\": \"body\"}, \"source\": null, \"target\": {\"model\": \"bench\", \"dimensions\": %zu, "
             "\"index\": {\"method\": \"none\"}, \"provider\": {\"kind\": \"onnx\", \"path\": \"%s\"}}, "
             "\"backfill\": {\"batch_size\": %zu, \"max_concurrent\": %zu}}\n",
             embedder_dimensions(bench->embedder), bench->options.path, bench->batch, bench->callers);
    if (!whole_run(bench->program, bench->url, migration, &run)) {
        fprintf(stderr, "bench-embed: reembed run failed\n");
        return false;
    }
    if (result->seconds == 0 || run.seconds < result->seconds)
        result->seconds = run.seconds;
    if (result->cpu_seconds == 0 || run.cpu_seconds < result->cpu_seconds)
        result->cpu_seconds = run.cpu_seconds;
    return true;
}

/* --- the whole --- */

static bool
run_all(struct bench *bench)
{
    size_t threads = (size_t)bench->options.threads;
    struct work works[] = {
        {.graph = bench->one_caller, .texts = bench->corpus.sorted, .group = BARE_GROUP},
        {.graph = bench->many_callers, .texts = bench->corpus.sorted, .group = BARE_GROUP},
        {.graph = bench->many_callers, .texts = bench->corpus.sorted, .group = BARE_GROUP / 2},
        {.graph = bench->one_caller, .texts = bench->corpus.encoded, .group = TABLE_GROUP},
        {.graph = NULL},
    };
    const size_t callers[] = {1, threads, threads, 1, bench->callers};
    static const char *const names[] = {"bare, 8 a run, one caller",
                                        "bare, 8 a run, a caller a thread",
                                        "bare, 4 a run, a caller a thread",
                                        "table order, 32 a run",
                                        "reembed",
                                        "reembed run"};
    enum { BARE = 3, TABLE = 3, OURS = 4, PROGRAM = 5, MODES = 6 };
    struct result results[MODES] = {{0}}, bare = {0};
    size_t modes = bench->url ? MODES : PROGRAM, last = modes - 1;

    for (size_t round = 0; round < bench->rounds; round++) {
        for (size_t i = 0; i < modes; i++) {
            if (i == PROGRAM) {
                if (!run_program(bench, &results[i]))
                    return false;
                continue;
            }
            works[i].bench = bench;
            if (!run_round(&works[i], callers[i], &results[i]))
                return false;
        }
    }
    for (size_t i = 0; i < BARE; i++) {
        if (i == 0 || results[i].seconds < bare.seconds)
            bare.seconds = results[i].seconds;
        if (i == 0 || results[i].cpu_seconds < bare.cpu_seconds)
            bare.cpu_seconds = results[i].cpu_seconds;
    }
    double count = (double)bench->corpus.count, tokens = (double)bench->corpus.tokens;

    printf("%zu texts, %.1f tokens each, %zu threads, reembed: %zu callers, batches of %zu; ONNX Runtime %s\n\n",
           bench->corpus.count, tokens / count, threads, bench->callers, bench->batch,
           graph_library_version(bench->one_caller));
    printf("%-34s %10s %10s %12s %10s %10s\n", "", "docs/s", "tokens/s", "CPU ms/doc", "of bare", "CPU");
    for (size_t i = 0; i < modes; i++)
        printf("%-34s %10.1f %10.0f %12.2f %9.3fx %9.3fx\n", names[i], count / results[i].seconds,
               tokens / results[i].seconds, results[i].cpu_seconds * 1e3 / count, bare.seconds / results[i].seconds,
               bare.cpu_seconds / results[i].cpu_seconds);
    for (size_t i = OURS; i <= last; i++)
        printf("%s%s: %.3f of the bare loop, %.2f times table order\n", i == OURS ? "\n" : "", names[i],
               bare.seconds / results[i].seconds, results[TABLE].seconds / results[i].seconds);
    return true;
}

static enum rc
open_all(struct bench *bench, struct err *err)
{
    struct graph_options graph = {.output = bench->options.output, .library = bench->options.library};
    enum rc rc;

    if ((rc = model_folder_open(&bench->options, &bench->folder, err)) != RC_OK)
        return rc;
    graph.path = bench->folder.graph;
    graph.run_threads = bench->options.threads;
    if ((rc = graph_open(&graph, &bench->one_caller, err)) != RC_OK)
        return rc;
    graph.run_threads = 1;
    if ((rc = graph_open(&graph, &bench->many_callers, err)) != RC_OK ||
        (rc = embedder_open(&bench->options, &bench->embedder, err)) != RC_OK)
        return rc;
    return corpus_encode(&bench->corpus, bench->folder.tokenizer, bench->folder.max_tokens, err);
}

static size_t
number(const char *text, size_t most)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || value == 0 || value > most) {
        fprintf(stderr, "bench-embed: %s is no number from 1 to %zu\n", text, most);
        exit(2);
    }
    return value;
}

int
main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"texts", required_argument, NULL, 't'},
        {"model", required_argument, NULL, 'm'},
        {"limit", required_argument, NULL, 'l'},
        {"threads", required_argument, NULL, 'n'},
        {"callers", required_argument, NULL, 'c'},
        {"batch", required_argument, NULL, 'b'},
        {"rounds", required_argument, NULL, 'r'},
        {"onnxruntime", required_argument, NULL, 'o'},
        {"database-url", required_argument, NULL, 'u'},
        {"reembed", required_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    struct bench bench = {.options = {.kind = PROVIDER_ONNX, .normalize = -1}, .callers = 4, .batch = 100, .rounds = 3};
    const char *texts = NULL;
    size_t limit = 0;
    struct err err = ERR_INIT;
    enum rc rc;

    for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (option) {
        case 't':
            texts = optarg;
            break;
        case 'm':
            bench.options.path = optarg;
            break;
        case 'o':
            bench.options.library = optarg;
            break;
        case 'u':
            bench.url = optarg;
            break;
        case 'p':
            bench.program = optarg;
            break;
        case 'l':
            limit = number(optarg, 1000000);
            break;
        case 'n':
            bench.options.threads = (int)number(optarg, MAX_CALLERS);
            break;
        case 'c':
            bench.callers = number(optarg, MAX_CALLERS);
            break;
        case 'b':
            bench.batch = number(optarg, 100000);
            break;
        case 'r':
            bench.rounds = number(optarg, 1000);
            break;
        default:
            return 2;
        }
    }
    if (!texts || !bench.options.path || optind < argc || !bench.url != !bench.program) {
        fprintf(stderr, "usage: bench-embed --texts FILE --model DIR [--limit N] [--threads N] [--callers N] "
                        "[--batch N] [--rounds N] [--onnxruntime PATH] [--database-url URL --reembed BINARY]\n");
        return 2;
    }
    if (bench.options.threads == 0)
        bench.options.threads = (int)runner_cores();
    rc = corpus_read(texts, limit, &bench.corpus, &err);
    if (rc == RC_OK)
        rc = open_all(&bench, &err);
    if (rc != RC_OK)
        fprintf(stderr, "bench-embed: %s\n%s%s", err.message, err.hint, err.hint[0] ? "\n" : "");
    bool done = rc == RC_OK && run_all(&bench);
    embedder_close(bench.embedder);
    graph_close(bench.many_callers);
    graph_close(bench.one_caller);
    model_folder_close(&bench.folder);
    corpus_free(&bench.corpus);
    return done ? 0 : 1;
}
