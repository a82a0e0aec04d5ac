#include "embed/hub/hub.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/log.h"
#include "embed/http/transport.h"

enum { URL_MAX = 8192 };

struct hub {
    char *base;   /* "scheme://host[:port][/path]", no slash at the end */
    char *origin; /* "scheme://host:port" */
    char *token_line;
    int64_t stall_ms;
    struct transport *transport;
};

/* --- addresses --- */

/* "scheme://host:port", with the port written out. NULL: no http or https address, or out of memory. */
static char *
origin_of(CURLU *url)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *origin = NULL;

    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0)) {
        if (asprintf(&origin, "%s://%s:%s", scheme, host, port) < 0)
            origin = NULL;
        for (char *c = origin; c != NULL && *c != '\0'; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c - 'A' + 'a');
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return origin;
}

static bool
is_encrypted(const char *origin)
{
    return origin != NULL && strncmp(origin, "https:", 6) == 0;
}

static enum rc
bad_endpoint(struct err *err, const char *what)
{
    err_set(err, RC_INVALID, ERR_USAGE, "HF_ENDPOINT: %s", what);
    err_hint(err, "it is the base of the hub's address, such as %s", HUB_DEFAULT_ENDPOINT);
    return RC_INVALID;
}

static enum rc
read_endpoint(struct hub *hub, const char *endpoint, struct err *err)
{
    CURLU *url = curl_url();
    char *user = NULL, *query = NULL, *text = NULL;
    enum rc rc = RC_OK;

    if (url == NULL)
        return err_memory(err);
    if (strlen(endpoint) >= URL_MAX / 2 || curl_url_set(url, CURLUPART_URL, endpoint, 0) != CURLUE_OK ||
        (hub->origin = origin_of(url)) == NULL)
        rc = bad_endpoint(err, "it is no http or https address");
    else if (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK)
        rc = bad_endpoint(err, "a user or password does not belong there; the token is read from HF_TOKEN");
    else if (curl_url_get(url, CURLUPART_QUERY, &query, 0) == CURLUE_OK)
        rc = bad_endpoint(err, "it has a query (?...)");
    else if (curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK || text == NULL ||
             (hub->base = strdup(text)) == NULL)
        rc = err_memory(err);
    for (size_t length = hub->base == NULL ? 0 : strlen(hub->base); length > 0 && hub->base[length - 1] == '/';)
        hub->base[--length] = '\0';
    curl_free(user);
    curl_free(query);
    curl_free(text);
    curl_url_cleanup(url);
    return rc;
}

/* Like every key: in the clear to this machine only. */
static enum rc
read_token(struct hub *hub, const char *token, struct err *err)
{
    const char *host = hub->origin + (is_encrypted(hub->origin) ? sizeof "https://" - 1 : sizeof "http://" - 1);
    const char *port = hub->origin != NULL ? strrchr(host, ':') : NULL;
    char name[256];

    if (port == NULL)
        return bad_endpoint(err, "it is no http or https address");

    for (const char *c = token; *c != '\0'; c++)
        if ((unsigned char)*c <= 0x20 || *c == 0x7F)
            return err_set(err, RC_INVALID, ERR_USAGE, "HF_TOKEN has a blank, a line end or another control character");
    (void)snprintf(name, sizeof name, "%.*s", (int)(port - host), host);
    if (!is_encrypted(hub->origin) && !endpoint_is_loopback(name)) {
        err_set(err, RC_INVALID, ERR_USAGE, "HF_TOKEN is not sent over plain http to %s", name);
        err_hint(err, "use https in HF_ENDPOINT, or unset HF_TOKEN where the hub needs none");
        return RC_INVALID;
    }
    log_secret(token);
    if (asprintf(&hub->token_line, "Authorization: Bearer %s", token) < 0) {
        hub->token_line = NULL;
        return err_memory(err);
    }
    return RC_OK;
}

enum rc
hub_open(const struct hub_options *options, struct hub **ret_hub, struct err *err)
{
    const char *endpoint =
        options->endpoint != NULL && options->endpoint[0] != '\0' ? options->endpoint : HUB_DEFAULT_ENDPOINT;
    struct hub *hub = calloc(1, sizeof *hub);
    enum rc rc;

    if (hub == NULL)
        return err_memory(err);
    hub->stall_ms = options->stall_ms > 0 ? options->stall_ms : HUB_STALL_MS;
    rc = read_endpoint(hub, endpoint, err);
    if (rc == RC_OK && options->token != NULL && options->token[0] != '\0')
        rc = read_token(hub, options->token, err);
    if (rc == RC_OK) {
        /* the lines of a request are its own, so the transport has none */
        const struct endpoint none = {.plain_key = hub->token_line != NULL && !is_encrypted(hub->origin)};
        rc = transport_open(&none, &hub->transport, err);
    }
    if (rc != RC_OK) {
        hub_close(hub);
        return rc;
    }
    *ret_hub = hub;
    return RC_OK;
}

struct hub *
hub_close(struct hub *hub)
{
    if (hub == NULL)
        return NULL;
    transport_close(hub->transport);
    if (hub->token_line != NULL)
        explicit_bzero(hub->token_line, strlen(hub->token_line));
    free(hub->token_line);
    free(hub->origin);
    free(hub->base);
    free(hub);
    return NULL;
}

const char *
hub_name(const struct hub *hub)
{
    return hub->base;
}

bool
hub_has_token(const struct hub *hub)
{
    return hub->token_line != NULL;
}

/* --- one request, over as many hops as it takes --- */

struct hop {
    const struct hub_request *request;
    struct hub_answer *answer;
    bool first;  /* the hub itself speaks, not the store it sends to */
    bool known;  /* the caller was told which file it is */
    bool begun;  /* and that it begins */
    bool linked; /* the hub said what the file is, whatever is sent */
    long status;
    char location[URL_MAX];
    bool has_length, has_range;
    uint64_t length;     /* Content-Length */
    uint64_t range_from; /* Content-Range */
    uint64_t range_total;
    char reason[256]; /* X-Error-Message */
};

/* The value of a header line if it has this name (lower case, with its colon). */
static bool
header_value(const char *line, size_t length, const char *name, char *out, size_t size)
{
    size_t skip = strlen(name);

    if (length <= skip || strncasecmp(line, name, skip) != 0)
        return false;
    while (skip < length && (line[skip] == ' ' || line[skip] == '\t'))
        skip++;
    while (length > skip && (line[length - 1] == '\r' || line[length - 1] == '\n' || line[length - 1] == ' '))
        length--;
    (void)snprintf(out, size, "%.*s", (int)(length - skip), line + skip);
    return true;
}

/* What a server says goes to terminals and logs. */
static void
make_harmless(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7F)
            *text = '?';
}

static bool
number_of(const char *text, uint64_t *ret_number)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);

    if (end == text || text[0] == '-' || text[0] == '+')
        return false;
    *ret_number = number;
    return true;
}

static void
see(void *context, const char *line, size_t length)
{
    struct hop *hop = context;
    struct hub_answer *answer = hop->answer;
    char value[URL_MAX];

    if (length >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        hop->status = length > 9 ? strtol(line + 9, NULL, 10) : 0;
        hop->location[0] = '\0';
        hop->has_length = hop->has_range = false;
    } else if (header_value(line, length, "location:", value, sizeof value)) {
        (void)snprintf(hop->location, sizeof hop->location, "%s", value);
    } else if (header_value(line, length, "content-length:", value, sizeof value)) {
        hop->has_length = number_of(value, &hop->length);
    } else if (header_value(line, length, "content-range:", value, sizeof value)) {
        const char *total = strchr(value, '/');
        hop->has_range = strncasecmp(value, "bytes ", 6) == 0 && total != NULL &&
                         number_of(value + 6, &hop->range_from) && number_of(total + 1, &hop->range_total);
    } else if (!hop->first) {
        return; /* what follows is the hub's word, not the store's */
    } else if (header_value(line, length, "x-linked-etag:", value, sizeof value)) {
        answer->checksum = checksum_of_text(value, sizeof value);
        hop->linked = true;
    } else if (header_value(line, length, "etag:", value, sizeof value)) {
        if (!hop->linked)
            answer->checksum = checksum_of_text(value, sizeof value);
    } else if (header_value(line, length, "x-linked-size:", value, sizeof value)) {
        answer->has_size = number_of(value, &answer->size);
    } else if (header_value(line, length, "x-repo-commit:", value, sizeof value)) {
        (void)snprintf(answer->commit, sizeof answer->commit, "%.64s", value);
        make_harmless(answer->commit);
    } else if (header_value(line, length, "x-error-message:", value, sizeof value)) {
        (void)snprintf(hop->reason, sizeof hop->reason, "%.255s", value);
        make_harmless(hop->reason);
    }
}

static bool
known(struct hop *hop)
{
    bool told = hop->known;

    hop->known = true;
    return told || hop->request->known == NULL || hop->request->known(hop->request->context, hop->answer);
}

static bool
begin(struct hop *hop)
{
    struct hub_answer *answer = hop->answer;

    hop->begun = true;
    answer->status = hop->status;
    answer->from = hop->status == 206 && hop->has_range ? hop->range_from : 0;
    if (!answer->has_size && hop->status == 206 && hop->has_range) {
        answer->has_size = true;
        answer->size = hop->range_total;
    } else if (!answer->has_size && hop->status == 200 && hop->has_length) {
        answer->has_size = true;
        answer->size = hop->length;
    }
    return known(hop) && (hop->request->begin == NULL || hop->request->begin(hop->request->context, answer));
}

static bool
take(void *context, const char *bytes, size_t length)
{
    struct hop *hop = context;

    if (!hop->begun && !begin(hop))
        return false;
    return hop->request->take(hop->request->context, bytes, length);
}

/* What a person can do about a status that is no success. */
static enum rc
refusal(const struct hub *hub, const struct hop *hop, const struct hub_request *request, struct err *err)
{
    const char *where = hop->first ? hub->base : "the store that the hub sends to";
    const char *says = hop->reason[0] != '\0' ? ": " : "";
    enum rc rc;

    switch (hop->status) {
    case 404:
    case 410:
        return RC_AGAIN;
    case 401:
    case 403:
        rc = err_set(err, RC_HALT, ERR_PROVIDER, "%s refuses %s: HTTP %ld%s%s", where, request->path, hop->status, says,
                     hop->reason);
        err_hint(err, hub_has_token(hub)
                          ? "there may be no such model, or the token of HF_TOKEN has no right to it: accept its terms "
                            "on its page, or take another token"
                          : "there may be no such model, or it needs a token: set HF_TOKEN");
        break;
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        rc = err_set(err, RC_RETRY, ERR_TRANSIENT, "%s answers HTTP %ld for %s%s%s", where, hop->status, request->path,
                     says, hop->reason);
        break;
    case 416: /* of a range that is not there: the caller begins again */
        rc = err_set(err, RC_RETRY, ERR_TRANSIENT, "%s has no such range of %s", where, request->path);
        break;
    default:
        rc = err_set(err, RC_HALT, ERR_PROVIDER, "%s answers HTTP %ld for %s%s%s", where, hop->status, request->path,
                     says, hop->reason);
    }
    if (err != NULL) {
        err->http_status = (int)hop->status;
        log_scrub(err->message);
    }
    return rc;
}

/* Follows hop->location from `url`. */
static enum rc
next_hop(const struct hop *hop, CURLU *url, struct err *err)
{
    char *before = origin_of(url);
    char *after = NULL;
    enum rc rc = RC_OK;

    if (hop->location[0] == '\0' || curl_url_set(url, CURLUPART_URL, hop->location, 0) != CURLUE_OK ||
        (after = origin_of(url)) == NULL)
        rc = err_set(err, RC_HALT, ERR_PROVIDER, "%s redirects to what is no http or https address", before);
    else if (is_encrypted(before) && !is_encrypted(after))
        rc = err_set(err, RC_HALT, ERR_PROVIDER, "%s redirects to %s, from https to plain http: not followed", before,
                     after);
    free(before);
    free(after);
    return rc;
}

static enum rc
ask(struct hub *hub, const struct hub_request *request, struct hop *hop, CURLU *url, struct err *err)
{
    char range[64];
    char *text = NULL, *origin = origin_of(url);
    const char *lines[5] = {"Accept: */*", "Accept-Encoding: identity"};
    size_t count = 2;
    struct transport_answer answer;
    enum rc rc = RC_OK;

    if (origin == NULL || curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK) {
        free(origin);
        return err_memory(err);
    }
    if (hub->token_line != NULL && strcmp(origin, hub->origin) == 0)
        lines[count++] = hub->token_line;
    if (request->from > 0) {
        (void)snprintf(range, sizeof range, "Range: bytes=%llu-", (unsigned long long)request->from);
        lines[count++] = range;
    }
    const struct transport_request exchange = {
        .url = text,
        .stall_ms = hub->stall_ms,
        .max_answer = SIZE_MAX,
        .headers = lines,
        .see = see,
        .take = take,
        .context = hop,
    };
    transport_exchange(hub->transport, &exchange, &answer);
    hop->answer->retry_after_ms = retry_after_ms(&answer.retry, (int64_t)time(NULL));
    switch (answer.end) {
    case TRANSPORT_ANSWERED:
        break;
    case TRANSPORT_GIVEN_UP:
        rc = RC_CLOSED;
        break;
    case TRANSPORT_NO_MEMORY:
        rc = err_memory(err);
        break;
    case TRANSPORT_FAILED:
        rc = err_set(err, answer.certificate ? RC_HALT : RC_RETRY, answer.certificate ? ERR_PROVIDER : ERR_TRANSIENT,
                     "%s is not reached: %s", origin, answer.problem);
        break;
    default:
        rc = err_set(err, RC_RETRY, ERR_TRANSIENT, "%s: the transfer of %s ended early: %s", origin, request->path,
                     answer.problem);
    }
    curl_free(text);
    free(origin);
    return rc;
}

enum rc
hub_get(struct hub *hub, const struct hub_request *request, struct hub_answer *ret_answer, struct err *err)
{
    struct strbuf address;
    struct hop *hop = calloc(1, sizeof *hop);
    CURLU *url = curl_url();
    enum rc rc = RC_OK;

    *ret_answer = (struct hub_answer){0};
    if (hop == NULL || url == NULL) {
        curl_url_cleanup(url);
        free(hop);
        return err_memory(err);
    }
    strbuf_init(&address, URL_MAX);
    strbuf_printf(&address, "%s%s", hub->base, request->path);
    if (address.failed || curl_url_set(url, CURLUPART_URL, strbuf_text(&address), 0) != CURLUE_OK)
        rc = err_memory(err);
    for (int hops = 0; rc == RC_OK; hops++) {
        hop->request = request;
        hop->answer = ret_answer;
        hop->first = hops == 0;
        /* a redirect within the hub (a model that was renamed) is still the hub's word */
        if (hops > 0) {
            char *origin = origin_of(url);
            hop->first = origin != NULL && strcmp(origin, hub->origin) == 0;
            free(origin);
        }
        if ((rc = ask(hub, request, hop, url, err)) != RC_OK)
            break;
        if (hop->status >= 300 && hop->status < 400) {
            rc = hops < HUB_HOPS_MAX ? next_hop(hop, url, err)
                                     : err_set(err, RC_HALT, ERR_PROVIDER, "%s redirects in circles", hub->base);
            if (rc == RC_OK && ret_answer->checksum.kind != CHECKSUM_NONE && !known(hop))
                rc = RC_CLOSED;
            continue;
        }
        if (hop->status != 200 && hop->status != 206)
            rc = refusal(hub, hop, request, err);
        else if (!hop->begun && !begin(hop))
            rc = RC_CLOSED;
        break;
    }
    ret_answer->status = hop->status;
    curl_url_cleanup(url);
    free(hop);
    strbuf_free(&address);
    return rc;
}

static bool
keep(void *context, const char *bytes, size_t length)
{
    struct strbuf *body = context;

    strbuf_add(body, bytes, length);
    return !body->failed;
}

enum rc
hub_get_text(struct hub *hub, const char *path, struct strbuf *body, struct err *err)
{
    const struct hub_request request = {.path = path, .take = keep, .context = body};
    struct hub_answer answer;
    enum rc rc = hub_get(hub, &request, &answer, err);

    if (rc == RC_CLOSED)
        rc = err_set(err, RC_HALT, ERR_PROVIDER, "the answer of %s to %s is too large", hub->base, path);
    return rc;
}
