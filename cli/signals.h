/* cli/signals.h - how the process is told to stop.
 *
 * SIGINT, SIGTERM and SIGHUP are blocked before the first thread begins, so that no library is interrupted. A command
 * that has something to store waits for them in a thread of its own; for all others they end the process as usual.
 */
#ifndef REEMBED_CLI_SIGNALS_H
#define REEMBED_CLI_SIGNALS_H

#include <stdatomic.h>

#include "base/err.h"

/* First thing in main. Ignores SIGPIPE too: a reader that went away is seen by the write that fails. */
void signals_block(void);

/* The first signal ends the process, as usual. */
void signals_unblock(void);

/* The first signal raises *stop, the second ends the process with EXIT_MORE where it stands. `stop` must live as long
 * as the process. */
enum rc signals_watch(atomic_bool *stop, struct err *err);

#endif
