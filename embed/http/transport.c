#include "embed/http/transport.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/strbuf.h"

enum {
    CONNECT_MS = 10000,
    RECEIVE_BUFFER = 128 * 1024,
};

struct transport {
    CURL *easy;
    CURLM *multi;
    struct curl_slist *headers;      /* with a body */
    struct curl_slist *info_headers; /* without */
    struct strbuf refusal;
    const struct transport_request *request;
    struct transport_answer *answer;
    size_t received;
    bool begun; /* the request left: libcurl may not send it a second time */
    char problem[CURL_ERROR_SIZE];
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void
global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool
is_success(long status)
{
    return status >= 200 && status < 300;
}

static size_t
on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transport *transport = context;
    struct transport_answer *answer = transport->answer;
    size_t length = size * count;

    (void)curl_easy_getinfo(transport->easy, CURLINFO_RESPONSE_CODE, &answer->status);
    transport->received += length;
    if (transport->received > transport->request->max_answer) {
        answer->end = TRANSPORT_TOO_LARGE;
        return 0;
    }
    if (!is_success(answer->status)) {
        size_t room = transport->refusal.maximum - transport->refusal.length;
        strbuf_add(&transport->refusal, bytes, length < room ? length : room);
        return length;
    }
    if (!transport->request->take(transport->request->context, bytes, length)) {
        answer->end = TRANSPORT_GIVEN_UP;
        return 0;
    }
    return length;
}

static size_t
on_header(char *line, size_t size, size_t count, void *context)
{
    static const char location[] = "location:";
    struct transport *transport = context;
    struct transport_answer *answer = transport->answer;
    const char *tokens_header = transport->request->tokens_header;
    size_t length = size * count;

    if (transport->request->see != NULL)
        transport->request->see(transport->request->context, line, length);
    if (length >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        retry_after_begin(&answer->retry); /* an interim answer came before this one */
        answer->has_tokens = false;
        return length;
    }
    retry_after_header(&answer->retry, line, length);
    if (length > sizeof location && strncasecmp(line, location, sizeof location - 1) == 0) {
        const char *value = line + sizeof location - 1;
        size_t blanks = strspn(value, " \t");
        int left = (int)(length - (sizeof location - 1) - blanks);
        (void)snprintf(answer->location, sizeof answer->location, "%.*s", left, value + blanks);
        answer->location[strcspn(answer->location, "\r\n?")] = '\0';
    }
    if (tokens_header != NULL) {
        size_t name = strlen(tokens_header);
        if (length > name && line[name] == ':' && strncasecmp(line, tokens_header, name) == 0) {
            char digits[24] = "";
            size_t left = length - name - 1;
            memcpy(digits, line + name + 1, left < sizeof digits - 1 ? left : sizeof digits - 1);
            char *end;
            unsigned long long value = strtoull(digits, &end, 10);
            answer->has_tokens = end != digits && strchr(digits, '-') == NULL;
            answer->tokens = value;
        }
    }
    return length;
}

/* libcurl sends a request again by itself when a kept connection ends before the answer begins. Here each request is
 * counted, paid for and permitted, so sending it again is decided by those who do that. */
#if LIBCURL_VERSION_NUM >= 0x075000
static int
before_request(void *context, char *address, char *local_address, int port, int local_port)
{
    struct transport *transport = context;

    (void)address, (void)local_address, (void)port, (void)local_port;
    if (transport->begun)
        return CURL_PREREQFUNC_ABORT;
    transport->begun = true;
    return CURL_PREREQFUNC_OK;
}
#endif

static bool
add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

static bool
set_options(struct transport *transport, const struct endpoint *endpoint)
{
    CURL *easy = transport->easy;
    bool set = true;

#define SET(option, value) (set = curl_easy_setopt(easy, (option), (value)) == CURLE_OK && set)
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, transport->problem);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, transport);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, transport);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075000
    SET(CURLOPT_PREREQFUNCTION, before_request);
    SET(CURLOPT_PREREQDATA, transport);
#endif
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    SET(CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* one request at a time: nothing to multiplex */
    SET(CURLOPT_USERAGENT, "reembed/" REEMBED_VERSION);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    /* A proxy from the environment would see the key that may go to this machine only. */
    if (endpoint->plain_key)
        SET(CURLOPT_PROXY, "");
#undef SET
    return set;
}

enum rc
transport_open(const struct endpoint *endpoint, struct transport **ret_transport, struct err *err)
{
    struct transport *transport = calloc(1, sizeof *transport);

    if (transport == NULL)
        return err_memory(err);
    strbuf_init(&transport->refusal, TRANSPORT_REFUSAL_MAX);
    if (pthread_once(&global_once, global_init) != 0 || global_result != CURLE_OK) {
        transport_close(transport);
        return err_set(err, RC_FATAL, ERR_SYSTEM, "libcurl does not start: %s", curl_easy_strerror(global_result));
    }
    transport->easy = curl_easy_init();
    transport->multi = curl_multi_init();
    if (transport->easy == NULL || transport->multi == NULL || !set_options(transport, endpoint) ||
        !add_header(&transport->headers, "Content-Type: application/json") ||
        !add_header(&transport->headers, "Accept: application/json") || !add_header(&transport->headers, "Expect:") ||
        !add_header(&transport->info_headers, "Accept: application/json") ||
        (endpoint->header != NULL && (!add_header(&transport->headers, endpoint->header) ||
                                      !add_header(&transport->info_headers, endpoint->header)))) {
        transport_close(transport);
        return err_memory(err);
    }
    *ret_transport = transport;
    return RC_OK;
}

struct transport *
transport_close(struct transport *transport)
{
    if (transport == NULL)
        return NULL;
    if (transport->easy != NULL)
        curl_easy_cleanup(transport->easy);
    if (transport->multi != NULL)
        (void)curl_multi_cleanup(transport->multi);
    curl_slist_free_all(transport->headers);
    curl_slist_free_all(transport->info_headers);
    strbuf_free(&transport->refusal);
    free(transport);
    return NULL;
}

/* The request's own lines or the transport's; *ret_own is to be freed after the exchange. */
static CURLcode
set_headers(const struct transport *transport, const struct transport_request *request, struct curl_slist **ret_own)
{
    struct curl_slist *lines = request->body != NULL ? transport->headers : transport->info_headers;
    const char *coding = ""; /* every coding this libcurl can unpack */

    if (request->headers != NULL) {
        for (size_t i = 0; request->headers[i] != NULL; i++)
            if (!add_header(ret_own, request->headers[i]))
                return CURLE_OUT_OF_MEMORY;
        lines = *ret_own;
        coding = NULL;
    }
    CURLcode result = curl_easy_setopt(transport->easy, CURLOPT_HTTPHEADER, lines);
    return result == CURLE_OK ? curl_easy_setopt(transport->easy, CURLOPT_ACCEPT_ENCODING, coding) : result;
}

static bool
is_cancelled(const struct transport_request *request)
{
    return request->cancel != NULL && atomic_load_explicit(request->cancel, memory_order_relaxed);
}

/* Runs the exchange; CURLE_ABORTED_BY_CALLBACK when cancelled. */
static CURLcode
perform(struct transport *transport)
{
    CURLcode result = CURLE_FAILED_INIT;
    int running = 1;

    if (curl_multi_add_handle(transport->multi, transport->easy) != CURLM_OK)
        return CURLE_OUT_OF_MEMORY;
    while (running > 0) {
        if (is_cancelled(transport->request)) {
            result = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
        if (curl_multi_perform(transport->multi, &running) != CURLM_OK ||
            (running > 0 && curl_multi_poll(transport->multi, NULL, 0, TRANSPORT_CANCEL_MS, NULL) != CURLM_OK)) {
            result = CURLE_OUT_OF_MEMORY;
            break;
        }
    }
    if (running == 0) {
        int left;
        const CURLMsg *message = curl_multi_info_read(transport->multi, &left);
        if (message != NULL && message->msg == CURLMSG_DONE)
            result = message->data.result;
    }
    (void)curl_multi_remove_handle(transport->multi, transport->easy);
    return result;
}

static enum transport_end
ended(CURLcode result, long status)
{
    switch (result) {
    case CURLE_OK:
        return TRANSPORT_ANSWERED;
    case CURLE_ABORTED_BY_CALLBACK:
        return TRANSPORT_CANCELLED;
    case CURLE_OUT_OF_MEMORY:
        return TRANSPORT_NO_MEMORY;
    default:
        return status != 0 ? TRANSPORT_CUT_OFF : TRANSPORT_FAILED;
    }
}

void
transport_exchange(struct transport *transport, const struct transport_request *request,
                   struct transport_answer *ret_answer)
{
    CURL *easy = transport->easy;
    CURLcode result;
    curl_off_t uploaded = 0;
    struct curl_slist *own = NULL;

    *ret_answer = (struct transport_answer){.end = TRANSPORT_ANSWERED};
    retry_after_begin(&ret_answer->retry);
    strbuf_reset(&transport->refusal);
    transport->request = request;
    transport->answer = ret_answer;
    transport->received = 0;
    transport->begun = false;
    transport->problem[0] = '\0';

    result = set_headers(transport, request, &own);
    if (curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, request->stall_ms > 0 ? 1L : 0L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((request->stall_ms + 999) / 1000)) != CURLE_OK)
        result = CURLE_OUT_OF_MEMORY;
    if (request->body == NULL) {
        (void)curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else {
        (void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
        (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->length);
    }
    if (result == CURLE_OK)
        result = perform(transport);
    if (result == CURLE_ABORTED_BY_CALLBACK && transport->begun && !is_cancelled(request)) {
        result = CURLE_GOT_NOTHING;
        (void)snprintf(transport->problem, sizeof transport->problem, "the connection ended before the answer began");
    }
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL); /* the caller's memory */
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(own);

    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &ret_answer->status);
    (void)curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    ret_answer->sent = transport->begun || uploaded > 0 || ret_answer->status != 0;
    ret_answer->certificate = result == CURLE_PEER_FAILED_VERIFICATION;
    if (ret_answer->end == TRANSPORT_ANSWERED) {
        ret_answer->end = ended(result, ret_answer->status);
        if (transport->refusal.failed)
            ret_answer->end = TRANSPORT_NO_MEMORY;
    }
    if (ret_answer->end != TRANSPORT_ANSWERED)
        (void)snprintf(ret_answer->problem, sizeof ret_answer->problem, "%s",
                       transport->problem[0] != '\0' ? transport->problem : curl_easy_strerror(result));
    log_scrub(ret_answer->problem);
    ret_answer->refusal = strbuf_text(&transport->refusal);
    ret_answer->refusal_length = transport->refusal.length;
    transport->request = NULL;
    transport->answer = NULL;
}
