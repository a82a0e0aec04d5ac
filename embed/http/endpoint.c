#include "embed/http/endpoint.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/strbuf.h"

enum { URL_MAX = 4096 };

bool
endpoint_is_loopback(const char *host)
{
    static const char local[] = ".localhost";
    char bare[64];
    size_t length = strlen(host);
    struct in_addr v4;
    struct in6_addr v6;

    if (strcasecmp(host, "localhost") == 0 ||
        (length > sizeof local - 1 && strcasecmp(host + length - (sizeof local - 1), local) == 0))
        return true;
    if (host[0] == '[' && length >= 2 && length - 2 < sizeof bare) {
        memcpy(bare, host + 1, length - 2);
        bare[length - 2] = '\0';
        host = bare;
    }
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static void
add_encoded(struct strbuf *buf, const char *text)
{
    /* A slash is a part of a model's name ("BAAI/bge"), and servers that have the model in the path take it so. */
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~/:@", c) != NULL)
            strbuf_putc(buf, (char)c);
        else
            strbuf_printf(buf, "%%%02X", c);
    }
}

/* How much of the beginning of `path` stands at the end of `base` already, whole segments only. */
static size_t
overlap(const char *base, size_t base_length, const char *path)
{
    for (size_t length = strlen(path); length > 0; length--) {
        bool segment = path[length] == '\0' || path[length] == '/';
        if (segment && length <= base_length && memcmp(base + base_length - length, path, length) == 0)
            return length;
    }
    return 0;
}

/* The base's path, joined with the dialect's. */
static void
join(struct strbuf *joined, const char *base, const char *drop, const char *path)
{
    size_t length = strlen(base);

    while (length > 0 && base[length - 1] == '/')
        length--;
    if (drop != NULL && overlap(base, length, drop) == strlen(drop))
        length -= strlen(drop);
    strbuf_add(joined, base, length);
    strbuf_puts(joined, path + overlap(base, length, path));
}

/* A printable copy of the address; NULL when out of memory. */
static char *
url_text(CURLU *url)
{
    char *text = NULL, *copy = NULL;

    if (curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK)
        copy = strdup(text);
    curl_free(text);
    return copy;
}

static bool
has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return true;
    return false;
}

static enum rc
bad_url(struct err *err, const char *what)
{
    err_set(err, RC_INVALID, ERR_USAGE, "provider.url: %s", what);
    err_hint(err, "it is the base of the server's address, such as \"https://api.example.com/v1\"");
    return RC_INVALID;
}

/* A key in the clear may be read by whoever is between; on this machine nobody is. */
static enum rc
check_key(const struct provider_options *options, const char *scheme, const char *host, bool has_password,
          struct err *err)
{
    if (options->api_key != NULL && has_control(options->api_key)) {
        err_set(err, RC_INVALID, ERR_USAGE, "the API key has a line end or another control character");
        err_hint(err, "look at the variable that provider.api_key_env names");
        return RC_INVALID;
    }
    if ((options->api_key != NULL || has_password) && strcasecmp(scheme, "https") != 0 && !endpoint_is_loopback(host)) {
        err_set(err, RC_INVALID, ERR_USAGE, "provider.url: a key is not sent over plain http to %s", host);
        err_hint(err, "use https, or leave out provider.api_key_env when the server needs no key");
        return RC_INVALID;
    }
    return RC_OK;
}

static enum rc
make_urls(const struct dialect *dialect, const struct provider_options *options, CURLU *url, const char *base_path,
          bool has_query, struct endpoint *endpoint, struct err *err)
{
    struct strbuf path, joined;
    enum rc rc = RC_FATAL;

    strbuf_init(&path, URL_MAX);
    strbuf_init(&joined, URL_MAX);
    for (const char *at = dialect->path; *at != '\0';) {
        if (strncmp(at, "$model", 6) == 0) {
            add_encoded(&path, dialect_model(dialect, options->model));
            at += 6;
        } else {
            strbuf_putc(&path, *at++);
        }
    }
    join(&joined, base_path, dialect->base_drop, strbuf_text(&path));
    if (path.failed || joined.failed) {
        rc = bad_url(err, "it is too long");
        goto out;
    }
    if (curl_url_set(url, CURLUPART_PATH, strbuf_text(&joined), 0) != CURLUE_OK ||
        (!has_query && dialect->query != NULL && curl_url_set(url, CURLUPART_QUERY, dialect->query, 0) != CURLUE_OK) ||
        (endpoint->url = url_text(url)) == NULL) {
        rc = err_memory(err);
        goto out;
    }
    if (curl_url_set(url, CURLUPART_QUERY, NULL, 0) != CURLUE_OK) {
        rc = err_memory(err);
        goto out;
    }
    if (dialect->info_path != NULL) {
        strbuf_reset(&joined);
        join(&joined, base_path, dialect->info_base_drop, dialect->info_path);
        if (joined.failed || curl_url_set(url, CURLUPART_PATH, strbuf_text(&joined), 0) != CURLUE_OK ||
            (endpoint->info_url = url_text(url)) == NULL) {
            rc = err_memory(err);
            goto out;
        }
        strbuf_reset(&joined);
        join(&joined, base_path, dialect->base_drop, strbuf_text(&path));
        (void)curl_url_set(url, CURLUPART_PATH, strbuf_text(&joined), 0);
    }
    (void)curl_url_set(url, CURLUPART_USER, NULL, 0);
    (void)curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    endpoint->shown = url_text(url);
    rc = endpoint->shown != NULL ? RC_OK : err_memory(err);
out:
    strbuf_free(&path);
    strbuf_free(&joined);
    return rc;
}

enum rc
endpoint_make(const struct dialect *dialect, const struct provider_options *options, struct endpoint *ret_endpoint,
              struct err *err)
{
    char *scheme = NULL, *host = NULL, *password = NULL, *path = NULL, *query = NULL;
    CURLU *url = NULL;
    enum rc rc;

    *ret_endpoint = (struct endpoint){0};
    if (options->url == NULL || options->url[0] == '\0')
        return bad_url(err, "it is missing");
    if (strlen(options->url) >= URL_MAX)
        return bad_url(err, "it is too long");
    url = curl_url();
    if (url == NULL)
        return err_memory(err);
    /* No guessing of a scheme: "localhost:8080" would become something else than was meant. */
    if (curl_url_set(url, CURLUPART_URL, options->url, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)) {
        rc = bad_url(err, "it is no http or https address");
        goto out;
    }
    bool has_password = curl_url_get(url, CURLUPART_PASSWORD, &password, CURLU_URLDECODE) == CURLUE_OK;
    if (has_password)
        log_secret(password);
    if ((rc = check_key(options, scheme, host, has_password, err)) != RC_OK)
        goto out;
    ret_endpoint->plain_key = (options->api_key != NULL || has_password) && strcasecmp(scheme, "https") != 0;

    bool has_query = curl_url_get(url, CURLUPART_QUERY, &query, 0) == CURLUE_OK;
    (void)curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    if (curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK) {
        rc = err_memory(err);
        goto out;
    }
    if ((rc = make_urls(dialect, options, url, path, has_query, ret_endpoint, err)) != RC_OK)
        goto out;
    if (options->api_key != NULL) {
        log_secret(options->api_key);
        if (asprintf(&ret_endpoint->header, "%s: %s%s", dialect->key_header, dialect->key_prefix, options->api_key) <
            0) {
            ret_endpoint->header = NULL;
            rc = err_memory(err);
        }
    }
out:
    if (rc != RC_OK)
        endpoint_free(ret_endpoint);
    curl_free(scheme);
    curl_free(host);
    curl_free(password);
    curl_free(path);
    curl_free(query);
    curl_url_cleanup(url);
    return rc;
}

void
endpoint_free(struct endpoint *endpoint)
{
    free(endpoint->url);
    free(endpoint->info_url);
    free(endpoint->shown);
    if (endpoint->header != NULL)
        explicit_bzero(endpoint->header, strlen(endpoint->header));
    free(endpoint->header);
    *endpoint = (struct endpoint){0};
}
