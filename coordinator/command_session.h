/* coordinator/command_session.h - a connection for a command that asks a few questions and ends.
 *
 * Unlike a run, such a command gives up soon: somebody waits for its answer. Threads: the connection's owner.
 */
#ifndef REEMBED_COORDINATOR_COMMAND_SESSION_H
#define REEMBED_COORDINATOR_COMMAND_SESSION_H

#include "base/err.h"
#include "coordinator/commands.h"
#include "db/connection.h"

/* Connects. RC_RETRY/ERR_UNREACHABLE when the database is away. */
enum rc command_connect(const struct common_options *common, struct db **ret_db, struct err *err);

/* db_exec with retries of what may pass within seconds. Only for statements that may be repeated, and not inside
 * db_begin .. db_commit. `context` is not looked at: the form is that of sweep_exec. */
enum rc command_exec(void *context, struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
                     struct err *err);

#endif
