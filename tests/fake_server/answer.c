#include "tests/fake_server/answer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "embed/hashing.h"
#include "tests/fake_server/vectors.h"
#include "tests/fake_server/work.h"

/* --- small things --- */

static uint64_t
random_next(struct fake *fake)
{
    uint64_t z = fake->random += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double
random_unit(struct fake *fake)
{
    return (double)(random_next(fake) >> 11) / 9007199254740992.0;
}

bool
header_value(const char *head, const char *name, char *out, size_t size)
{
    size_t length = strlen(name);

    for (const char *line = head; line != NULL && *line != '\0';
         line = strstr(line, "\r\n") != NULL ? strstr(line, "\r\n") + 2 : NULL) {
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *value = line + length + 1;
        value += strspn(value, " \t");
        size_t end = strcspn(value, "\r\n");
        (void)snprintf(out, size, "%.*s", (int)end, value);
        return true;
    }
    return false;
}

/* --- reading the request --- */

/* Does the path fit? Then the model in it, if it has one, is taken. */
static bool
path_fits(struct work *work, const char *path)
{
    const char *pattern = work->shape->path, *mark = strstr(pattern, "$MODEL");
    size_t length = strcspn(path, "?");

    if (work->shape->query != NULL && strstr(path + length, work->shape->query) == NULL)
        return false;
    if (mark == NULL)
        return strlen(pattern) == length && memcmp(path, pattern, length) == 0;

    size_t before = (size_t)(mark - pattern), after = strlen(mark + 6);
    if (length < before + after || memcmp(path, pattern, before) != 0 ||
        memcmp(path + length - after, mark + 6, after) != 0)
        return false;
    (void)snprintf(work->model, sizeof work->model, "%.*s", (int)(length - before - after), path + before);
    return true;
}

static bool
key_fits(struct work *work, const char *head)
{
    char wanted[sizeof work->key];

    if (work->fake->settings.key[0] == '\0')
        return true;
    (void)snprintf(wanted, sizeof wanted, "%s%s", work->shape->key_prefix, work->fake->settings.key);
    return header_value(head, work->shape->key_header, work->key, sizeof work->key) && strcmp(work->key, wanted) == 0;
}

static const char *
text_of(const struct shape *shape, const cJSON *item)
{
    if (shape->reply != REPLY_FORM_GEMINI)
        return cJSON_GetStringValue(item);
    const cJSON *parts = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(item, "content"), "parts");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(parts, 0), "text"));
}

static bool
read_texts(struct work *work)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(work->root, work->shape->texts), *item;
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;

    if (count <= 0)
        return false;
    work->texts = calloc((size_t)count, sizeof *work->texts);
    work->lengths = calloc((size_t)count, sizeof *work->lengths);
    if (work->texts == NULL || work->lengths == NULL)
        return false;
    cJSON_ArrayForEach (item, list) {
        const char *text = text_of(work->shape, item);
        if (text == NULL || *text == '\0')
            return false;
        work->texts[work->count] = text;
        work->lengths[work->count] = strlen(text);
        work->count++;
    }
    return true;
}

/* Options stand beside the texts, but in Gemini's form inside each of them. */
static const cJSON *
option(const struct work *work, const char *name)
{
    const cJSON *place = work->root;

    if (name == NULL)
        return NULL;
    if (work->shape->reply == REPLY_FORM_GEMINI)
        place = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(work->root, work->shape->texts), 0);
    return cJSON_GetObjectItemCaseSensitive(place, name);
}

static bool
wants_truncation(const struct work *work)
{
    const cJSON *given = option(work, work->shape->truncate);

    if (work->fake->settings.truncates || work->shape->always_truncates)
        return true;
    if (given == NULL)
        return work->shape->truncate_default;
    char *text = cJSON_PrintUnformatted(given);
    bool wanted = text != NULL && strcmp(text, work->shape->truncate_on) == 0;
    cJSON_free(text);
    return wanted;
}

static bool
wants_base64(const struct work *work)
{
    const cJSON *given = option(work, work->shape->encoding);

    if (cJSON_IsArray(given))
        given = cJSON_GetArrayItem(given, 0);
    const char *text = cJSON_GetStringValue(given);
    return text != NULL && strcmp(text, "base64") == 0;
}

/* --- faults --- */

static bool
has_marker(const struct work *work, const char *marker)
{
    for (size_t i = 0; i < work->count; i++)
        if (work->texts[i] != NULL && strstr(work->texts[i], marker) != NULL)
            return true;
    return false;
}

/* The first fault that fits this request; those of items count as one when any item is hit. */
static void
choose_fault(struct work *work)
{
    struct fake *fake = work->fake;

    for (size_t i = 0; i < fake->settings.fault_count; i++) {
        struct fault *fault = &fake->settings.faults[i];
        if (fault->times == 0 || (fault->at > 0 && (uint64_t)fault->at != work->number) ||
            (fault->every > 0 && work->number % (uint64_t)fault->every != 0) ||
            (fault->marker[0] != '\0' && !has_marker(work, fault->marker)))
            continue;
        if (fault->probability < 1 && random_unit(fake) >= fault->probability)
            continue;
        if (fault->times > 0)
            fault->times--;
        work->spoiled = *fault; /* as it is now: it moves on */
        if (fault->bytes >= 0)
            fault->bytes += fault->step;
        fake->counters.faults++;
        work->fault = &work->spoiled;
        work->outcome = fault_name(fault->kind);
        return;
    }
}

static void
respond_huge(struct work *work, bool packed)
{
    uint64_t bytes = work->fault->bytes >= 0 ? (uint64_t)work->fault->bytes : packed ? 1u << 30 : 100u << 20;
    struct strbuf body;

    strbuf_init(&body, OUT_MAX);
    if (packed)
        gzip_put_bomb(&body, bytes);
    else
        strbuf_puts(&body, "{\"data\":[");
    strbuf_printf(&work->answer->bytes,
                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %llu\r\n\r\n",
                  packed ? "Content-Encoding: gzip\r\n" : "", (unsigned long long)(body.length + (packed ? 0 : bytes)));
    strbuf_add(&work->answer->bytes, strbuf_text(&body), body.length);
    work->answer->blanks = packed ? 0 : bytes;
    strbuf_free(&body);
}

/* Faults that take the place of an answer. False: an answer is to be made. */
static bool
respond_fault(struct work *work)
{
    const struct fault *fault = work->fault;
    struct strbuf body;

    if (fault == NULL)
        return false;
    strbuf_init(&body, OUT_MAX);
    switch (fault->kind) {
    case FAULT_STATUS: {
        int status = fault->status != 0 ? fault->status : 503;
        struct shape_error error = {status, "server_error", NULL, "it failed on purpose"};
        if (status == 429)
            error = work->shape->rate;
        error.status = status;
        if (status == 429 || status == 503)
            respond_overload(work, &error, fault->retry, fault->retry_ms);
        else
            respond_error(work, &error, 0, 0, 0, "", 0);
        break;
    }
    case FAULT_QUOTA:
        respond_error(work, &work->shape->quota, 0, 0, 0, "", 0);
        break;
    case FAULT_HTML:
        strbuf_puts(&body, "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>");
        respond(work, fault->status != 0 ? fault->status : 200, "text/html", "", &body);
        break;
    case FAULT_ERROR_200:
        strbuf_puts(&body, "{\"error\":{\"message\":\"upstream failed\",\"code\":502}}");
        respond(work, 200, "application/json", "", &body);
        break;
    case FAULT_REDIRECT:
        respond(work, 307, "text/plain", "Location: http://127.0.0.1:1/elsewhere?key=1\r\n", &body);
        break;
    case FAULT_HANG:
        work->answer->end = END_HANG;
        break;
    case FAULT_GARBAGE:
        strbuf_puts(&body, "\x01\x02\x03 not JSON at all");
        respond(work, 200, "application/json", "", &body);
        break;
    case FAULT_EMPTY:
        respond(work, 200, "application/json", "", &body);
        break;
    case FAULT_BIG_BODY:
    case FAULT_GZIP_BOMB:
        respond_huge(work, fault->kind == FAULT_GZIP_BOMB);
        break;
    default:
        strbuf_free(&body);
        return false;
    }
    strbuf_free(&body);
    return true;
}

/* --- limits --- */

static int64_t
limit_of(int64_t setting, int dialect)
{
    return setting >= 0 ? setting : dialect;
}

/* True when a limit was passed and said so. */
static bool
respond_limit(struct work *work)
{
    const struct settings *settings = &work->fake->settings;
    const struct shape *shape = work->shape;
    int64_t max_items = limit_of(settings->max_items, shape->max_items);
    int64_t max_tokens = limit_of(settings->max_request_tokens, shape->max_request_tokens);
    bool truncates = wants_truncation(work);

    if (max_items > 0 && work->count > (size_t)max_items) {
        work->outcome = "too_many_items";
        respond_error(work, &shape->too_many, max_items, (int64_t)work->count, 0, "", 0);
        return true;
    }
    for (size_t i = 0; i < work->count; i++) {
        int64_t tokens = (int64_t)(work->lengths[i] + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN;
        if (settings->max_text_tokens > 0 && tokens > settings->max_text_tokens) {
            if (!truncates) {
                work->outcome = "too_long";
                struct shape_error error = shape->too_long;
                if (settings->too_long_message[0] != '\0')
                    error = (struct shape_error){.status = 400, .message = settings->too_long_message};
                respond_error(work, &error, settings->max_text_tokens, tokens, (int64_t)i, "", 0);
                return true;
            }
            tokens = settings->max_text_tokens;
        }
        work->tokens += (uint64_t)tokens;
    }
    if (max_tokens > 0 && work->tokens > (uint64_t)max_tokens) {
        work->outcome = "too_many_tokens";
        respond_error(work, shape->too_many_tokens.message != NULL ? &shape->too_many_tokens : &shape->too_many,
                      max_tokens, (int64_t)work->tokens, 0, "", 0);
        return true;
    }
    if (settings->poison[0] != '\0' && has_marker(work, settings->poison)) {
        work->outcome = "poison";
        respond_plain(work, settings->poison_status, "invalid_request_error", "the input could not be processed");
        return true;
    }
    if (settings->quota_texts >= 0 && work->fake->counters.texts + work->count > (uint64_t)settings->quota_texts) {
        work->outcome = "quota";
        respond_error(work, &shape->quota, 0, 0, 0, "", 0);
        return true;
    }
    return false;
}

/* True when the request asks for something that this server doesn't do, and it said so. */
static bool
respond_options(struct work *work)
{
    const struct settings *settings = &work->fake->settings;
    const struct shape *shape = work->shape;
    const cJSON *dimensions = option(work, shape->dimensions);

    if (shape->input_type != NULL && cJSON_GetStringValue(option(work, shape->input_type)) == NULL) {
        work->outcome = "no_input_type";
        respond_plain(work, 400, "invalid_request_error", "the input type is missing");
        return true;
    }
    work->dimensions = (size_t)settings->dimensions;
    if (dimensions != NULL && !cJSON_IsNull(dimensions)) {
        if (!settings->takes_dimensions || !cJSON_IsNumber(dimensions) || dimensions->valuedouble < 1 ||
            dimensions->valuedouble > DIMENSIONS_MAX) {
            work->outcome = "bad_dimensions";
            respond_error(work, &shape->bad_dimensions, 0, 0, 0, "", 0);
            return true;
        }
        work->dimensions = (size_t)dimensions->valuedouble;
    }
    work->base64 = wants_base64(work);
    if (work->base64 && settings->base64 == BASE64_IGNORE)
        work->base64 = false;
    if (work->base64 && settings->base64 == BASE64_REFUSE) {
        work->outcome = "bad_encoding";
        respond_error(work, &shape->bad_encoding, 0, 0, 0, "", 0);
        return true;
    }
    if (work->base64 && settings->base64 == BASE64_REFUSE_SILENTLY) {
        work->outcome = "bad_encoding";
        respond_plain(work, 400, "bad_request", "bad request");
        return true;
    }
    return false;
}

/* True when the rate is over its limit, and it said so. */
static bool
respond_rate(struct work *work)
{
    struct fake *fake = work->fake;
    const struct settings *settings = &fake->settings;

    if (fake->wait_until > work->now && work->now > fake->wait_told + settings->grace_ms) {
        fake->counters.violations++;
        work->violation = true;
    }
    if (settings->requests_per_minute <= 0)
        return false;
    if (work->now >= fake->minute_began + settings->minute_ms) {
        fake->minute_began = work->now;
        fake->minute_requests = 0;
    }
    if (++fake->minute_requests <= settings->requests_per_minute)
        return false;
    work->outcome = "rate_limit";
    respond_overload(work, &work->shape->rate, settings->retry,
                     settings->retry_ms > 0 ? settings->retry_ms
                                            : fake->minute_began + settings->minute_ms - work->now);
    return true;
}

/* --- journal and control --- */

static void
write_journal(const struct work *work, uint64_t connection)
{
    FILE *journal = work->fake->journal;

    if (journal == NULL)
        return;
    fprintf(journal,
            "{\"at\":%lld,\"request\":%llu,\"connection\":%llu,\"texts\":%zu,\"tokens\":%llu,\"status\":%d,"
            "\"outcome\":\"%s\",\"violation\":%s,\"in_flight\":%llu,\"hashes\":[",
            (long long)work->now, (unsigned long long)work->number, (unsigned long long)connection, work->count,
            (unsigned long long)work->tokens, work->status, work->outcome, work->violation ? "true" : "false",
            (unsigned long long)work->fake->counters.in_flight + 1);
    for (size_t i = 0; i < work->count; i++)
        fprintf(journal, "%s\"%016llx\"", i > 0 ? "," : "",
                (unsigned long long)hashing_xxh64(work->texts[i], work->lengths[i], 0));
    fprintf(journal, "]}\n");
    (void)fflush(journal);
}

static void
respond_counters(struct work *work)
{
    const struct counters *counters = &work->fake->counters;
    struct strbuf body;

    strbuf_init(&body, 65536);
    strbuf_printf(
        &body,
        "{\"requests\":%llu,\"texts\":%llu,\"unique_texts\":%zu,\"repeated_texts\":%llu,\"tokens\":%llu,"
        "\"faults\":%llu,\"refused\":%llu,\"packed\":%llu,\"violations\":%llu,\"connections\":%llu,\"in_flight\":%llu,"
        "\"max_in_flight\":%llu}\n",
        (unsigned long long)counters->requests, (unsigned long long)counters->texts, work->fake->seen.count,
        (unsigned long long)counters->repeated, (unsigned long long)counters->tokens,
        (unsigned long long)counters->faults, (unsigned long long)counters->refused,
        (unsigned long long)counters->packed, (unsigned long long)counters->violations,
        (unsigned long long)counters->connections, (unsigned long long)counters->in_flight,
        (unsigned long long)counters->max_in_flight);
    respond(work, 200, "application/json", "", &body);
    strbuf_free(&body);
}

/* {"reset": true} first goes back to the start: counters, settings, faults. All other members are settings. */
static void
respond_control(struct work *work, const struct http_request *request)
{
    struct fake *fake = work->fake;
    struct err err = ERR_INIT;
    cJSON *root = cJSON_ParseWithLength(request->body, request->length);

    if (strcmp(request->method, "POST") == 0) {
        struct settings settings = fake->settings;

        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "reset"))) {
            uint64_t in_flight = fake->counters.in_flight;
            fake->counters = (struct counters){.in_flight = in_flight, .max_in_flight = in_flight};
            free(fake->seen.hashes);
            fake->seen = (struct seen){0};
            fake->minute_began = 0;
            fake->minute_requests = 0;
            fake->wait_until = 0;
            settings = fake->initial;
            fake->random = settings.seed;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(root, "reset");
        if (settings_apply(&settings, root, &err) != RC_OK) {
            struct strbuf body;
            strbuf_init(&body, 4096);
            strbuf_puts(&body, err.message);
            respond(work, 400, "text/plain", "", &body);
            strbuf_free(&body);
            cJSON_Delete(root);
            return;
        }
        if (settings.seed != fake->settings.seed)
            fake->random = settings.seed;
        fake->settings = settings;
    }
    cJSON_Delete(root);
    respond_counters(work);
}

static void
respond_info(struct work *work)
{
    struct strbuf body;

    strbuf_init(&body, 4096);
    strbuf_printf(
        &body,
        "{\"model_id\":\"BAAI/bge-small-en-v1.5\",\"model_dtype\":\"float32\",\"max_concurrent_requests\":512,"
        "\"max_input_length\":%lld,\"max_batch_tokens\":16384,\"max_client_batch_size\":%lld,"
        "\"auto_truncate\":false,\"version\":\"1.7.1\"}",
        (long long)(work->fake->settings.max_text_tokens > 0 ? work->fake->settings.max_text_tokens : 512),
        (long long)limit_of(work->fake->settings.max_items, work->shape->max_items));
    respond(work, 200, "application/json", "", &body);
    strbuf_free(&body);
}

/* --- the request as a whole --- */

static void
respond_embeddings(struct work *work, const struct http_request *request)
{
    const struct settings *settings = &work->fake->settings;

    work->root = cJSON_ParseWithLength(request->body, request->length);
    if (work->root == NULL) {
        work->outcome = "no_json";
        respond_plain(work, 400, "invalid_request_error", "the body is no JSON");
        return;
    }
    if (work->shape->has_model) {
        const char *model = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(work->root, "model"));
        if (model == NULL) {
            work->outcome = "no_model";
            respond_plain(work, 400, "invalid_request_error", "you must provide a model parameter");
            return;
        }
        (void)snprintf(work->model, sizeof work->model, "%s", model);
    } else if (work->model[0] == '\0') {
        const char *model = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(work->root, "model"));
        (void)snprintf(work->model, sizeof work->model, "%s", model != NULL ? model : settings->model);
    }
    if (settings->model[0] != '\0' && strcmp(settings->model, work->model) != 0 && work->shape->no_model.status != 0) {
        work->outcome = "unknown_model";
        respond_error(work, &work->shape->no_model, 0, 0, 0, "", 0);
        return;
    }
    if (!read_texts(work)) {
        work->outcome = "no_texts";
        respond_plain(work, 400, "invalid_request_error", "the texts are missing, empty or no strings");
        return;
    }
    choose_fault(work);
    if (respond_fault(work) || respond_limit(work) || respond_options(work))
        return;
    respond_vectors(work);
}

void
fake_answer(struct fake *fake, const struct http_request *request, int64_t now, struct answer *answer)
{
    char value[64];
    struct work work = {
        .fake = fake,
        .shape = shape_find(fake->settings.dialect),
        .answer = answer,
        .now = now,
        .outcome = "ok",
        .accepts_gzip =
            header_value(request->head, "accept-encoding", value, sizeof value) && strstr(value, "gzip") != NULL,
    };
    bool control = strcmp(request->path, "/control") == 0;

    if (control) {
        work.accepts_gzip = false;
        respond_control(&work, request);
        return;
    }
    if (strcmp(request->path, "/info") == 0 && strncmp(work.shape->name, "tei", 3) == 0) {
        respond_info(&work);
        return;
    }
    answer->counted = true;
    work.number = ++fake->counters.requests;
    answer->delay_ms = fake->settings.latency_ms;
    if (fake->settings.jitter_ms > 0)
        answer->delay_ms += (int64_t)(random_next(fake) % (uint64_t)(fake->settings.jitter_ms + 1));

    if (strcmp(request->method, "POST") != 0 || !path_fits(&work, request->path)) {
        work.outcome = "no_path";
        respond_plain(&work, 404, "not_found", "nothing is here");
    } else if (!key_fits(&work, request->head)) {
        work.outcome = "bad_key";
        respond_error(&work, &work.shape->bad_key, 0, 0, 0, "", 0);
    } else if (!respond_rate(&work)) {
        respond_embeddings(&work, request);
    }
    write_journal(&work, request->connection);
    cJSON_Delete(work.root);
    free(work.texts);
    free(work.lengths);
}

bool
fake_open(struct fake *fake, const struct settings *settings)
{
    *fake = (struct fake){.settings = *settings, .initial = *settings, .random = settings->seed};
    fake->vector = calloc(DIMENSIONS_MAX, sizeof *fake->vector);
    return fake->vector != NULL;
}

void
fake_close(struct fake *fake)
{
    free(fake->vector);
    free(fake->seen.hashes);
    *fake = (struct fake){0};
}
