/* tests/fake_server/server.h - connections of the fake server: one thread, epoll, HTTP/1.1 with keep-alive. */
#ifndef REEMBED_TESTS_FAKE_SERVER_SERVER_H
#define REEMBED_TESTS_FAKE_SERVER_SERVER_H

#include <stdint.h>

#include "base/err.h"
#include "tests/fake_server/answer.h"

/* Listens on 127.0.0.1. `port` 0: any; *ret_port says which. */
enum rc server_listen(uint16_t port, int *ret_socket, uint16_t *ret_port, struct err *err);

/* Serves until `stop_fd` becomes readable. */
enum rc server_run(int listener, int stop_fd, struct fake *fake, struct err *err);

#endif
