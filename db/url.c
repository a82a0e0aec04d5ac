#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "db/internal.h"

enum { DISPLAY_MAX_BYTES = 4096 };

static const char *
after_scheme(const char *url)
{
    static const char *const schemes[] = {"postgresql://", "postgres://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strncmp(url, schemes[i], strlen(schemes[i])) == 0)
            return url + strlen(schemes[i]);
    }
    return NULL;
}

/* False for "pa" in "user:pa/ss@host", which libpq takes for the port of a host called user. */
static bool
ports_are_numbers(const char *hosts, size_t length)
{
    while (length > 0) {
        const char *comma = memchr(hosts, ',', length);
        size_t item = comma != NULL ? (size_t)(comma - hosts) : length;
        const char *colon = memrchr(hosts, ':', item);
        bool inside_ipv6 = colon != NULL && memchr(colon, ']', item - (size_t)(colon - hosts)) != NULL;
        if (colon != NULL && !inside_ipv6 && colon + 1 + strspn(colon + 1, "0123456789") < hosts + item)
            return false;
        length -= item;
        hosts += item;
        if (length > 0) {
            length--;
            hosts++;
        }
    }
    return true;
}

/* A password with an unescaped @ or / is read as part of the host, port or database name, and then shown in errors as
 * one: such a URL never reaches libpq. `authority` is what follows the scheme. */
static bool
has_stray_delimiter(const char *authority)
{
    size_t user = strcspn(authority, "@/"); /* as conninfo_uri_parse_options in fe-connect.c looks for it */
    const char *rest = authority[user] == '@' ? authority + user + 1 : authority;
    size_t place = strcspn(rest, "?");

    return memchr(rest, '@', place) != NULL || !ports_are_numbers(rest, strcspn(rest, "/?"));
}

static const char *
option(const PQconninfoOption *options, const char *keyword)
{
    for (; options != NULL && options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL && options->val[0] != '\0' ? options->val : NULL;
    }
    return NULL;
}

static bool
may_hold_secret(const char *url)
{
    const char *authority = after_scheme(url);
    return strstr(url, "password") != NULL || (authority != NULL && strpbrk(authority, ":@") != NULL);
}

enum rc
url_check(const char *url, struct err *err)
{
    const char *environment_password = getenv("PGPASSWORD");
    if (environment_password != NULL)
        log_secret(environment_password);
    if (url == NULL || url[0] == '\0')
        return RC_OK;

    const char *authority = after_scheme(url);
    if (authority == NULL && strchr(url, '=') == NULL) {
        enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "the database URL is neither a URI nor keyword=value pairs");
        err_hint(err, "write it as postgresql://user@host:5432/database");
        return rc;
    }
    if (authority != NULL && has_stray_delimiter(authority)) {
        enum rc rc = err_set(err, RC_INVALID, ERR_USAGE,
                             "the database URL can't be read: it has an unescaped @ or / in its password, or a port "
                             "that is no number");
        err_hint(err, "write %%40 for @, %%2F for /, %%3A for :, %%25 for %% in user and password");
        return rc;
    }

    char *complaint = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &complaint);
    if (options == NULL && (complaint == NULL || strncmp(complaint, "out of memory", 13) == 0)) {
        PQfreemem(complaint);
        return err_memory(err);
    }
    if (options == NULL) {
        /* libpq quotes what it could not read, which may be a piece of the password */
        bool shown = complaint != NULL && !may_hold_secret(url);
        enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "the database URL can't be read%s%s", shown ? ": " : "",
                             shown ? complaint : "");
        err_hint(err, "write it as postgresql://user@host:5432/database, with %%40 for @ in a password");
        PQfreemem(complaint);
        return rc;
    }
    static const char *const secrets[] = {"password", "sslpassword"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (option(options, secrets[i]) != NULL)
            log_secret(option(options, secrets[i]));
    }
    PQconninfoFree(options);
    return RC_OK;
}

/* Host number `index` of a comma-separated list, or the last of a shorter list. */
static void
list_item(const char *list, size_t index, const char **ret_item, size_t *ret_length)
{
    size_t length = strcspn(list, ",");
    while (index-- > 0 && list[length] == ',') {
        list += length + 1;
        length = strcspn(list, ",");
    }
    *ret_item = list;
    *ret_length = length;
}

static void
show_hosts(struct strbuf *buf, const char *hosts, const char *ports)
{
    const char *item;
    size_t length;
    size_t count = 1;
    for (const char *p = hosts; *p != '\0'; p++)
        count += *p == ',';
    for (size_t i = 0; i < count; i++) {
        list_item(hosts, i, &item, &length);
        bool ipv6 = memchr(item, ':', length) != NULL;
        strbuf_puts(buf, i > 0 ? "," : "");
        strbuf_puts(buf, ipv6 ? "[" : "");
        strbuf_add(buf, item, length);
        strbuf_puts(buf, ipv6 ? "]" : "");
        if (ports != NULL) {
            list_item(ports, i, &item, &length);
            if (length > 0) {
                strbuf_putc(buf, ':');
                strbuf_add(buf, item, length);
            }
        }
    }
}

char *
db_url_for_display(const char *url)
{
    bool given = url != NULL && url[0] != '\0';
    struct err ignored;
    if (given && url_check(url, &ignored) != RC_OK)
        return strdup("(a database URL that can't be read)");

    PQconninfoOption *own = given ? PQconninfoParse(url, NULL) : NULL;
    PQconninfoOption *defaults = PQconndefaults();
    static const char *const keywords[] = {"user", "host", "hostaddr", "port", "dbname", "password"};
    const char *values[sizeof keywords / sizeof keywords[0]];
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        values[i] = option(own, keywords[i]);
        if (values[i] == NULL)
            values[i] = option(defaults, keywords[i]);
    }
    const char *host = values[1] != NULL ? values[1] : values[2];
    bool socket = host != NULL && host[0] == '/';

    struct strbuf buf;
    strbuf_init(&buf, DISPLAY_MAX_BYTES);
    strbuf_puts(&buf, "postgresql://");
    if (values[0] != NULL)
        strbuf_printf(&buf, "%s%s@", values[0], values[5] != NULL ? ":***" : "");
    if (host != NULL && !socket)
        show_hosts(&buf, host, values[3]);
    strbuf_putc(&buf, '/');
    if (values[4] != NULL)
        strbuf_puts(&buf, values[4]);
    else if (values[0] != NULL)
        strbuf_puts(&buf, values[0]);
    if (socket)
        strbuf_printf(&buf, "?host=%s", host);
    PQconninfoFree(own);
    PQconninfoFree(defaults);

    char *text = strbuf_take(&buf);
    strbuf_free(&buf);
    if (text != NULL)
        log_scrub(text);
    return text;
}
