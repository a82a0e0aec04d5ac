/* embed/embedder.h - one interface to every embedding model, in process or behind HTTP.
 *
 * An embedder is shared by all threads of the process: the loaded model, the server's address, what was learned of
 * its limits. A session belongs to one thread: scratch memory, a curl handle. The embedder must outlive its sessions.
 *
 * Texts come with the prefix already applied (worker/embed.h does that, and empties, duplicates, cutting into
 * requests, bisection and retries); a session embeds exactly one request. Vectors are row-major float32, `dimensions`
 * numbers a text, in the order of the texts.
 */
#ifndef REEMBED_EMBED_EMBEDDER_H
#define REEMBED_EMBED_EMBEDDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct cJSON;

enum provider_kind { PROVIDER_HASHING, PROVIDER_ONNX, PROVIDER_OPENAI };
enum pooling { POOLING_UNSET, POOLING_MEAN, POOLING_CLS, POOLING_LAST };
enum text_policy { POLICY_TRUNCATE, POLICY_SKIP, POLICY_FAIL };

/* Everything a provider may be told, as read from the migration file. Strings are borrowed: they must live as long as
 * the embedder. NULL or 0: not given. */
struct provider_options {
    enum provider_kind kind;
    const char *model; /* the name the provider knows it by */
    size_t dimensions; /* wanted; 0: whatever the model has */
    const char *document_prefix;
    const char *query_prefix;
    enum text_policy on_too_long; /* default POLICY_TRUNCATE */
    enum text_policy on_empty;    /* POLICY_SKIP or POLICY_FAIL */
    size_t max_tokens;            /* of one text, special tokens counted; 0: the model's own */

    /* onnx */
    const char *path;    /* model folder: model.onnx, tokenizer.json, sentence-transformers files */
    const char *output;  /* name of the graph output to use; NULL: chosen by rank and shape */
    const char *library; /* ONNX Runtime to load; NULL: REEMBED_ONNXRUNTIME, then the usual places */
    enum pooling pooling;
    int normalize; /* -1: as the folder says (default when unset: yes), 0: no, 1: yes */
    int threads;   /* for the whole process; 0: all cores */

    /* openai */
    const char *url;
    const char *dialect;
    const char *api_key;       /* the value, already read from the environment; registered with log_secret */
    int send_dimensions;       /* -1: as the dialect says */
    double timeout_secs;       /* 0: 60 */
    const struct cJSON *extra; /* object whose members are added to each request, or NULL */
    size_t max_items;          /* overrides of the dialect's limits; 0: the dialect's */
    size_t max_request_tokens;
    size_t max_request_bytes;
};

/* What one request may hold. 0: no limit. May change while running (a server's limit was learned). */
struct embed_limits {
    size_t max_items;
    size_t max_request_tokens;
    size_t max_request_bytes;
    size_t max_padded_tokens; /* items x longest text, for models that pad */
    size_t max_text_tokens;   /* a longer text is cut by the embedder when `cuts`, else refused */
    bool cuts;                /* the embedder truncates to max_text_tokens and reports `truncated` */
    bool sort_by_length;      /* requests of nearly equal length are cheaper */
    bool exact_tokens;        /* embedder_count_tokens is exact, else an estimate (bytes / 4) */
};

struct text {
    const char *bytes; /* valid UTF-8, not empty, no NUL inside; not NUL-terminated */
    size_t length;
    bool query; /* a search query, not a document: servers that tell them apart are told */
};

enum text_status {
    TEXT_EMBEDDED = 0,
    TEXT_TOO_LONG,       /* the model or server does not take it; see `on_too_long` */
    TEXT_REJECTED,       /* permanent refusal of exactly this text */
    TEXT_INVALID_VECTOR, /* NaN, infinite, all zero, null, other dimensions, for exactly this text */
    TEXT_UNTRIED,        /* not embedded because another text of this request was refused, and it is known which: the
                            caller sends it again without that one. At least one text of a request has another status */
};

struct text_result {
    enum text_status status;
    bool truncated;
    uint32_t tokens; /* used for this text; 0 where only the request's sum is known */
    int http_status;
    const char *detail; /* in the arena given to embed_session_embed; NULL when embedded */
};

/* Summed up by the caller; every field counts what was really sent, also when the request failed. */
struct embed_usage {
    uint64_t requests;
    uint64_t tokens;
    uint64_t retries; /* of requests, not of texts; counted by worker/ */
};

/* How a failed request must be treated when it is not about single texts. */
enum request_failure {
    REQUEST_OK = 0,
    REQUEST_TRANSPORT, /* no answer, timeout, malformed answer: retry the same request */
    REQUEST_OVERLOAD,  /* 429, 503 with Retry-After: wait `retry_after_ms` (0: back off), then retry */
    REQUEST_SERVER,    /* 5xx, 424: retry, then bisect */
    REQUEST_TOO_MANY,  /* too many items, tokens or bytes: halve; limits were lowered if they could be learned */
    REQUEST_REJECTED,  /* other 4xx: bisect, a single text alone is TEXT_REJECTED */
    REQUEST_HALT,      /* key, quota, unknown model, wrong dimensions: stop the run, exit 5 */
    REQUEST_CANCELLED, /* *cancel became true */
    REQUEST_FATAL,     /* memory, broken model file while running */
};

struct request_outcome {
    enum request_failure failure;
    int64_t retry_after_ms;
    struct embed_usage usage;
    int64_t elapsed_us;
};

/* Asked before each request but the first that one embed_session_embed sends: how the server wants to be asked is found
 * out by asking it, and a text that is too long may be sent once more for the server to cut. `so_far` is what the call
 * has used until now. False: nothing more is sent, the call ends with REQUEST_CANCELLED. Called on the session's thread. */
struct request_gate {
    bool (*further)(void *context, size_t items, size_t tokens, const struct embed_usage *so_far);
    void *context;
};

struct embedder;
struct embed_session;

/* Loads the model or checks the address; no request is sent. RC_INVALID for what the user must change (exit 2),
 * RC_FATAL otherwise. `options` is copied shallowly. */
enum rc embedder_open(const struct provider_options *options, struct embedder **ret_embedder, struct err *err);
struct embedder *embedder_close(struct embedder *embedder); /* NULL is fine; returns NULL */

/* The same with a provider of the caller's own; options->kind is not looked at. */
struct provider_ops;
enum rc embedder_open_provider(const struct provider_ops *ops, const struct provider_options *options,
                               struct embedder **ret_embedder, struct err *err);

const struct provider_options *embedder_options(const struct embedder *embedder);
size_t embedder_dimensions(const struct embedder *embedder); /* 0: not known before the first answer */
void embedder_limits(struct embedder *embedder, struct embed_limits *ret_limits); /* any thread */

/* Tokens of a text, special tokens counted; exact or an estimate, see embed_limits.exact_tokens. Any thread. */
size_t embedder_count_tokens(struct embedder *embedder, const char *bytes, size_t length);

enum rc embed_session_open(struct embedder *embedder, struct embed_session **ret_session, struct err *err);
struct embed_session *embed_session_close(struct embed_session *session);
struct embedder *embed_session_embedder(const struct embed_session *session);

/* `gate` is borrowed until another is set; NULL: further requests are sent without asking. Providers that never send more
 * than one ignore it. */
void embed_session_set_gate(struct embed_session *session, const struct request_gate *gate);

/* Embeds `count` texts in one request. Returns RC_OK when the request as a whole succeeded: then results[i] says what
 * became of each text and vectors[i * dimensions ...] holds it when TEXT_EMBEDDED (finite, norm > 0, checked).
 * Otherwise ret_outcome->failure says how to go on and *err why. `cancel` (may be NULL) aborts a request under way.
 * `vectors` has room for count x dimensions floats. Details are allocated in `arena`. */
enum rc embed_session_embed(struct embed_session *session, const struct text *texts, size_t count, size_t dimensions,
                            float *vectors, struct text_result *results, struct request_outcome *ret_outcome,
                            const atomic_bool *cancel, struct arena *arena, struct err *err);

/* What a provider implements; the functions above only dispatch. `state` of embedder and session are its own. */
struct provider_ops {
    const char *name; /* "hashing", "onnx", "openai" */
    enum rc (*open)(const struct provider_options *options, void **ret_state, struct err *err);
    void (*close)(void *state);
    size_t (*dimensions)(const void *state);
    void (*limits)(void *state, struct embed_limits *ret_limits);
    size_t (*count_tokens)(void *state, const char *bytes, size_t length);
    enum rc (*session_open)(void *state, void **ret_session, struct err *err);
    void (*session_close)(void *session);
    void (*set_gate)(void *session, const struct request_gate *gate); /* NULL: never more than one request */
    enum rc (*embed)(void *session, const struct text *texts, size_t count, size_t dimensions, float *vectors,
                     struct text_result *results, struct request_outcome *ret_outcome, const atomic_bool *cancel,
                     struct arena *arena, struct err *err);
};
extern const struct provider_ops hashing_provider;
extern const struct provider_ops onnx_provider;
extern const struct provider_ops http_provider;

/* Checks a vector in place: finite, not all zero. Used by every provider and by tests. */
bool vector_is_valid(const float *vector, size_t dimensions);

/* --- models known by name (embed/models.c) --- */
struct model_facts {
    const char *name;
    size_t dimensions;
    size_t max_tokens;
    enum pooling pooling;
    const char *document_prefix; /* NULL: none */
    const char *query_prefix;
    size_t min_dimensions;     /* != dimensions when the model can be cut down (Matryoshka) */
    bool in_process;           /* has a WordPiece tokenizer, so the onnx provider can run it */
    bool dimensions_parameter; /* the server takes a `dimensions` parameter */
};

/* Case-insensitive, '_' as '-', an organisation prefix ("sentence-transformers/") dropped. NULL: unknown. */
const struct model_facts *model_find(const char *name);

/* All of them, to be offered: 0, 1, ... until NULL. */
const struct model_facts *model_at(size_t place);

#endif
