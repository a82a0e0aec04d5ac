/* cli/serve_command.h - serve, and the same beside a run: from options and environment to a server. */
#ifndef REEMBED_CLI_SERVE_COMMAND_H
#define REEMBED_CLI_SERVE_COMMAND_H

#include "base/measurements.h"
#include "cli/command.h"
#include "serve/server.h"

/* For `run --listen`: the caller ends the server first (server_close), then frees the measurements. */
enum rc serve_beside(const struct invocation *invocation, struct measurements **ret_measurements,
                     struct server **ret_server, struct err *err);

#endif
