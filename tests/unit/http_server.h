/* tests/unit/http_server.h - the fake embeddings server beside a test, and an embedder that talks to it. */
#ifndef REEMBED_TESTS_UNIT_HTTP_SERVER_H
#define REEMBED_TESTS_UNIT_HTTP_SERVER_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "embed/embedder.h"

struct http_server {
    pid_t pid;
    int output;
    uint16_t port;
};

/* `settings`: JSON object. The server ends with the test, whatever happens to it. */
void http_server_start(struct http_server *server, const char *settings);

/* The same with a file for its journal. */
void http_server_start_journal(struct http_server *server, const char *settings, const char *journal);
void http_server_stop(struct http_server *server);

/* Applies settings; returns the counters, to be freed by cJSON_Delete. "{}" only asks. */
struct cJSON *http_server_control(const struct http_server *server, const char *settings);
void http_server_set(const struct http_server *server, const char *settings);
double http_server_counter(const struct http_server *server, const char *name);

enum { ASK_MAX = 64, ASK_DIMENSIONS_MAX = 2048 };

/* An embedder, one session, and the outcome of its latest request. */
struct asker {
    struct embedder *embedder;
    struct embed_session *session;
    struct arena *arena;
    struct err err;
    struct request_outcome outcome;
    struct text_result results[ASK_MAX];
    float vectors[ASK_MAX * ASK_DIMENSIONS_MAX];
    size_t dimensions;
    char url[128];
};

/* The base address that a user would write down for this dialect. */
void http_server_url(const struct http_server *server, const char *dialect, char *out, size_t size);

/* `options` may leave out url and model ("m"); kind, dialect and dimensions (16) are set. */
void asker_open(struct asker *asker, const struct http_server *server, const char *dialect,
                struct provider_options options);
void asker_close(struct asker *asker);

enum rc asker_ask(struct asker *asker, const char *const *texts, size_t count, const atomic_bool *cancel);

/* Is vector i the one of this text for model "m"? */
bool asker_has_vector(const struct asker *asker, size_t i, const char *text, size_t length);

#endif
