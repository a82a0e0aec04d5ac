#include "serve/server.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "serve/answer.h"
#include "serve/connections.h"
#include "serve/control.h"
#include "serve/exposition.h"
#include "serve/listener.h"
#include "serve/process.h"
#include "serve/sampler.h"

enum {
    CONNECTIONS_MAX = 256,
    CLIENT_MS = 15000,      /* to send a request as a whole, and to take the answer */
    IDLE_SECS = 15,         /* between bytes, and between requests */
    REQUEST_MEMORY = 32768, /* of one connection, for the request's head */
    BODY_MAX = 4096,
    ID_MAX = 200,
    STACK_BYTES = 1 << 20
};

struct server {
    char *database_url;
    char *token; /* NULL: none */
    bool allow_control;
    const struct measurements *measurements;
    struct listener listener;
    struct connections *connections;
    struct sampler *sampler;
    struct MHD_Daemon *daemon;
};

/* From the head of a request to its answer. */
struct request {
    struct strbuf body;
    bool too_large;
};

/* --- who may ask --- */

/* Takes as long whatever is wrong with the token. */
static bool
token_is(const char *token, const char *given)
{
    size_t length = strlen(token), given_length = strlen(given);
    unsigned char differs = length != given_length;

    for (size_t i = 0; i < given_length; i++)
        differs |= (unsigned char)(given[i] ^ token[i % length]);
    return differs == 0;
}

static bool
has_token(const struct server *server, struct MHD_Connection *connection)
{
    static const char scheme[] = "Bearer ";
    const char *header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");

    return header != NULL && strncasecmp(header, scheme, sizeof scheme - 1) == 0 &&
           strlen(header) <= SERVE_TOKEN_MAX + sizeof scheme && token_is(server->token, header + sizeof scheme - 1);
}

/* --- the endpoints --- */

static enum MHD_Result
send_metrics(struct server *server, struct MHD_Connection *connection)
{
    struct strbuf body, samples;
    struct err err = ERR_INIT;

    strbuf_init(&samples, 8 << 20);
    enum rc rc = sampler_get(server->sampler, SAMPLE_METRICS, NULL, &samples, &err);
    strbuf_init(&body, 8 << 20);
    process_metrics(server->measurements, rc == RC_OK, connections_count(server->connections), &body);
    if (rc == RC_OK)
        strbuf_puts(&body, strbuf_text(&samples));
    strbuf_free(&samples);
    return answer_send(connection, MHD_HTTP_OK, EXPOSITION_TYPE, &body);
}

static enum MHD_Result
send_health(struct server *server, struct MHD_Connection *connection)
{
    struct strbuf body;

    (void)server;
    strbuf_init(&body, 16);
    strbuf_puts(&body, "ok\n");
    return answer_send(connection, MHD_HTTP_OK, ANSWER_TEXT, &body);
}

static void
add_check(const char *name, bool ok, const char *text, bool last, struct strbuf *out)
{
    strbuf_printf(out, "{\"check\":\"%s\",\"ok\":%s,\"text\":", name, ok ? "true" : "false");
    if (text != NULL && text[0] != '\0')
        strbuf_json(out, text, strlen(text));
    else
        strbuf_puts(out, "null");
    strbuf_puts(out, last ? "}" : "},");
}

/* What is wrong in words is for those who may see the rest too. */
static enum MHD_Result
send_ready(struct server *server, struct MHD_Connection *connection)
{
    struct strbuf body, nothing;
    struct err err = ERR_INIT;
    bool told = server->token == NULL || has_token(server, connection);

    strbuf_init(&nothing, 16);
    enum rc rc = sampler_get(server->sampler, SAMPLE_SCHEMA, NULL, &nothing, &err);
    strbuf_free(&nothing);
    log_scrub(err.message);
    bool reached = rc == RC_OK || (rc == RC_INVALID && err.class != ERR_UNREACHABLE);
    bool leased = server->measurements == NULL || process_lease_alive(server->measurements);
    bool ready = rc == RC_OK && leased;
    strbuf_init(&body, 8192);
    strbuf_printf(&body, "{\"ready\":%s,\"checks\":[", ready ? "true" : "false");
    add_check("database", reached, told && !reached ? err.message : NULL, false, &body);
    add_check("schema", rc == RC_OK, told && reached ? err.message : NULL, server->measurements == NULL, &body);
    if (server->measurements != NULL)
        add_check("lease", leased, leased ? NULL : "the run is not working yet, or its heartbeat is late", true, &body);
    strbuf_puts(&body, "]}\n");
    return answer_send(connection, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, ANSWER_JSON, &body);
}

/* The migration that is asked for; NULL: none by name. */
static const char *
asked_id(struct MHD_Connection *connection, bool *ret_sane)
{
    const char *id = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "id");

    *ret_sane = id == NULL || (id[0] != '\0' && strlen(id) <= ID_MAX);
    return id;
}

static enum MHD_Result
send_status(struct server *server, struct MHD_Connection *connection)
{
    struct strbuf body;
    struct err err = ERR_INIT;
    bool sane;
    const char *id = asked_id(connection, &sane);

    if (!sane)
        return answer_refuse(connection, MHD_HTTP_NOT_FOUND, "unknown migration");
    strbuf_init(&body, 8 << 20);
    enum rc rc = sampler_get(server->sampler, SAMPLE_STATUS, id, &body, &err);
    if (rc != RC_OK) {
        strbuf_free(&body);
        return answer_error(connection, answer_status(rc, &err), &err);
    }
    strbuf_putc(&body, '\n');
    return answer_send(connection, MHD_HTTP_OK, ANSWER_JSON, &body);
}

static enum MHD_Result
send_page_data(struct server *server, struct MHD_Connection *connection)
{
    struct strbuf body;
    struct err err = ERR_INIT;
    bool sane;
    const char *id = asked_id(connection, &sane);

    if (!sane)
        return answer_refuse(connection, MHD_HTTP_NOT_FOUND, "unknown migration");
    strbuf_init(&body, 8 << 20);
    strbuf_printf(&body, "{\"version\":\"%s\",\"control\":%s,\"throttle\":", REEMBED_VERSION,
                  server->allow_control ? "true" : "false");
    if (server->measurements != NULL && process_throttle(server->measurements) != THROTTLE_NONE)
        strbuf_printf(&body, "\"%s\",", measured_throttle_names[process_throttle(server->measurements)]);
    else
        strbuf_puts(&body, "null,");
    enum rc rc = sampler_get(server->sampler, SAMPLE_PAGE, id, &body, &err);
    if (rc != RC_OK) {
        strbuf_free(&body);
        return answer_error(connection, answer_status(rc, &err), &err);
    }
    strbuf_puts(&body, "}\n");
    return answer_send(connection, MHD_HTTP_OK, ANSWER_JSON, &body);
}

static enum MHD_Result
send_page(struct server *server, struct MHD_Connection *connection)
{
    (void)server;
    return answer_page(connection);
}

static const struct route {
    const char *path;
    bool open; /* also without the token */
    enum MHD_Result (*send)(struct server *server, struct MHD_Connection *connection);
} routes[] = {
    {"/", true, send_page},        {"/metrics", false, send_metrics},   {"/healthz", true, send_health},
    {"/readyz", true, send_ready}, {"/api/status", false, send_status}, {"/api/page", false, send_page_data},
};

static enum MHD_Result
steer(struct server *server, struct MHD_Connection *connection, const char *operation, const struct request *request)
{
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    struct strbuf body;
    struct err err = ERR_INIT;

    if (!server->allow_control)
        return answer_refuse(connection, MHD_HTTP_FORBIDDEN, "started without --allow-control");
    if (!has_token(server, connection))
        return answer_unauthorized(connection);
    if (type == NULL || strncasecmp(type, "application/json", 16) != 0)
        return answer_refuse(connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "the request must be application/json");
    strbuf_init(&body, 65536);
    enum rc rc =
        control_call(server->database_url, operation, strbuf_text(&request->body), request->body.length, &body, &err);
    sampler_forget(server->sampler);
    if (rc == RC_OK)
        return answer_send(connection, MHD_HTTP_OK, ANSWER_JSON, &body);
    strbuf_free(&body);
    unsigned status = rc == RC_INVALID && err.class == ERR_USAGE && err.sqlstate[0] == '\0' ? MHD_HTTP_BAD_REQUEST
                                                                                            : answer_status(rc, &err);
    return answer_error(connection, status, &err);
}

static enum MHD_Result
dispatch(struct server *server, struct MHD_Connection *connection, const char *path, const char *method,
         const struct request *request)
{
    static const char api[] = "/api/";
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    bool reads = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    const char *operation = strncmp(path, api, sizeof api - 1) == 0 ? path + sizeof api - 1 : "";

    if (request->too_large)
        return answer_refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, "at most %d bytes are taken", BODY_MAX);
    if (server->token == NULL && host != NULL && !listener_host_is_local(host))
        return answer_refuse(connection, MHD_HTTP_MISDIRECTED_REQUEST,
                             "without a token this answers to localhost and to numbers only");
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        if (!reads)
            return answer_refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this can be read only");
        if (server->token != NULL && !routes[i].open && !has_token(server, connection))
            return answer_unauthorized(connection);
        return routes[i].send(server, connection);
    }
    if (!control_is_known(operation))
        return answer_refuse(connection, MHD_HTTP_NOT_FOUND, "there is no such page");
    if (strcmp(method, MHD_HTTP_METHOD_POST) != 0)
        return answer_refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this wants a POST");
    return steer(server, connection, operation, request);
}

/* --- libmicrohttpd's side --- */

static int
number_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? -1 : (int)(intptr_t)info->socket_context - 1;
}

static enum MHD_Result
handle(void *context, struct MHD_Connection *connection, const char *path, const char *method, const char *version,
       const char *data, size_t *size, void **state)
{
    struct server *server = context;
    struct request *request = *state;

    (void)version;
    if (request == NULL) {
        if ((request = calloc(1, sizeof *request)) == NULL)
            return MHD_NO;
        strbuf_init(&request->body, BODY_MAX);
        *state = request;
        connections_wait(server->connections, number_of(connection));
        const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
        request->too_large = length != NULL && strtoull(length, NULL, 10) > BODY_MAX;
        return request->too_large ? dispatch(server, connection, path, method, request) : MHD_YES;
    }
    if (*size > 0) {
        strbuf_add(&request->body, data, *size);
        request->too_large = request->too_large || request->body.failed;
        *size = 0;
        return MHD_YES;
    }
    connections_work(server->connections, number_of(connection));
    enum MHD_Result queued = dispatch(server, connection, path, method, request);
    connections_wait(server->connections, number_of(connection));
    return queued;
}

static void
request_over(void *context, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode why)
{
    struct server *server = context;
    struct request *request = *state;

    (void)why;
    if (request != NULL)
        strbuf_free(&request->body);
    free(request);
    *state = NULL;
    connections_wait(server->connections, number_of(connection)); /* the next request of this connection */
}

static void
connection_changed(void *context, struct MHD_Connection *connection, void **number,
                   enum MHD_ConnectionNotificationCode what)
{
    struct server *server = context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        int added = info == NULL ? -1 : connections_add(server->connections, info->connect_fd);
        *number = (void *)(intptr_t)(added + 1);
    } else {
        connections_remove(server->connections, (int)(intptr_t)*number - 1);
    }
}

static void __attribute__((format(printf, 2, 0))) log_line(void *context, const char *format, va_list args)
{
    char line[512];

    (void)context;
    (void)vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\r\n")] = '\0';
    log_event(LOG_DEBUG, "http", LF_STR("says", line));
}

/* --- the owner --- */

static enum rc
check_options(const struct serve_options *options, struct err *err)
{
    size_t length = options->token == NULL ? 0 : strlen(options->token);

    if (options->token != NULL &&
        (length < SERVE_TOKEN_MIN || length > SERVE_TOKEN_MAX ||
         options->token[strspn(options->token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                               "0123456789-._~+/=")] != '\0')) {
        (void)err_set(err, RC_INVALID, ERR_USAGE,
                      "the token must have %d to %d letters, digits or -._~+/=", SERVE_TOKEN_MIN, SERVE_TOKEN_MAX);
        err_hint(err, "make one: openssl rand -hex 32");
        return RC_INVALID;
    }
    if (options->allow_control && options->token == NULL) {
        (void)err_set(err, RC_INVALID, ERR_USAGE, "--allow-control needs a token");
        err_hint(err, "set REEMBED_SERVE_TOKEN or --token-file to a secret of %d characters or more", SERVE_TOKEN_MIN);
        return RC_INVALID;
    }
    return RC_OK;
}

static enum rc
start_daemon(struct server *server, struct err *err)
{
    server->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ERROR_LOG, 0, NULL,
        NULL, handle, server, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL, MHD_OPTION_LISTEN_SOCKET,
        server->listener.socket, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MEMORY, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, request_over, server,
        MHD_OPTION_NOTIFY_CONNECTION, connection_changed, server, MHD_OPTION_END);
    if (server->daemon == NULL)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "can't start the HTTP server");
    server->listener.socket = -1; /* the daemon closes it */
    return RC_OK;
}

enum rc
server_open(const struct serve_options *options, struct server **ret_server, struct err *err)
{
    struct server *server = NULL;
    enum rc rc = check_options(options, err);

    if (rc != RC_OK)
        return rc;
    if ((server = calloc(1, sizeof *server)) == NULL)
        return err_memory(err);
    server->listener.socket = -1;
    server->allow_control = options->allow_control;
    server->measurements = options->measurements;
    if ((options->database_url != NULL && (server->database_url = strdup(options->database_url)) == NULL) ||
        (options->token != NULL && (server->token = strdup(options->token)) == NULL))
        rc = err_memory(err);
    if (rc == RC_OK && server->token != NULL)
        log_secret(server->token);
    if (rc == RC_OK)
        rc = listener_open(options->listen, server->token == NULL, &server->listener, err);
    if (rc == RC_OK)
        rc = connections_open(CONNECTIONS_MAX, CLIENT_MS, &server->connections, err);
    if (rc == RC_OK)
        rc = sampler_open(server->database_url, &server->sampler, err);
    if (rc == RC_OK)
        rc = start_daemon(server, err);
    if (rc != RC_OK) {
        server_close(server);
        return rc;
    }
    *ret_server = server;
    return RC_OK;
}

struct server *
server_close(struct server *server)
{
    if (server == NULL)
        return NULL;
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    if (server->listener.socket >= 0)
        (void)close(server->listener.socket);
    sampler_close(server->sampler);
    connections_close(server->connections);
    free(server->database_url);
    free(server->token);
    free(server);
    return NULL;
}

const char *
server_url(const struct server *server)
{
    return server->listener.url;
}
