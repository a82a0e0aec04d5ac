/* Sessions of many threads share one embedder and what it learns. A program of its own, for ThreadSanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed/hashing.h"
#include "embed/http/dialect.h"
#include "tests/unit/http_server.h"

enum { THREADS = 8, ROUNDS = 40, COUNT = 5, DIMENSIONS = 16, LEARNING = 3 };

static struct asker asker; /* too large for the stack */

struct racer {
    struct embedder *embedder;
    int number;
    int wrong;
    uint64_t requests;
    char message[256];
};

static void
ask(struct racer *racer, struct embed_session *session, int round, struct arena *arena)
{
    char words[COUNT][64];
    struct text texts[COUNT];
    struct text_result results[COUNT];
    struct request_outcome outcome;
    struct embed_limits limits;
    struct err err = ERR_INIT;
    float vectors[COUNT * DIMENSIONS], wanted[DIMENSIONS];

    for (int i = 0; i < COUNT; i++) {
        int length = snprintf(words[i], sizeof words[i], "thread %d round %d text %d", racer->number, round, i);
        texts[i] = (struct text){.bytes = words[i], .length = (size_t)length};
    }
    arena_reset(arena);
    embedder_limits(racer->embedder, &limits);
    if (embed_session_embed(session, texts, COUNT, DIMENSIONS, vectors, results, &outcome, NULL, arena, &err) !=
        RC_OK) {
        racer->wrong++;
        (void)snprintf(racer->message, sizeof racer->message, "%.255s", err.message);
        return;
    }
    racer->requests += outcome.usage.requests;
    for (int i = 0; i < COUNT; i++) {
        hashing_vector(hashing_xxh64("m", 1, 0), texts[i].bytes, texts[i].length, DIMENSIONS, wanted);
        racer->wrong +=
            results[i].status != TEXT_EMBEDDED || memcmp(wanted, vectors + (size_t)i * DIMENSIONS, sizeof wanted) != 0;
    }
}

static void *
race(void *context)
{
    struct racer *racer = context;
    struct embed_session *session = NULL;
    struct arena *arena = arena_new(0);

    if (arena == NULL || embed_session_open(racer->embedder, &session, NULL) != RC_OK) {
        racer->wrong++;
        return NULL;
    }
    for (int round = 0; round < ROUNDS; round++)
        ask(racer, session, round, arena);
    embed_session_close(session);
    arena_free(arena);
    return NULL;
}

int
main(void)
{
    struct http_server server;
    int wrong = 0;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        char settings[256];
        pthread_t threads[THREADS];
        struct racer racers[THREADS];
        uint64_t requests = 0;
        bool takes_dimensions = strstr(row->body, "$dimensions") != NULL || strstr(row->text, "$dimensions") != NULL;

        /* Encoding and dimensions both have to be found out. */
        (void)snprintf(settings, sizeof settings,
                       "{\"reset\":true,\"dialect\":\"%s\",\"model\":\"m\",\"dimensions\":%d,\"base64\":\"refuse\"}",
                       row->name, takes_dimensions ? 2 * DIMENSIONS : DIMENSIONS);
        http_server_set(&server, settings);
        asker_open(&asker, &server, row->name,
                   (struct provider_options){.send_dimensions = -1, .dimensions = DIMENSIONS});
        for (int i = 0; i < THREADS; i++) {
            racers[i] = (struct racer){.embedder = asker.embedder, .number = i};
            if (pthread_create(&threads[i], NULL, race, &racers[i]) != 0)
                abort();
        }
        for (int i = 0; i < THREADS; i++) {
            (void)pthread_join(threads[i], NULL);
            wrong += racers[i].wrong;
            requests += racers[i].requests;
            if (racers[i].wrong != 0)
                fprintf(stderr, "%s: thread %d: %d wrong, %s\n", row->name, i, racers[i].wrong, racers[i].message);
        }
        if (requests != (uint64_t)http_server_counter(&server, "requests") ||
            requests > (uint64_t)THREADS * (ROUNDS + LEARNING)) {
            fprintf(stderr, "%s: %llu requests counted\n", row->name, (unsigned long long)requests);
            wrong++;
        }
        asker_close(&asker);
    }
    http_server_stop(&server);
    return wrong == 0 ? 0 : 1;
}
