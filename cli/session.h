/* cli/session.h - what a command asks of the database: one statement, one JSON document.
 *
 * The statements stand in cli/sql/ and return one row with one column `json`, so that what scripts get with --json and
 * what people get as text come from the same place.
 * Threads: one. Errors: those of db/connection.h; a missing schema is said as such (ERR_USAGE).
 */
#ifndef REEMBED_CLI_SESSION_H
#define REEMBED_CLI_SESSION_H

#include <cjson/cJSON.h>

#include "base/err.h"
#include "cli/command.h"
#include "db/connection.h"

/* Connects within the time in which a database that is away must be reported. */
enum rc session_open(const struct invocation *invocation, struct db **ret_db, struct err *err);

/* Runs `sql`; the caller frees *ret_text (cJSON_free is free). No row, or NULL: *ret_text is NULL. A lock that could
 * not be had, a deadlock and the like are tried again for a while. */
enum rc session_text(struct db *db, const char *sql, const struct params *params, char **ret_text, struct err *err);

/* The same, read; the caller frees with cJSON_Delete. */
enum rc session_json(struct db *db, const char *sql, const struct params *params, cJSON **ret_json, struct err *err);

/* The status of a migration (cli/sql/show_status.sql), as text too where `ret_text` is not NULL. `id` NULL: the
 * unfinished one, else the newest. RC_INVALID, ERR_USAGE where there is none, with the ids that there are. */
enum rc session_status(struct db *db, const char *id, char **ret_text, cJSON **ret_json, struct err *err);

/* Members of a JSON object, for printing: NULL or the fallback where it is absent, null or of another type. */
const char *json_text(const cJSON *object, const char *key);
double json_number(const cJSON *object, const char *key, double fallback);
bool json_true(const cJSON *object, const char *key);

#endif
