#include "embed/http/refusal.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/escape.h"
#include "base/json.h"
#include "base/log.h"
#include "embed/http/retry_after.h"

enum {
    BODY_READ_MAX = 4096, /* of a body, for finding words in it */
};

struct refusal_rule {
    const char *dialect; /* NULL: all */
    int status;          /* 0: all */
    const char *pattern; /* lower case; looked for in "code=C type=T status=S message" and in the body */
    enum refusal_kind kind;
};

/* The first that fits decides. Words of one server are looked for in all dialects where no other would use them:
 * gateways pass on the words of what is behind them. */
static const struct refusal_rule rules[] = {
    /* quota */
    {NULL, 402, "", REFUSAL_QUOTA},
    {NULL, 429, "insufficient_quota", REFUSAL_QUOTA},
    {NULL, 403, "insufficient_quota", REFUSAL_QUOTA},
    {NULL, 429, "billing_hard_limit", REFUSAL_QUOTA},
    {NULL, 429, "billing_not_active", REFUSAL_QUOTA},
    {"gemini", 429, "perday", REFUSAL_QUOTA},
    {"gemini", 429, "", REFUSAL_OVERLOAD}, /* says "exceeded your current quota" of a minute's, too */
    {NULL, 429, "exceeded your current quota", REFUSAL_QUOTA},
    {NULL, 429, "insufficient balance", REFUSAL_QUOTA},
    {NULL, 429, "calls / month", REFUSAL_QUOTA},

    /* key and model where the status does not say so */
    {NULL, 400, "api key not valid", REFUSAL_KEY},
    {NULL, 400, "code=invalid_api_key", REFUSAL_KEY},
    {NULL, 400, "code=model_not_found", REFUSAL_MODEL},
    {NULL, 400, "the model `*` does not exist", REFUSAL_MODEL},
    {"mistral", 400, "invalid model", REFUSAL_MODEL},
    {"infinity", 400, "invalid model", REFUSAL_MODEL},
    {"voyage", 400, "is not supported. supported models are", REFUSAL_MODEL},

    /* too many items */
    {NULL, 0, "maximum allowed batch size {limit}", REFUSAL_ITEMS},
    {NULL, 0, "array too long*maximum length {limit}", REFUSAL_ITEMS},
    {NULL, 0, "max number of inputs is {limit}", REFUSAL_ITEMS},
    {NULL, 0, "at most {limit} requests can be in one batch", REFUSAL_ITEMS},
    {NULL, 0, "number of texts must be at most {limit}", REFUSAL_ITEMS},
    {NULL, 0, "should have at most {limit} items", REFUSAL_ITEMS},
    {NULL, 0, "number of inputs exceeds the maximum of {limit}", REFUSAL_ITEMS},
    {NULL, 0, "batch size limit is {limit}", REFUSAL_ITEMS},
    {NULL, 0, "too many inputs in request", REFUSAL_ITEMS},
    {NULL, 0, "batch size exceeds", REFUSAL_ITEMS},

    /* too many tokens or bytes in all */
    {NULL, 0, "max {limit} tokens per request", REFUSAL_TOKENS},
    {NULL, 0, "max allowed tokens per submitted batch is {limit}", REFUSAL_TOKENS},
    {NULL, 429, "request too large for*limit {limit}, requested", REFUSAL_TOKENS},
    {NULL, 0, "too many tokens overall", REFUSAL_TOKENS},
    {NULL, 0, "code=max_tokens_per_request", REFUSAL_TOKENS},
    {NULL, 0, "payload size exceeds the limit: {limit} bytes", REFUSAL_BYTES},
    {NULL, 0, "length limit exceeded", REFUSAL_BYTES},
    {NULL, 0, "request entity too large", REFUSAL_BYTES},
    {NULL, 0, "payload too large", REFUSAL_BYTES},

    /* one text too long, the text named */
    {NULL, 0, "invalid 'input[{index}]': maximum context length is {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "invalid 'input[{index}]': maximum input length is {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "example at index {index} in your batch has too many tokens*context window of {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "input id {index} has {any} tokens, exceeding max {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "requests[{index}]*maximum number of tokens", REFUSAL_TOO_LONG},

    /* one text too long, somewhere */
    {NULL, 0, "maximum context length is {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "maximum input length is {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "maximum model length of {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "max context {limit} tokens", REFUSAL_TOO_LONG},
    {NULL, 0, "must have less than {limit} tokens", REFUSAL_TOO_LONG},
    {NULL, 0, "fit into the model's context window of {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "exceeds the model's maximum of {limit} tokens", REFUSAL_TOO_LONG},
    {NULL, 0, "token count is {any} but the model supports up to {limit}", REFUSAL_TOO_LONG},
    {NULL, 0, "too large to process. increase the physical batch size (current batch size: {limit})", REFUSAL_TOO_LONG},
    {NULL, 0, "too large to process. increase the physical batch size", REFUSAL_TOO_LONG},
    {NULL, 0, "exceeds the context length", REFUSAL_TOO_LONG},
    {NULL, 0, "input length exceeds the batch size", REFUSAL_TOO_LONG},
    {NULL, 0, "string should have at most {any} characters", REFUSAL_TOO_LONG},
    {NULL, 0, "exceeds maximum context length", REFUSAL_TOO_LONG},
    {NULL, 0, "exceeds the available context size", REFUSAL_TOO_LONG},
    {NULL, 0, "code=context_length_exceeded", REFUSAL_TOO_LONG},
    {NULL, 0, "input_token_limit_exceeded", REFUSAL_TOO_LONG},
    {"cohere", 400, "too many tokens", REFUSAL_TOO_LONG},
    {NULL, 0, "input is too long", REFUSAL_TOO_LONG},

    /* parameters */
    {NULL, 400, "does not support specifying dimensions", REFUSAL_DIMENSIONS},
    {NULL, 400, "does not support matryoshka", REFUSAL_DIMENSIONS},
    {NULL, 422, "dimensions", REFUSAL_DIMENSIONS},
    {NULL, 400, "encoding_format", REFUSAL_ENCODING},
    {NULL, 422, "encoding_format", REFUSAL_ENCODING},
    {NULL, 400, "base64", REFUSAL_ENCODING},
    {NULL, 422, "base64", REFUSAL_ENCODING},
    {NULL, 400, "embedding_type", REFUSAL_ENCODING},
    {NULL, 422, "embedding_type", REFUSAL_ENCODING},
};

static bool
match_here(const char *pattern, const char *text, uint64_t *ret_limit, uint64_t *ret_index)
{
    while (*pattern != '\0') {
        if (*pattern == '*') {
            for (; *text != '\0'; text++)
                if (match_here(pattern + 1, text, ret_limit, ret_index))
                    return true;
            return false;
        }
        if (*pattern == '{') {
            const char *name = pattern + 1;
            uint64_t value = 0;

            if (*text < '0' || *text > '9')
                return false;
            for (; *text >= '0' && *text <= '9'; text++)
                value = value > UINT32_MAX ? value : value * 10 + (uint64_t)(*text - '0');
            if (*name == 'l')
                *ret_limit = value;
            else if (*name == 'i')
                *ret_index = value;
            pattern = strchr(pattern, '}') + 1;
            continue;
        }
        if (*pattern++ != *text++)
            return false;
    }
    return true;
}

bool
refusal_match(const char *pattern, const char *text, uint64_t *ret_limit, uint64_t *ret_index)
{
    if (*pattern == '\0')
        return true;
    for (; *text != '\0'; text++)
        if (match_here(pattern, text, ret_limit, ret_index))
            return true;
    return false;
}

static const char *
member_text(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static const char *
first_text(const char *a, const char *b)
{
    return a != NULL && *a != '\0' ? a : b;
}

/* The shapes in use: {"error":{…}}, {"error":"…"}, {"message":…}, {"detail":…}, {"detail":[{"msg":…}]}, [{…}] */
static void
read_error(const cJSON *root, struct refusal *refusal, char *ret_words, size_t size)
{
    const cJSON *error = cJSON_IsArray(root) ? cJSON_GetArrayItem(root, 0) : root;
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(error, "error");
    const cJSON *detail = cJSON_GetObjectItemCaseSensitive(error, "detail");
    const char *message = NULL;

    if (cJSON_IsObject(inner))
        error = inner;
    else
        message = cJSON_GetStringValue(inner);
    if (cJSON_IsObject(detail))
        error = detail;
    else if (cJSON_IsArray(detail))
        message = first_text(message, member_text(cJSON_GetArrayItem(detail, 0), "msg"));
    else
        message = first_text(message, cJSON_GetStringValue(detail));
    message = first_text(message, first_text(member_text(error, "message"), member_text(error, "msg")));

    const char *code = member_text(error, "code");
    const char *type = first_text(member_text(error, "type"), member_text(error, "error_type"));
    const char *status = member_text(error, "status");

    (void)snprintf(ret_words, size, "code=%s type=%s status=%s %s", code != NULL ? code : "", type != NULL ? type : "",
                   status != NULL ? status : "", message != NULL ? message : "");
    if (message != NULL)
        (void)snprintf(refusal->message, sizeof refusal->message, "%s", message);
    else if (first_text(code, type) != NULL)
        (void)snprintf(refusal->message, sizeof refusal->message, "%s", first_text(code, type));

    const cJSON *item;
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(error, "details")) {
        const char *delay = member_text(item, "retryDelay");
        int64_t wait = delay != NULL ? retry_after_duration(delay, strlen(delay)) : -1;
        if (wait > 0)
            refusal->retry_after_ms = wait;
    }
}

static void
lower(char *text)
{
    for (; *text != '\0'; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* Whatever the server sent becomes one line that a terminal and a JSON log can take. */
static void
clean_line(char *text, size_t size)
{
    char line[sizeof(((struct refusal *)0)->message)];
    size_t length = strlen(text), used = 0;

    for (size_t at = 0; at < length;) {
        char out[ESCAPE_MAX];
        size_t taken = 1;
        size_t written = 1;

        if (isspace((unsigned char)text[at]) || iscntrl((unsigned char)text[at])) {
            out[0] = ' ';
            if (used > 0 && line[used - 1] == ' ')
                written = 0;
        } else {
            written = escape_text(text + at, length - at, out, &taken);
        }
        if (used + written >= sizeof line)
            break;
        memcpy(line + used, out, written);
        used += written;
        at += taken;
    }
    line[used] = '\0';
    (void)snprintf(text, size, "%s", line);
}

static enum refusal_kind
kind_by_status(long status, bool retry_after)
{
    if (status >= 300 && status < 400)
        return REFUSAL_REDIRECT;
    switch (status) {
    case 401:
    case 403:
    case 407:
        return REFUSAL_KEY;
    case 404:
    case 405:
    case 410:
        return REFUSAL_MODEL;
    case 408:
    case 425:
        return REFUSAL_TRANSPORT;
    case 413:
        return REFUSAL_BYTES;
    case 424:
        return REFUSAL_SERVER;
    case 429:
        return REFUSAL_OVERLOAD;
    case 503:
    case 529:
        return retry_after || status == 529 ? REFUSAL_OVERLOAD : REFUSAL_SERVER;
    default:
        return status >= 500 ? REFUSAL_SERVER : REFUSAL_OTHER;
    }
}

static bool
is_final(enum refusal_kind kind)
{
    return kind == REFUSAL_KEY || kind == REFUSAL_MODEL || kind == REFUSAL_REDIRECT;
}

void
refusal_read(const char *dialect, long status, bool retry_after, const char *body, size_t length,
             struct refusal *ret_refusal)
{
    char words[2048] = "";
    char *text = malloc(length + 1);
    cJSON *root = NULL;

    *ret_refusal = (struct refusal){.kind = kind_by_status(status, retry_after), .status = status};
    if (text == NULL) {
        ret_refusal->kind = REFUSAL_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < length; i++)
        text[i] = body[i] == '\0' ? ' ' : body[i];
    text[length] = '\0';
    log_scrub(text); /* before anything is cut away: half a key is one, too */
    json_watch_memory();
    root = cJSON_Parse(text);
    if (json_memory_failed()) {
        ret_refusal->kind = REFUSAL_NO_MEMORY;
        cJSON_Delete(root);
        free(text);
        return;
    }
    if (root != NULL)
        read_error(root, ret_refusal, words, sizeof words);
    cJSON_Delete(root);
    lower(words);
    text[strnlen(text, BODY_READ_MAX)] = '\0';
    if (ret_refusal->message[0] == '\0') {
        if (strcasestr(text, "<html") != NULL || strcasestr(text, "<!doctype") != NULL)
            (void)snprintf(ret_refusal->message, sizeof ret_refusal->message, "an HTML page, no JSON");
        else
            (void)snprintf(ret_refusal->message, sizeof ret_refusal->message, "%.*s", 200, text);
    }
    clean_line(ret_refusal->message, sizeof ret_refusal->message);
    if (strspn(ret_refusal->message, " ") == strlen(ret_refusal->message))
        (void)snprintf(ret_refusal->message, sizeof ret_refusal->message, "an empty answer");
    lower(text);

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const struct refusal_rule *rule = &rules[i];
        uint64_t limit = 0, index = UINT64_MAX;

        if ((rule->status != 0 && rule->status != status) ||
            (rule->dialect != NULL && strcmp(rule->dialect, dialect) != 0))
            continue;
        /* A status that stops for good is believed, whatever words come with it: only an empty quota says more. */
        if (is_final(ret_refusal->kind) && rule->kind != REFUSAL_QUOTA)
            continue;
        if (!refusal_match(rule->pattern, words, &limit, &index) && !refusal_match(rule->pattern, text, &limit, &index))
            continue;
        ret_refusal->kind = rule->kind;
        ret_refusal->limit = limit;
        ret_refusal->has_index = index <= UINT32_MAX;
        ret_refusal->index = ret_refusal->has_index ? (size_t)index : 0;
        break;
    }
    free(text);
}
