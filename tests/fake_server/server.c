#include "tests/fake_server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    EVENTS = 64,
    READ_SIZE = 256 * 1024,
    HEAD_MAX = 64 * 1024,
    BLANKS = 64 * 1024,
};

#define BODY_MAX   ((size_t)1 << 30)
#define ANSWER_MAX ((size_t)2 << 30)

enum stage { STAGE_READING, STAGE_WAITING, STAGE_SENDING, STAGE_HANGING };

/* One client: reads a request, waits until the answer is due, sends it; what came in meanwhile is read afterwards. */
struct connection {
    struct connection *next, *previous;
    int fd;
    uint64_t number;
    enum stage stage;
    bool wants_write;
    struct strbuf in;
    struct answer answer;
    size_t sent;
    int64_t due; /* of the answer, or of its next drop; in monotonic microseconds */
};

struct server {
    int epoll;
    struct fake *fake;
    struct connection *connections;
    char blanks[BLANKS];
};

static void
watch(struct server *server, struct connection *connection, bool wants_write)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = connection};

    if (connection->wants_write == wants_write)
        return;
    connection->wants_write = wants_write;
    (void)epoll_ctl(server->epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

static void
drop(struct server *server, struct connection *connection, bool reset)
{
    if (connection->stage != STAGE_READING)
        server->fake->counters.in_flight -= connection->answer.counted;
    if (reset) {
        const struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    (void)close(connection->fd);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    strbuf_free(&connection->in);
    strbuf_free(&connection->answer.bytes);
    free(connection);
}

static void
accept_all(struct server *server, int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct connection *connection = calloc(1, sizeof *connection);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        const int on = 1;

        if (connection == NULL || epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            free(connection);
            (void)close(fd);
            continue;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection->fd = fd;
        connection->number = ++server->fake->counters.connections;
        strbuf_init(&connection->in, HEAD_MAX + BODY_MAX);
        strbuf_init(&connection->answer.bytes, ANSWER_MAX);
        connection->next = server->connections;
        if (connection->next != NULL)
            connection->next->previous = connection;
        server->connections = connection;
    }
}

/* Where the connection stands after something was done: it may be gone. */
enum standing { STANDS, GONE };

static enum standing answer_next(struct server *server, struct connection *connection);

static enum standing
answer_sent(struct server *server, struct connection *connection)
{
    enum answer_end end = connection->answer.end;

    if (end == END_CLOSE || end == END_RESET) {
        drop(server, connection, end == END_RESET);
        return GONE;
    }
    server->fake->counters.in_flight -= connection->answer.counted;
    connection->stage = STAGE_READING;
    watch(server, connection, false);
    return answer_next(server, connection);
}

/* Sends what is due now. */
static enum standing
send_some(struct server *server, struct connection *connection)
{
    struct answer *answer = &connection->answer;

    while (connection->sent < answer->bytes.length || answer->blanks > 0) {
        const char *from = server->blanks;
        size_t left = answer->blanks < BLANKS ? (size_t)answer->blanks : BLANKS;
        bool is_blank = connection->sent == answer->bytes.length;

        if (!is_blank) {
            from = answer->bytes.bytes + connection->sent;
            left = answer->bytes.length - connection->sent;
        }
        if (answer->drip_bytes > 0 && left > (size_t)answer->drip_bytes)
            left = (size_t)answer->drip_bytes;
        ssize_t written = send(connection->fd, from, left, MSG_NOSIGNAL);
        if (written < 0 && (errno == EAGAIN || errno == EINTR)) {
            watch(server, connection, true);
            return STANDS;
        }
        if (written < 0) {
            drop(server, connection, false);
            return GONE;
        }
        if (is_blank)
            answer->blanks -= (uint64_t)written;
        else
            connection->sent += (size_t)written;
        if (answer->drip_bytes > 0) {
            connection->stage = STAGE_WAITING;
            connection->due = clock_now_us() + answer->drip_ms * 1000;
            watch(server, connection, false);
            return STANDS;
        }
    }
    return answer_sent(server, connection);
}

/* A whole request at the beginning of `in`? Its parts point into `in`; *ret_size is what it takes up there. */
static bool
parse_request(struct connection *connection, struct http_request *request, size_t *ret_size)
{
    struct strbuf *in = &connection->in;
    char *end = in->length > 0 ? memmem(in->bytes, in->length, "\r\n\r\n", 4) : NULL;
    char value[32];

    if (end == NULL)
        return false;
    size_t head = (size_t)(end - in->bytes) + 4, length = 0;
    end[2] = '\0'; /* the last header line keeps its end */
    if (header_value(in->bytes, "content-length", value, sizeof value))
        length = (size_t)strtoull(value, NULL, 10);
    if (length > BODY_MAX || in->length < head + length) {
        end[2] = '\r';
        return false;
    }
    char *first = in->bytes, *line_end = strstr(in->bytes, "\r\n");
    *line_end = '\0';
    char *path = strchr(first, ' ');
    char *version = path != NULL ? strchr(path + 1, ' ') : NULL;
    *request = (struct http_request){
        .path = "", .head = line_end + 2, .body = in->bytes + head, .length = length, .connection = connection->number};
    if (version != NULL) {
        *path = '\0';
        *version = '\0';
        request->path = path + 1;
        strncpy(request->method, first, sizeof request->method - 1);
    }
    *ret_size = head + length;
    return true;
}

static enum standing
answer_next(struct server *server, struct connection *connection)
{
    struct http_request request;
    size_t size;
    int64_t now = clock_now_us();

    if (connection->stage != STAGE_READING || !parse_request(connection, &request, &size))
        return STANDS;
    struct counters *counters = &server->fake->counters;
    struct strbuf bytes = connection->answer.bytes;
    strbuf_reset(&bytes);
    connection->answer = (struct answer){.bytes = bytes};
    connection->sent = 0;
    connection->stage = STAGE_WAITING;
    fake_answer(server->fake, &request, now / 1000, &connection->answer);
    counters->in_flight += connection->answer.counted;
    if (counters->in_flight > counters->max_in_flight)
        counters->max_in_flight = counters->in_flight;
    memmove(connection->in.bytes, connection->in.bytes + size, connection->in.length - size);
    connection->in.length -= size;
    connection->due = now + connection->answer.delay_ms * 1000;
    if (connection->answer.end == END_HANG) {
        connection->stage = STAGE_HANGING;
        return STANDS;
    }
    if (connection->answer.delay_ms > 0)
        return STANDS;
    connection->stage = STAGE_SENDING;
    return send_some(server, connection);
}

static enum standing
read_some(struct server *server, struct connection *connection)
{
    static char block[READ_SIZE];
    ssize_t length = recv(connection->fd, block, sizeof block, 0);

    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return STANDS;
    if (length > 0)
        strbuf_add(&connection->in, block, (size_t)length);
    if (length <= 0 || connection->in.failed) {
        drop(server, connection, false);
        return GONE;
    }
    return answer_next(server, connection);
}

/* Answers that have become due; how many microseconds until the next one, -1: none. */
static int64_t
serve_due(struct server *server)
{
    int64_t now = clock_now_us(), next = -1;

    for (struct connection *connection = server->connections, *following; connection != NULL; connection = following) {
        following = connection->next;
        if (connection->stage != STAGE_WAITING)
            continue;
        if (connection->due <= now) {
            connection->stage = STAGE_SENDING;
            if (send_some(server, connection) == GONE)
                continue;
        }
        if (connection->stage == STAGE_WAITING && (next < 0 || connection->due < next))
            next = connection->due;
    }
    return next < 0 ? -1 : next <= now ? 0 : next - now;
}

/* To the microsecond: epoll_wait's milliseconds would make a latency of 20 ms one of 20.5. */
static int
wait_for_events(const struct server *server, int64_t wait_us, struct epoll_event *events)
{
    struct pollfd readable = {.fd = server->epoll, .events = POLLIN};
    const struct timespec wait = {.tv_sec = (time_t)(wait_us / 1000000), .tv_nsec = (long)(wait_us % 1000000) * 1000};

    (void)ppoll(&readable, 1, wait_us < 0 ? NULL : &wait, NULL);
    return epoll_wait(server->epoll, events, EVENTS, 0);
}

enum rc
server_listen(uint16_t port, int *ret_socket, uint16_t *ret_port, struct err *err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        err_set(err, RC_FATAL, ERR_SYSTEM, "can't listen on port %u: %s", port, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return RC_FATAL;
    }
    *ret_socket = fd;
    *ret_port = ntohs(address.sin_port);
    return RC_OK;
}

enum rc
server_run(int listener, int stop_fd, struct fake *fake, struct err *err)
{
    struct server *server = calloc(1, sizeof *server);
    struct epoll_event events[EVENTS];
    struct epoll_event on_listener = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event on_stop = {.events = EPOLLIN, .data.ptr = server};
    bool running = true;
    enum rc rc = RC_OK;

    if (server == NULL)
        return err_memory(err);
    server->fake = fake;
    memset(server->blanks, ' ', sizeof server->blanks);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0 || epoll_ctl(server->epoll, EPOLL_CTL_ADD, listener, &on_listener) != 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, stop_fd, &on_stop) != 0) {
        rc = err_set(err, RC_FATAL, ERR_SYSTEM, "epoll: %s", strerror(errno));
        running = false;
    }
    while (running) {
        int count = wait_for_events(server, serve_due(server), events);

        for (int i = 0; i < count && running; i++) {
            struct connection *connection = events[i].data.ptr;

            if (connection == NULL) {
                accept_all(server, listener);
            } else if ((void *)connection == (void *)server) {
                running = false;
            } else if (connection->stage == STAGE_SENDING && events[i].events & EPOLLOUT) {
                (void)send_some(server, connection);
            } else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                (void)read_some(server, connection);
            }
        }
    }
    while (server->connections != NULL)
        drop(server, server->connections, false);
    if (server->epoll >= 0)
        (void)close(server->epoll);
    free(server);
    return rc;
}
