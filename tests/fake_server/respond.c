#include <time.h>

#include "tests/fake_server/vectors.h"
#include "tests/fake_server/work.h"

static const char *
reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 307:
        return "Temporary Redirect";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 404:
        return "Not Found";
    case 413:
        return "Payload Too Large";
    case 422:
        return "Unprocessable Entity";
    case 424:
        return "Failed Dependency";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

void
respond(struct work *work, int status, const char *type, const char *headers, struct strbuf *body)
{
    struct strbuf *out = &work->answer->bytes;
    struct strbuf packed;
    char date[64];
    time_t seconds = time(NULL);
    struct tm utc;

    strbuf_init(&packed, OUT_MAX);
    if (work->fake->settings.gzip && work->accepts_gzip) {
        gzip_put_stored(&packed, strbuf_text(body), body->length);
        body = &packed;
        work->fake->counters.packed++;
    }
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    strbuf_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\n%s%sContent-Length: %zu\r\n\r\n", status,
                  reason(status), date, type, headers, body == &packed ? "Content-Encoding: gzip\r\n" : "",
                  body->length);
    strbuf_add(out, strbuf_text(body), body->length);
    strbuf_free(&packed);
    work->status = status;
    if (status < 200 || status >= 300)
        work->fake->counters.refused++;
}

/* The wait as the style tells it, and the moment until which it lasts. */
static void
tell_wait(struct work *work, enum retry_style style, int64_t ms, struct strbuf *headers)
{
    struct fake *fake = work->fake;
    time_t until = time(NULL) + (time_t)((ms + 999) / 1000);
    struct tm utc;
    char date[64];

    switch (style) {
    case RETRY_SECONDS:
        strbuf_printf(headers, "Retry-After: %lld\r\n", (long long)((ms + 999) / 1000));
        break;
    case RETRY_DATE:
        (void)gmtime_r(&until, &utc);
        (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        strbuf_printf(headers, "Retry-After: %s\r\n", date);
        break;
    case RETRY_MS:
        strbuf_printf(headers, "retry-after-ms: %lld\r\n", (long long)ms);
        break;
    case RETRY_RESET:
        strbuf_printf(headers,
                      "x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 0\r\n"
                      "x-ratelimit-reset-requests: %lld.%03llds\r\nx-ratelimit-remaining-tokens: 1000\r\n"
                      "x-ratelimit-reset-tokens: 6m0s\r\n",
                      (long long)(ms / 1000), (long long)(ms % 1000));
        break;
    case RETRY_BODY: /* by the error's form */
    case RETRY_NONE:
        break;
    }
    if (style == RETRY_SECONDS)
        ms = (ms + 999) / 1000 * 1000;
    if (style != RETRY_NONE && work->now + ms > fake->wait_until) {
        fake->wait_told = work->now;
        fake->wait_until = work->now + ms;
    }
}

void
respond_error(struct work *work, const struct shape_error *error, int64_t limit, int64_t given, int64_t index,
              const char *headers, int64_t retry_ms)
{
    const struct error_values values = {
        .limit = limit, .given = given, .index = index, .model = work->model, .key = work->key, .retry_ms = retry_ms};
    struct strbuf body;

    strbuf_init(&body, OUT_MAX);
    shape_error_body(work->shape, error, &values, &body);
    respond(work, error->status, "application/json", headers, &body);
    strbuf_free(&body);
}

void
respond_overload(struct work *work, const struct shape_error *error, enum retry_style style, int64_t ms)
{
    struct strbuf headers;

    strbuf_init(&headers, 4096);
    tell_wait(work, style, ms, &headers);
    respond_error(work, error, work->fake->settings.requests_per_minute, work->fake->settings.requests_per_minute, 0,
                  strbuf_text(&headers), style == RETRY_BODY ? ms : 0);
    strbuf_free(&headers);
}

void
respond_plain(struct work *work, int status, const char *type, const char *message)
{
    const struct shape_error error = {status, type, type, message};

    respond_error(work, &error, 0, 0, 0, "", 0);
}
