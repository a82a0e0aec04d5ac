#include "tests/fake_server/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake_server/shapes.h"

static const char *const fault_names[FAULT_KINDS] = {
    [FAULT_STATUS] = "status",
    [FAULT_QUOTA] = "quota",
    [FAULT_HTML] = "html",
    [FAULT_ERROR_200] = "error_200",
    [FAULT_REDIRECT] = "redirect",
    [FAULT_HANG] = "hang",
    [FAULT_DRIP] = "drip",
    [FAULT_RESET] = "reset",
    [FAULT_TRUNCATE] = "truncate",
    [FAULT_CUT_JSON] = "cut_json",
    [FAULT_WRONG_TYPE] = "wrong_type",
    [FAULT_GARBAGE] = "garbage",
    [FAULT_EMPTY] = "empty",
    [FAULT_BIG_BODY] = "big_body",
    [FAULT_GZIP_BOMB] = "gzip_bomb",
    [FAULT_FEWER] = "fewer",
    [FAULT_MORE] = "more",
    [FAULT_DUPLICATE] = "duplicate",
    [FAULT_REORDER] = "reorder",
    [FAULT_NO_INDEX] = "no_index",
    [FAULT_WRONG_MODEL] = "wrong_model",
    [FAULT_NULL] = "null",
    [FAULT_NULL_ELEMENT] = "null_element",
    [FAULT_NAN] = "nan",
    [FAULT_HUGE] = "huge",
    [FAULT_ZEROS] = "zeros",
    [FAULT_WRONG_DIMENSIONS] = "wrong_dimensions",
};

static const char *const base64_names[] = {"yes", "ignore", "refuse", "refuse_silently", NULL};
static const char *const retry_names[] = {"seconds", "date", "ms", "reset", "body", "none", NULL};

enum member_type { MEMBER_TEXT, MEMBER_INTEGER, MEMBER_INT, MEMBER_BOOLEAN, MEMBER_REAL, MEMBER_BASE64, MEMBER_RETRY };

struct member {
    const char *name;
    enum member_type type;
    size_t offset;
    size_t size; /* of a text */
    const char *about;
};

#define S(name, type, about)                                                                                           \
    {                                                                                                                  \
#name, type, offsetof(struct settings, name), sizeof((struct settings *)0)->name, about                        \
    }
static const struct member setting_members[] = {
    S(dialect, MEMBER_TEXT, "how it speaks (list below)"),
    S(model, MEMBER_TEXT, "the only model it knows; empty: any"),
    S(key, MEMBER_TEXT, "the key it asks for; empty: none"),
    S(dimensions, MEMBER_INTEGER, "of the vectors"),
    S(latency_ms, MEMBER_INTEGER, "before each answer"),
    S(jitter_ms, MEMBER_INTEGER, "up to so much more, by the seed"),
    S(max_items, MEMBER_INTEGER, "texts a request; -1: the dialect's, 0: no limit"),
    S(max_request_tokens, MEMBER_INTEGER, "a request; -1: the dialect's, 0: no limit"),
    S(max_text_tokens, MEMBER_INTEGER, "a text; a token is 4 bytes; 0: no limit"),
    S(too_long_message, MEMBER_TEXT, "what it says of a text that is too long, instead of the dialect's words"),
    S(truncates, MEMBER_BOOLEAN, "texts that are too long are cut without being asked to"),
    S(base64, MEMBER_BASE64, "yes, ignore, refuse, refuse_silently (400 without a reason)"),
    S(takes_dimensions, MEMBER_BOOLEAN, "a request may ask for dimensions"),
    S(usage, MEMBER_BOOLEAN, "tells the tokens used"),
    S(gzip, MEMBER_BOOLEAN, "answers in gzip where it is accepted"),
    S(float_digits, MEMBER_INTEGER, "9, or 17 as servers do that compute in doubles"),
    S(poison, MEMBER_TEXT, "a text with this in it makes its whole request fail"),
    S(poison_status, MEMBER_INT, "with this status"),
    S(requests_per_minute, MEMBER_INTEGER, "then 429; 0: no limit"),
    S(minute_ms, MEMBER_INTEGER, "how long that minute is"),
    S(quota_texts, MEMBER_INTEGER, "texts until the quota is empty; -1: no limit"),
    S(retry, MEMBER_RETRY, "how a wait is told: seconds, date, ms, reset, body, none"),
    S(retry_ms, MEMBER_INTEGER, "the wait; 0: until the minute is over"),
    S(grace_ms, MEMBER_INTEGER, "after a wait was told, requests that come this soon are no violation"),
    S(seed, MEMBER_INTEGER, "of everything random"),
};
#undef S

#define F(name, type, about)                                                                                           \
    {                                                                                                                  \
#name, type, offsetof(struct fault, name), sizeof((struct fault *)0)->name, about                              \
    }
static const struct member fault_members[] = {
    F(at, MEMBER_INTEGER, "at the request with this number (from 1)"),
    F(every, MEMBER_INTEGER, "at every n-th request"),
    F(times, MEMBER_INTEGER, "so often at most"),
    F(probability, MEMBER_REAL, "of each request that fits"),
    F(marker, MEMBER_TEXT, "items (or requests) whose text has this in it"),
    F(item, MEMBER_INTEGER, "the item; -1: all"),
    F(status, MEMBER_INT, "of kinds status and html"),
    F(retry, MEMBER_RETRY, "as above"),
    F(retry_ms, MEMBER_INTEGER, "as above"),
    F(bytes, MEMBER_INTEGER, "of drip, reset, truncate, cut_json, big_body, gzip_bomb"),
    F(step, MEMBER_INTEGER, "added to bytes each time: 1 cuts at each position in turn, then not at all"),
    F(ms, MEMBER_INTEGER, "of drip"),
    F(variant, MEMBER_INTEGER, "of wrong_type, 0 ... 5"),
    F(dimensions, MEMBER_INTEGER, "of wrong_dimensions"),
    F(element, MEMBER_INTEGER, "of null_element, nan, huge"),
};
#undef F

void
settings_default(struct settings *settings)
{
    *settings = (struct settings){
        .dialect = "openai",
        .dimensions = 768,
        .max_items = -1,
        .max_request_tokens = -1,
        .takes_dimensions = true,
        .usage = true,
        .float_digits = 9,
        .poison = "POISON",
        .poison_status = 400,
        .minute_ms = 60000,
        .quota_texts = -1,
        .grace_ms = 100,
        .seed = 1,
    };
}

const char *
fault_name(enum fault_kind kind)
{
    return fault_names[kind];
}

static int
word_number(const char *const *words, const char *word)
{
    for (int i = 0; word != NULL && words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

static enum rc
set_member(void *base, const struct member *member, const cJSON *value, struct err *err)
{
    char *place = (char *)base + member->offset;
    const char *text = cJSON_GetStringValue(value);
    double number = cJSON_IsNumber(value) ? cJSON_GetNumberValue(value) : 0;
    int word = -1;

    switch (member->type) {
    case MEMBER_TEXT:
        if (cJSON_IsNull(value))
            text = "";
        if (text == NULL || strlen(text) >= member->size)
            goto wrong;
        memcpy(place, text, strlen(text) + 1);
        return RC_OK;
    case MEMBER_INTEGER:
        if (!cJSON_IsNumber(value) || number < -1 || number > 1e15)
            goto wrong;
        *(int64_t *)(void *)place = (int64_t)number;
        return RC_OK;
    case MEMBER_INT:
        if (!cJSON_IsNumber(value) || number < 100 || number > 599)
            goto wrong;
        *(int *)(void *)place = (int)number;
        return RC_OK;
    case MEMBER_REAL:
        if (!cJSON_IsNumber(value) || number < 0 || number > 1)
            goto wrong;
        *(double *)(void *)place = number;
        return RC_OK;
    case MEMBER_BOOLEAN:
        if (!cJSON_IsBool(value))
            goto wrong;
        *(bool *)(void *)place = cJSON_IsTrue(value);
        return RC_OK;
    case MEMBER_BASE64:
        if ((word = word_number(base64_names, text)) < 0)
            goto wrong;
        *(enum base64_answer *)(void *)place = (enum base64_answer)word;
        return RC_OK;
    case MEMBER_RETRY:
        if ((word = word_number(retry_names, text)) < 0)
            goto wrong;
        *(enum retry_style *)(void *)place = (enum retry_style)word;
        return RC_OK;
    }
wrong:
    return err_set(err, RC_INVALID, ERR_USAGE, "%s: not such a value (%s)", member->name, member->about);
}

static enum rc
add_fault(struct settings *settings, const cJSON *object, struct err *err)
{
    const char *kind = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "kind"));
    struct fault fault = {.times = -1,
                          .probability = 1,
                          .status = 0,
                          .retry = settings->retry,
                          .retry_ms = 1000,
                          .bytes = -1,
                          .ms = 100,
                          .dimensions = -1,
                          .element = -1};
    int number = 0;

    while (number < FAULT_KINDS && (kind == NULL || strcmp(kind, fault_names[number]) != 0))
        number++;
    if (number == FAULT_KINDS)
        return err_set(err, RC_INVALID, ERR_USAGE, "fault: there is no kind \"%s\"", kind != NULL ? kind : "");
    if (settings->fault_count >= FAULTS_MAX)
        return err_set(err, RC_INVALID, ERR_USAGE, "there are too many faults");
    fault.kind = (enum fault_kind)number;

    const cJSON *item;
    cJSON_ArrayForEach (item, object) {
        size_t i = 0, count = sizeof fault_members / sizeof fault_members[0];
        if (strcmp(item->string, "kind") == 0)
            continue;
        while (i < count && strcmp(item->string, fault_members[i].name) != 0)
            i++;
        if (i == count)
            return err_set(err, RC_INVALID, ERR_USAGE, "fault: there is no member \"%s\"", item->string);
        enum rc rc = set_member(&fault, &fault_members[i], item, err);
        if (rc != RC_OK)
            return rc;
    }
    settings->faults[settings->fault_count++] = fault;
    return RC_OK;
}

enum rc
settings_apply(struct settings *settings, const cJSON *object, struct err *err)
{
    const cJSON *item, *fault;
    enum rc rc = RC_OK;

    if (!cJSON_IsObject(object))
        return err_set(err, RC_INVALID, ERR_USAGE, "settings are a JSON object");
    cJSON_ArrayForEach (item, object) {
        size_t i = 0, count = sizeof setting_members / sizeof setting_members[0];

        if (strcmp(item->string, "fault") == 0) {
            if ((rc = add_fault(settings, item, err)) != RC_OK)
                return rc;
            continue;
        }
        if (strcmp(item->string, "faults") == 0) {
            settings->fault_count = 0;
            cJSON_ArrayForEach (fault, item) {
                if ((rc = add_fault(settings, fault, err)) != RC_OK)
                    return rc;
            }
            continue;
        }
        while (i < count && strcmp(item->string, setting_members[i].name) != 0)
            i++;
        if (i == count)
            return err_set(err, RC_INVALID, ERR_USAGE, "there is no setting \"%s\"", item->string);
        if ((rc = set_member(settings, &setting_members[i], item, err)) != RC_OK)
            return rc;
    }
    if (shape_find(settings->dialect) == NULL)
        return err_set(err, RC_INVALID, ERR_USAGE, "there is no dialect \"%s\"", settings->dialect);
    if (settings->dimensions < 1 || settings->dimensions > 65536)
        return err_set(err, RC_INVALID, ERR_USAGE, "dimensions are from 1 to 65536");
    return RC_OK;
}

enum rc
settings_apply_text(struct settings *settings, const char *name, const char *value, struct err *err)
{
    char *key = strdup(name);
    cJSON *object = cJSON_CreateObject();
    cJSON *parsed = cJSON_Parse(value);
    enum rc rc = RC_FATAL;

    if (parsed == NULL)
        parsed = cJSON_CreateString(value);
    if (key == NULL || object == NULL || parsed == NULL) {
        cJSON_Delete(parsed);
        rc = err_memory(err);
        goto out;
    }
    for (char *at = key; *at != '\0'; at++)
        if (*at == '-')
            *at = '_';
    if (!cJSON_AddItemToObject(object, key, parsed)) {
        cJSON_Delete(parsed);
        rc = err_memory(err);
        goto out;
    }
    rc = settings_apply(settings, object, err);
out:
    cJSON_Delete(object);
    free(key);
    return rc;
}

void
settings_describe(void)
{
    printf("settings:\n");
    for (size_t i = 0; i < sizeof setting_members / sizeof setting_members[0]; i++)
        printf("  %-22s %s\n", setting_members[i].name, setting_members[i].about);
    printf("  %-22s a JSON object: adds one\n  %-22s an array of them: replaces all\n", "fault", "faults");
    printf("\nfault kinds:\n ");
    for (int i = 0; i < FAULT_KINDS; i++)
        printf(" %s", fault_names[i]);
    printf("\n\nmembers of a fault beside \"kind\":\n");
    for (size_t i = 0; i < sizeof fault_members / sizeof fault_members[0]; i++)
        printf("  %-22s %s\n", fault_members[i].name, fault_members[i].about);
    printf("\ndialects:\n ");
    for (const struct shape *shape = shapes; shape->name != NULL; shape++)
        printf(" %s", shape->name);
    printf("\n");
}
