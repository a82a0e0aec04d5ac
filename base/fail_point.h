/* base/fail_point.h - named places where a test makes the program die, stop, wait or fail.
 *
 * Compiled in only with the CMake option REEMBED_FAIL_POINTS, which is off in a release: there each call is nothing. The
 * environment says what happens where:
 *
 *     REEMBED_FAIL_POINTS=NAME=ACTION[:ARGUMENT][@FIRST[/EVERY]],...
 *
 *     kill          SIGKILL: no clean-up of any kind
 *     stop          SIGSTOP of the whole process, until somebody sends SIGCONT
 *     term          SIGTERM, and on
 *     delay:MS      this thread sleeps
 *     error         fail_point returns RC_FATAL
 *     error:retry   it returns RC_RETRY
 *     error:XXXXX   it returns RC_FATAL with this SQLSTATE; at the point db.statement the server itself raises it
 *
 * FIRST (1) and EVERY count how often the process came by; without EVERY it happens once. What happens is written to
 * stderr as `fail point NAME: ACTION`. A rule that can't be read ends the process with exit code 2.
 *
 * Threads: any. A point lies behind a step, unless its name says that it lies before (…ing).
 */
#ifndef REEMBED_BASE_FAIL_POINT_H
#define REEMBED_BASE_FAIL_POINT_H

#include <stdbool.h>

#include "base/err.h"

#ifdef REEMBED_FAIL_POINTS

/* RC_OK, or what the rule of this name says; then `err`, which may be NULL, is filled. */
enum rc fail_point(const char *name, struct err *err);

/* Whether a rule has this name. */
bool fail_point_known(const char *name);

#else

static inline enum rc
fail_point(const char *name, struct err *err)
{
    (void)name;
    (void)err;
    return RC_OK;
}

#endif
#endif
