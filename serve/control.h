/* serve/control.h - what the page's buttons do: the same SQL functions as the commands.
 *
 * Each call has a connection of its own, one call at a time. Threads: any.
 */
#ifndef REEMBED_SERVE_CONTROL_H
#define REEMBED_SERVE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

/* "pause", "resume", "cutover", "rollback" */
bool control_is_known(const char *operation);

/* `body`: {"migration_id": text, "reason": text or null, "force": bool}, the last two where the operation takes them.
 * Appends {"state": ...}, as the function returned it. RC_INVALID/ERR_USAGE: the body. Others as in db/connection.h. */
enum rc control_call(const char *database_url, const char *name, const char *body, size_t length, struct strbuf *out,
                     struct err *err);

#endif
