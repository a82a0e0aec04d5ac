/* tests/fake_server/settings.h - what the fake server does, as told by options, a JSON file or POST /control. */
#ifndef REEMBED_TESTS_FAKE_SERVER_SETTINGS_H
#define REEMBED_TESTS_FAKE_SERVER_SETTINGS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SETTING_TEXT = 256, FAULTS_MAX = 64 };

enum base64_answer { BASE64_YES, BASE64_IGNORE, BASE64_REFUSE, BASE64_REFUSE_SILENTLY };
enum retry_style { RETRY_SECONDS, RETRY_DATE, RETRY_MS, RETRY_RESET, RETRY_BODY, RETRY_NONE };

enum fault_kind {
    FAULT_STATUS, /* `status`, with the dialect's error body; 429 and 503 with Retry-After */
    FAULT_QUOTA,
    FAULT_HTML,      /* `status` (200) with an HTML page */
    FAULT_ERROR_200, /* an error object under 200 */
    FAULT_REDIRECT,
    FAULT_HANG,       /* no answer */
    FAULT_DRIP,       /* `bytes` every `ms` */
    FAULT_RESET,      /* the connection is reset after `bytes` of the answer */
    FAULT_TRUNCATE,   /* the connection ends after `bytes` of the answer */
    FAULT_CUT_JSON,   /* a whole answer whose body ends after `bytes` */
    FAULT_WRONG_TYPE, /* the vectors are something else: `variant` 0 ... 5 */
    FAULT_GARBAGE,
    FAULT_EMPTY,
    FAULT_BIG_BODY,  /* `bytes` of blanks (100 MB) */
    FAULT_GZIP_BOMB, /* `bytes` of blanks unpacked (1 GB) */
    FAULT_FEWER,
    FAULT_MORE,
    FAULT_DUPLICATE, /* two items with the same index */
    FAULT_REORDER,   /* the right index, another order */
    FAULT_NO_INDEX,
    FAULT_WRONG_MODEL,
    /* of single items: the one numbered `item`, or those whose text has `marker` in it */
    FAULT_NULL,
    FAULT_NULL_ELEMENT,
    FAULT_NAN,
    FAULT_HUGE, /* 1e400, or infinity in base64 */
    FAULT_ZEROS,
    FAULT_WRONG_DIMENSIONS, /* `dimensions` (one fewer) */
    FAULT_KINDS,
};

struct fault {
    enum fault_kind kind;
    int64_t at;         /* the request's number; 0: any */
    int64_t every;      /* every n-th request; 0: any */
    int64_t times;      /* left to do; -1: for ever */
    double probability; /* 1: always */
    char marker[64];    /* "": by `item` */
    int64_t item;       /* -1: all */
    int status;
    enum retry_style retry;
    int64_t retry_ms;
    int64_t bytes;
    int64_t step; /* added to `bytes` each time */
    int64_t ms;
    int64_t variant;
    int64_t dimensions;
    int64_t element; /* of the vector; -1: the first of numbers, the middle of base64 */
};

struct settings {
    char dialect[32];
    char model[SETTING_TEXT]; /* "": any model is known */
    char key[SETTING_TEXT];   /* "": no key is asked for */
    int64_t dimensions;
    int64_t latency_ms;
    int64_t jitter_ms;
    int64_t max_items;          /* -1: the dialect's; 0: none */
    int64_t max_request_tokens; /* -1: the dialect's; 0: none */
    int64_t max_text_tokens;    /* 0: none */
    char too_long_message[128]; /* instead of the dialect's; "": the dialect's */
    bool truncates;             /* too long texts are cut without being asked to */
    enum base64_answer base64;
    bool takes_dimensions;
    bool usage;
    bool gzip;
    int64_t float_digits; /* 9: as a float32 needs; 17: as servers print that compute in doubles */
    char poison[64];      /* a text with this in it makes the request fail; "": none */
    int poison_status;
    int64_t requests_per_minute; /* 0: no limit */
    int64_t minute_ms;           /* how long that minute is */
    int64_t quota_texts;         /* embedded until the quota is empty; -1: no limit */
    enum retry_style retry;
    int64_t retry_ms; /* of 429 by requests_per_minute: until the minute is over when 0 */
    int64_t grace_ms; /* after a wait was told, requests that come this soon are no violation */
    uint64_t seed;
    size_t fault_count;
    struct fault faults[FAULTS_MAX];
};

void settings_default(struct settings *settings);

/* Applies the members of `object`. "faults" replaces all faults, "fault" adds one. */
enum rc settings_apply(struct settings *settings, const cJSON *object, struct err *err);

/* One setting by name; `value` is JSON, or else a string. */
enum rc settings_apply_text(struct settings *settings, const char *name, const char *value, struct err *err);

const char *fault_name(enum fault_kind kind);

/* Names of all settings, faults and styles, for --help. */
void settings_describe(void);

#endif
