#include "serve/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* Nothing here may be framed, cached, or loaded from elsewhere. */
static const char closed_policy[] = "default-src 'none'; frame-ancestors 'none'";

static enum MHD_Result
queue(struct MHD_Connection *connection, unsigned status, const char *type, const char *policy, struct strbuf *body,
      const char *challenge)
{
    static char broken[] = "{\"error\": \"out of memory\", \"hint\": null}";
    bool failed = body->failed;
    size_t length = failed ? sizeof broken - 1 : body->length;
    char *text = failed || length == 0 ? NULL : strbuf_take(body);
    struct MHD_Response *response = text != NULL
                                        ? MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE)
                                        : MHD_create_response_from_buffer(length, broken, MHD_RESPMEM_PERSISTENT);
    strbuf_free(body);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", failed ? ANSWER_JSON : type);
    (void)MHD_add_response_header(response, "Content-Security-Policy", policy);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "X-Frame-Options", "DENY");
    (void)MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    (void)MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    if (challenge != NULL)
        (void)MHD_add_response_header(response, "WWW-Authenticate", challenge);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, "Allow", "GET, HEAD, POST");
    enum MHD_Result queued = MHD_queue_response(connection, failed ? 500 : status, response);
    MHD_destroy_response(response);
    return queued;
}

enum MHD_Result
answer_send(struct MHD_Connection *connection, unsigned status, const char *type, struct strbuf *body)
{
    return queue(connection, status, type, closed_policy, body, NULL);
}

enum MHD_Result
answer_html(struct MHD_Connection *connection, const char *policy, struct strbuf *body)
{
    return queue(connection, MHD_HTTP_OK, "text/html; charset=utf-8", policy, body, NULL);
}

static void
error_json(const struct err *err, struct strbuf *out)
{
    char message[sizeof err->message], hint[sizeof err->hint];

    (void)snprintf(message, sizeof message, "%s", err->message);
    (void)snprintf(hint, sizeof hint, "%s", err->hint);
    log_scrub(message);
    log_scrub(hint);
    strbuf_init(out, 8192);
    strbuf_puts(out, "{\"error\":");
    strbuf_json(out, message, strlen(message));
    strbuf_puts(out, ",\"hint\":");
    if (hint[0] != '\0')
        strbuf_json(out, hint, strlen(hint));
    else
        strbuf_puts(out, "null");
    strbuf_puts(out, "}\n");
}

enum MHD_Result
answer_error(struct MHD_Connection *connection, unsigned status, const struct err *err)
{
    struct strbuf body;
    error_json(err, &body);
    return answer_send(connection, status, ANSWER_JSON, &body);
}

enum MHD_Result
answer_refuse(struct MHD_Connection *connection, unsigned status, const char *format, ...)
{
    struct err err = ERR_INIT;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(err.message, sizeof err.message, format, args);
    va_end(args);
    return answer_error(connection, status, &err);
}

enum MHD_Result
answer_unauthorized(struct MHD_Connection *connection)
{
    struct err err = ERR_INIT;
    struct strbuf body;

    (void)err_set(&err, RC_INVALID, ERR_USAGE, "a token is needed");
    err_hint(&err, "send the header Authorization: Bearer TOKEN");
    error_json(&err, &body);
    return queue(connection, MHD_HTTP_UNAUTHORIZED, ANSWER_JSON, closed_policy, &body, "Bearer realm=\"reembed\"");
}

unsigned
answer_status(enum rc rc, const struct err *err)
{
    switch (rc) {
    case RC_OK:
        return MHD_HTTP_OK;
    case RC_AGAIN:
        return MHD_HTTP_NOT_FOUND;
    case RC_RETRY:
    case RC_CLOSED:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    case RC_REFUSED:
        return strcmp(err->sqlstate, "RE002") == 0 ? MHD_HTTP_NOT_FOUND : MHD_HTTP_CONFLICT;
    default:
        if (strcmp(err->sqlstate, "42501") == 0)
            return MHD_HTTP_FORBIDDEN;
        return err->class == ERR_UNREACHABLE || err->class == ERR_USAGE ? MHD_HTTP_SERVICE_UNAVAILABLE
                                                                        : MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}
