#include "serve/listener.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 128 };

static bool
is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* Splits at the last colon; the brackets around an IPv6 address are taken off. */
static enum rc
split(const char *address, char host[LISTENER_TEXT], char port[8], struct err *err)
{
    const char *colon = strrchr(address, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - address);
    const char *from = address;

    if (length >= 2 && from[0] == '[' && from[length - 1] == ']') {
        from++;
        length -= 2;
    } else if (colon != NULL && memchr(address, ':', length) != NULL) {
        colon = NULL;
    }
    if (colon == NULL || length >= LISTENER_TEXT || colon[1] == '\0' || strlen(colon + 1) > 5 ||
        colon[1 + strspn(colon + 1, "0123456789")] != '\0' || strtoul(colon + 1, NULL, 10) > 65535) {
        (void)err_set(err, RC_INVALID, ERR_USAGE, "--listen must be HOST:PORT, not \"%.100s\"", address);
        err_hint(err, "such as 127.0.0.1:9843, [::1]:9843 or 0.0.0.0:9843");
        return RC_INVALID;
    }
    memcpy(host, from, length);
    host[length] = '\0';
    if (length == 0)
        (void)snprintf(host, LISTENER_TEXT, "localhost");
    (void)snprintf(port, 8, "%s", colon + 1);
    return RC_OK;
}

static void
describe(int fd, char url[LISTENER_TEXT])
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[INET6_ADDRSTRLEN] = "", port[8] = "";

    (void)getsockname(fd, (struct sockaddr *)&bound, &size);
    (void)getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(url, LISTENER_TEXT, strchr(host, ':') ? "http://[%s]:%s/" : "http://%s:%s/", host, port);
}

static enum rc
bind_to(const struct addrinfo *to, const char *address, struct listener *ret_listener, struct err *err)
{
    const int yes = 1;

    assert(to);
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "can't open a socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (to->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    if (bind(fd, to->ai_addr, to->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        (void)err_set(err, RC_INVALID, ERR_USAGE, "can't listen on %s: %s", address, strerror(errno));
        err_hint(err, "give another one: --listen HOST:PORT; port 0 takes any that is free");
        (void)close(fd);
        return RC_INVALID;
    }
    ret_listener->socket = fd;
    describe(fd, ret_listener->url);
    return RC_OK;
}

enum rc
listener_open(const char *address, bool loopback_only, struct listener *ret_listener, struct err *err)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[LISTENER_TEXT], port[8];
    bool loopback = true;
    enum rc rc = split(address, host, port, err);

    if (rc != RC_OK)
        return rc;
    int failed = getaddrinfo(host, port, &wanted, &found);
    if (failed != 0)
        return err_set(err, RC_INVALID, ERR_USAGE, "--listen %s: %s", address, gai_strerror(failed));
    for (const struct addrinfo *each = found; each != NULL; each = each->ai_next)
        loopback = loopback && is_loopback(each->ai_addr);
    if (loopback_only && !loopback) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s can be reached from other machines, and no token is set", address);
        err_hint(err, "set REEMBED_SERVE_TOKEN or --token-file to a secret of 16 characters or more, or listen on "
                      "127.0.0.1");
    } else {
        *ret_listener = (struct listener){.loopback = loopback};
        rc = bind_to(found, address, ret_listener, err);
    }
    freeaddrinfo(found);
    return rc;
}

bool
listener_host_is_local(const char *host)
{
    char name[LISTENER_TEXT];
    struct in6_addr number;
    const char *from = host;
    size_t length = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");

    if (host[0] == '[') {
        from++;
        length -= length > 0;
    }
    if (length == 0 || length >= sizeof name)
        return false;
    memcpy(name, from, length);
    name[length] = '\0';
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &number) == 1 ||
           inet_pton(AF_INET6, name, &number) == 1;
}
