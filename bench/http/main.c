/* bench-http: the worker's path (embed_documents) and the HTTP provider against the fake server, at several latencies.
 *
 * For each row it prints what was reached beside what the latency allows: with T threads and B texts a request, no
 * program can be faster than T x B / latency. CPU and memory are this process's own; the server's stand beside them.
 * The vectors of every 64th document are compared with the expected ones. See --help.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "embed/hashing.h"
#include "embed/http/dialect.h"
#include "worker/embed.h"

enum { LATENCIES_MAX = 16, CHECK_EVERY = 64 };

struct plan {
    const char *server; /* path of fake-embedding-server */
    const char *dialect;
    const char *encoding; /* "yes" or "ignore", as the server has it */
    int threads, batch, dimensions, text_bytes;
    double seconds;
    int latencies[LATENCIES_MAX];
    int latency_count;
};

struct lane {
    const struct plan *plan;
    struct embedder *embedder;
    const atomic_bool *stop;
    int number;
    uint64_t documents, requests, wrong;
    char message[256];
};

static void
write_document(char *out, size_t size, int lane, uint64_t number)
{
    size_t used = (size_t)snprintf(out, size, "lane %d document %llu: ", lane, (unsigned long long)number);
    static const char words[] = "the quick brown fox jumps over the lazy dog and \"quotes\" itself, ";

    while (used < size - 1) {
        size_t length = sizeof words - 1 < size - 1 - used ? sizeof words - 1 : size - 1 - used;
        memcpy(out + used, words, length);
        used += length;
    }
    out[used] = '\0';
}

static bool
is_right(const struct plan *plan, const struct document *document, const float *row, float *scratch)
{
    size_t dimensions = (size_t)plan->dimensions;

    hashing_vector(hashing_xxh64("m", 1, 0), document->bytes, document->length, dimensions, scratch);
    return memcmp(scratch, row, dimensions * sizeof *row) == 0;
}

static void *
run_lane(void *context)
{
    struct lane *lane = context;
    const struct plan *plan = lane->plan;
    size_t batch = (size_t)plan->batch, dimensions = (size_t)plan->dimensions, size = (size_t)plan->text_bytes + 1;
    struct document *documents = calloc(batch, sizeof *documents);
    struct document_result *results = calloc(batch, sizeof *results);
    float *vectors = calloc((batch + 1) * dimensions, sizeof *vectors);
    char *texts = calloc(batch, size);
    struct arena *arena = arena_new(0);
    struct embed_session *session = NULL;
    struct embed_policy policy = {0};
    struct err err = ERR_INIT;
    uint64_t next = 0;

    if (!documents || !results || !vectors || !texts || !arena ||
        embed_session_open(lane->embedder, &session, &err) != RC_OK) {
        lane->wrong++;
        goto out;
    }
    while (!atomic_load_explicit(lane->stop, memory_order_relaxed)) {
        struct embed_usage usage = {0};

        for (size_t i = 0; i < batch; i++) {
            write_document(texts + i * size, size, lane->number, next++);
            documents[i] = (struct document){.bytes = texts + i * size, .length = size - 1};
        }
        memset(results, 0, batch * sizeof *results);
        arena_reset(arena);
        enum rc rc =
            embed_documents(session, &policy, documents, batch, dimensions, vectors, results, &usage, arena, &err);
        lane->requests += usage.requests;
        if (rc != RC_OK) {
            (void)snprintf(lane->message, sizeof lane->message, "%.255s", err.message);
            lane->wrong++;
            break;
        }
        for (size_t i = 0; i < batch; i++) {
            lane->wrong += results[i].status != DOCUMENT_EMBEDDED;
            if ((next - batch + i) % CHECK_EVERY == 0)
                lane->wrong += !is_right(plan, &documents[i], vectors + i * dimensions, vectors + batch * dimensions);
        }
        lane->documents += batch;
    }
out:
    embed_session_close(session);
    arena_free(arena);
    free(documents);
    free(results);
    free(vectors);
    free(texts);
    return NULL;
}

/* --- the server --- */

static pid_t
start_server(const struct plan *plan, int latency, unsigned *ret_port)
{
    char latency_text[16], dimensions_text[16], line[32] = "";
    int pipes[2];

    (void)snprintf(latency_text, sizeof latency_text, "%d", latency);
    (void)snprintf(dimensions_text, sizeof dimensions_text, "%d", plan->dimensions);
    if (pipe(pipes) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(pipes[1], STDOUT_FILENO);
        execl(plan->server, "fake-embedding-server", "--dialect", plan->dialect, "--model", "m", "--latency-ms",
              latency_text, "--dimensions", dimensions_text, "--base64", plan->encoding, "--max-items", "0",
              "--max-request-tokens", "0", (char *)NULL);
        perror(plan->server);
        _exit(127);
    }
    (void)close(pipes[1]);
    ssize_t got = pid > 0 ? read(pipes[0], line, sizeof line - 1) : -1;
    (void)close(pipes[0]);
    *ret_port = (unsigned)strtoul(line, NULL, 10);
    return got > 0 && *ret_port > 0 ? pid : -1;
}

static double
seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static double
cpu_seconds(const struct rusage *usage)
{
    return seconds_of(&usage->ru_utime) + seconds_of(&usage->ru_stime);
}

/* VmRSS or VmHWM in MB. */
static double
memory_mb(const char *name)
{
    char line[256];
    double kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "re");

    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kilobytes = strtod(line + strlen(name) + 1, NULL);
    if (status != NULL)
        (void)fclose(status);
    return kilobytes / 1024;
}

static int
measure(const struct plan *plan, int latency)
{
    struct lane *lanes = calloc((size_t)plan->threads, sizeof *lanes);
    pthread_t *threads = calloc((size_t)plan->threads, sizeof *threads);
    struct embedder *embedder = NULL;
    struct err err = ERR_INIT;
    struct rusage before, after, server_usage;
    atomic_bool stop = false;
    char url[128];
    uint64_t documents = 0, requests = 0, wrong = 0;
    unsigned port;

    pid_t server = start_server(plan, latency, &port);
    if (server < 0 || lanes == NULL || threads == NULL) {
        free(lanes);
        free(threads);
        return 1;
    }
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port,
                   strcmp(plan->dialect, "gemini") == 0   ? "/v1beta"
                   : strcmp(plan->dialect, "openai") == 0 ? "/v1"
                                                          : "");
    const struct provider_options options = {.kind = PROVIDER_OPENAI,
                                             .url = url,
                                             .dialect = plan->dialect,
                                             .model = "m",
                                             .dimensions = (size_t)plan->dimensions,
                                             .send_dimensions = -1,
                                             .max_items = (size_t)plan->batch};
    if (embedder_open_provider(&http_provider, &options, &embedder, &err) != RC_OK) {
        fprintf(stderr, "bench-http: %s\n", err.message);
        free(lanes);
        free(threads);
        return 1;
    }
    int64_t began = clock_now_us();
    (void)getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < plan->threads; i++) {
        lanes[i] = (struct lane){.plan = plan, .embedder = embedder, .stop = &stop, .number = i};
        if (pthread_create(&threads[i], NULL, run_lane, &lanes[i]) != 0)
            return 1;
    }
    (void)usleep((useconds_t)(plan->seconds * 1e6));
    atomic_store(&stop, true);
    for (int i = 0; i < plan->threads; i++) {
        (void)pthread_join(threads[i], NULL);
        documents += lanes[i].documents;
        requests += lanes[i].requests;
        wrong += lanes[i].wrong;
        if (lanes[i].message[0] != '\0')
            fprintf(stderr, "bench-http: %s\n", lanes[i].message);
    }
    double seconds = (double)(clock_now_us() - began) / 1e6;
    (void)getrusage(RUSAGE_SELF, &after);
    (void)kill(server, SIGTERM);
    (void)wait4(server, NULL, 0, &server_usage);
    embedder_close(embedder);
    free(lanes);
    free(threads);

    double thousands = (double)documents / 1000, rate = (double)documents / seconds;
    double cpu = cpu_seconds(&after) - cpu_seconds(&before);
    double limit = latency > 0 ? plan->threads * plan->batch * 1000.0 / latency : 0;
    printf("%-8s %-6s %5d ms %8.0f docs/s ", plan->dialect, strcmp(plan->encoding, "yes") == 0 ? "base64" : "float",
           latency, rate);
    if (limit > 0)
        printf("%8.0f limit %5.3f ", limit, rate / limit);
    else
        printf("%8s %11s ", "-", "");
    printf("%7.4f cpu-s/1000 %7.4f server %6.1f MB rss %6.1f MB peak %6llu requests %llu wrong\n", cpu / thousands,
           cpu_seconds(&server_usage) / thousands, memory_mb("VmRSS"), memory_mb("VmHWM"), (unsigned long long)requests,
           (unsigned long long)wrong);
    fflush(stdout);
    return wrong == 0 && documents > 0 ? 0 : 1;
}

static void
help(void)
{
    printf(
        "usage: bench-http [--seconds S] [--threads N] [--batch N] [--dimensions N] [--text-bytes N]\n"
        "                  [--latencies 0,20,100] [--dialects openai,tei] [--floats] [--server FILE]\n"
        "\n"
        "Defaults: 3 s a row, 4 threads, 100 texts a batch, 768 dimensions, 500 bytes a text, 0, 20 and 100 ms, dialect\n"
        "openai with base64; --floats adds the same rows without base64. The fake server is looked for beside this\n"
        "program. Columns: documents a second, the limit that the latency sets and the share of it that was reached,\n"
        "CPU seconds per 1,000 documents of this process and of the server, memory, requests, wrong results.\n");
}

static bool
read_latencies(struct plan *plan, const char *text)
{
    plan->latency_count = 0;
    for (; text != NULL && plan->latency_count < LATENCIES_MAX; text++) {
        char *end;
        long value = strtol(text, &end, 10);
        if (end == text || value < 0 || value > 60000)
            return false;
        plan->latencies[plan->latency_count++] = (int)value;
        text = end;
        if (*text == '\0')
            return true;
        if (*text != ',')
            return false;
    }
    return false;
}

int
main(int argc, char **argv)
{
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, 't'},
        {"batch", required_argument, NULL, 'b'},
        {"dimensions", required_argument, NULL, 'd'},
        {"text-bytes", required_argument, NULL, 'x'},
        {"latencies", required_argument, NULL, 'l'},
        {"dialects", required_argument, NULL, 'D'},
        {"floats", no_argument, NULL, 'f'},
        {"server", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct plan plan = {.threads = 4, .batch = 100, .dimensions = 768, .text_bytes = 500, .seconds = 3};
    char server[4096] = "", dialects_text[256] = "openai";
    bool floats = false;
    int failed = 0;

    (void)read_latencies(&plan, "0,20,100");
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        int number = optarg != NULL ? (int)strtol(optarg, NULL, 10) : 0;
        switch (option) {
        case 's':
            plan.seconds = optarg != NULL ? strtod(optarg, NULL) : 0;
            break;
        case 't':
            plan.threads = number;
            break;
        case 'b':
            plan.batch = number;
            break;
        case 'd':
            plan.dimensions = number;
            break;
        case 'x':
            plan.text_bytes = number;
            break;
        case 'l':
            if (!read_latencies(&plan, optarg)) {
                fprintf(stderr, "bench-http: --latencies are milliseconds with commas between\n");
                return 2;
            }
            break;
        case 'D':
            (void)snprintf(dialects_text, sizeof dialects_text, "%s", optarg);
            break;
        case 'f':
            floats = true;
            break;
        case 'S':
            (void)snprintf(server, sizeof server, "%s", optarg);
            break;
        case 'h':
            help();
            return 0;
        default:
            return 2;
        }
    }
    if (plan.threads < 1 || plan.batch < 1 || plan.dimensions < 1 || plan.text_bytes < 40 || !(plan.seconds > 0)) {
        fprintf(stderr, "bench-http: numbers are above 0, a text has at least 40 bytes\n");
        return 2;
    }
    if (server[0] == '\0') {
        ssize_t length = readlink("/proc/self/exe", server, sizeof server - sizeof "/fake-embedding-server");
        char *slash = length > 0 ? memrchr(server, '/', (size_t)length) : NULL;
        if (slash == NULL)
            return 1;
        memcpy(slash, "/fake-embedding-server", sizeof "/fake-embedding-server");
    }
    plan.server = server;
    for (char *dialect = dialects_text, *next; dialect != NULL; dialect = next) {
        next = strchr(dialect, ',');
        if (next != NULL)
            *next++ = '\0';
        plan.dialect = dialect;
        for (int encoding = 0; encoding < (floats ? 2 : 1); encoding++) {
            plan.encoding = encoding == 0 ? "yes" : "ignore";
            for (int i = 0; i < plan.latency_count; i++)
                failed |= measure(&plan, plan.latencies[i]);
        }
    }
    return failed;
}
