/* A provider whose faults are written in the texts and in a script: for tests of worker/embed.h.
 *
 * A text that begins with one of these is at fault, wherever it is sent:
 *   "reject:"   4xx      "server:"   500 whenever a request holds it      "vector:"   an unusable vector
 *   "flaky:N:"  500 for the first N requests that hold it
 *   "long:"     too long
 * Everything else is embedded as the hashing provider would. */
#ifndef REEMBED_TESTS_SCRIPTED_PROVIDER_H
#define REEMBED_TESTS_SCRIPTED_PROVIDER_H

#include <stdbool.h>

#include "embed/embedder.h"

#define SCRIPTED_MAX_CALLS 100000

struct scripted_call {
    size_t count;
    size_t first_length; /* of texts[0] */
    size_t bytes;
    size_t longest;
};

struct script {
    struct embed_limits limits;
    size_t dimensions;

    bool per_text;         /* refusals name the text: the reply is whole, the others of it are untried */
    bool others_embedded;  /* with per_text: the others are embedded in the same reply */
    size_t hidden_items;   /* more texts than this: too many; 0: no such limit */
    size_t hidden_bytes;   /* a text longer than this is too long; 0: no such limit */
    bool long_is_too_many; /* a single text that is too long is answered as "too many tokens" */

    bool refuse_all;      /* 4xx for everything, whatever it is */
    size_t refuse_from;   /* the same from this call on; 0: never */
    size_t halt_from;     /* REQUEST_HALT from this call on (1 is the first); 0: never */
    size_t down_from;     /* no answer from this call on; 0: never */
    size_t fail_5xx_from; /* 500 from this call on; 0: never */
    size_t unsound_calls; /* the first replies decide about no text */
    unsigned transient;   /* percent of calls that fail once with no answer, 429 or 500 */
    uint64_t random;      /* state of the generator for `transient` */
    size_t overload_once; /* this call is answered 429 with a Retry-After of 1,234 ms */
    void (*on_call)(struct script *script, size_t call);
    void *context;

    size_t calls;
    size_t flaky_seen[256];
    bool last_was_transient;
    struct scripted_call call[SCRIPTED_MAX_CALLS];
};

extern const struct provider_ops scripted_provider;

/* The script the next session works by. One thread. */
extern struct script script;

uint64_t scripted_random(uint64_t *state);

#endif
