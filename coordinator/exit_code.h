/* coordinator/exit_code.h - what the process says when it ends. The codes themselves: coordinator/commands.h. */
#ifndef REEMBED_COORDINATOR_EXIT_CODE_H
#define REEMBED_COORDINATOR_EXIT_CODE_H

#include "base/err.h"
#include "coordinator/commands.h"

/* The exit code for an error. SQLSTATEs of our own count before the class: they are the more exact word. */
int exit_code_of(enum rc rc, const struct err *err);

#endif
