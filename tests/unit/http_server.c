#include "tests/unit/http_server.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "embed/hashing.h"

/* No Criterion: the races run in a program of their own. */
#define must(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s. ", __FILE__, __LINE__, #condition);                                    \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

void
http_server_start(struct http_server *server, const char *settings)
{
    http_server_start_journal(server, settings, "/dev/null");
}

void
http_server_start_journal(struct http_server *server, const char *settings, const char *journal)
{
    char line[32] = "";
    size_t used = 0;
    int pipes[2];

    must(pipe(pipes) == 0, "no pipe");
    server->pid = fork();
    must(server->pid >= 0, "no process");
    if (server->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(pipes[1], STDOUT_FILENO);
        (void)close(pipes[0]);
        execl(REEMBED_BINARY_DIR "/bin/fake-embedding-server", "fake-embedding-server", "--journal", journal,
              (char *)NULL);
        _exit(127);
    }
    (void)close(pipes[1]);
    server->output = pipes[0];
    while (used < sizeof line - 1 && strchr(line, '\n') == NULL) {
        ssize_t got = read(pipes[0], line + used, sizeof line - 1 - used);
        must(got > 0, "the fake server does not start");
        used += (size_t)got;
    }
    server->port = (uint16_t)strtoul(line, NULL, 10);
    must(server->port > 0, "%s", line);
    http_server_set(server, settings);
}

void
http_server_stop(struct http_server *server)
{
    int status = 0;

    (void)kill(server->pid, SIGTERM);
    must(waitpid(server->pid, &status, 0) == server->pid, "it is gone");
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the fake server ended with %d", status);
    (void)close(server->output);
}

static size_t
take(char *bytes, size_t size, size_t count, void *context)
{
    strbuf_add(context, bytes, size * count);
    return size * count;
}

struct cJSON *
http_server_control(const struct http_server *server, const char *settings)
{
    char url[64];
    struct strbuf body;
    long status = 0;
    CURL *easy = curl_easy_init();

    must(easy != NULL, "no curl");
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/control", server->port);
    strbuf_init(&body, 65536);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, settings);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    must(curl_easy_perform(easy) == CURLE_OK, "%s", url);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    must(status == 200, "%s: %s", settings, strbuf_text(&body));
    cJSON *counters = cJSON_Parse(strbuf_text(&body));
    must(counters != NULL, "%s", strbuf_text(&body));
    curl_easy_cleanup(easy);
    strbuf_free(&body);
    return counters;
}

void
http_server_set(const struct http_server *server, const char *settings)
{
    cJSON_Delete(http_server_control(server, settings));
}

double
http_server_counter(const struct http_server *server, const char *name)
{
    cJSON *counters = http_server_control(server, "{}");
    const cJSON *counter = cJSON_GetObjectItemCaseSensitive(counters, name);

    must(counter != NULL, "%s", name);
    double value = counter->valuedouble;
    cJSON_Delete(counters);
    return value;
}

void
http_server_url(const struct http_server *server, const char *dialect, char *out, size_t size)
{
    static const char *const bare[] = {"azure", "tei", "ollama", "cohere", "infinity"};
    const char *path = strcmp(dialect, "gemini") == 0 ? "/v1beta" : "/v1";

    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++)
        if (strcmp(dialect, bare[i]) == 0)
            path = "";
    (void)snprintf(out, size, "http://127.0.0.1:%u%s", server->port, path);
}

void
asker_open(struct asker *asker, const struct http_server *server, const char *dialect, struct provider_options options)
{
    memset(asker, 0, sizeof *asker);
    http_server_url(server, dialect, asker->url, sizeof asker->url);
    options.kind = PROVIDER_OPENAI;
    options.dialect = dialect;
    options.url = options.url != NULL ? options.url : asker->url;
    options.model = options.model != NULL ? options.model : "m";
    options.dimensions = options.dimensions != 0 ? options.dimensions : 16;
    asker->dimensions = options.dimensions;
    asker->arena = arena_new(0);
    must(embedder_open_provider(&http_provider, &options, &asker->embedder, &asker->err) == RC_OK, "%s",
         asker->err.message);
    must(embed_session_open(asker->embedder, &asker->session, &asker->err) == RC_OK, "%s", asker->err.message);
}

void
asker_close(struct asker *asker)
{
    embed_session_close(asker->session);
    embedder_close(asker->embedder);
    arena_free(asker->arena);
}

enum rc
asker_ask(struct asker *asker, const char *const *texts, size_t count, const atomic_bool *cancel)
{
    struct text list[ASK_MAX];

    must(count <= ASK_MAX, "%zu", count);
    for (size_t i = 0; i < count; i++)
        list[i] = (struct text){.bytes = texts[i], .length = strlen(texts[i])};
    memset(asker->results, 0xFF, sizeof asker->results);
    memset(asker->vectors, 0, sizeof asker->vectors);
    asker->err = (struct err)ERR_INIT;
    arena_reset(asker->arena);
    return embed_session_embed(asker->session, list, count, asker->dimensions, asker->vectors, asker->results,
                               &asker->outcome, cancel, asker->arena, &asker->err);
}

bool
asker_has_vector(const struct asker *asker, size_t i, const char *text, size_t length)
{
    float wanted[ASK_DIMENSIONS_MAX];

    hashing_vector(hashing_xxh64("m", 1, 0), text, length, asker->dimensions, wanted);
    return memcmp(wanted, asker->vectors + i * asker->dimensions, asker->dimensions * sizeof(float)) == 0;
}
