/* db/connection.h - one connection to Postgres that belongs to one thread.
 *
 * Every statement is a transaction of its own, sent as one libpq pipeline: the settings that hold for this transaction
 * alone (timeouts, options.settings), the statement, Sync. Nothing is ever left behind in the session, so a pooler in
 * transaction mode may stand in between: no named statements, no SET, no LISTEN, no session locks.
 * The same pipeline also checks that the server is the one that was read from at connect (its start time): a statement
 * never runs on another one unseen, also not behind a pooler. See db_incarnation.
 *
 * Threads: one owner; only db_cancel may be called from another thread, while the connection is alive.
 * Results: owned by the caller, PQclear'ed by it; read them by db/result.h. `ret_result` may be NULL; it is set on
 * RC_OK only.
 * Isolation: READ COMMITTED, whatever the role's default is.
 *
 * What the functions that run statements return, with `err` filled unless RC_OK:
 *   RC_OK
 *   RC_RETRY    may pass: connection lost, or SQLSTATE 08*, 40001, 40P01, 55P03, 57P01-57P03, 53300, 25006, 57014.
 *               db_alive tells whether db_reconnect is needed first. Whether a write whose answer was lost took place
 *               is not known: read its fence row.
 *   RC_CLOSED   the stop flag or db_cancel ended it; nothing was stored
 *   RC_REFUSED  RE001 (ERR_STATE), RE002 (ERR_USAGE), RE003 (ERR_GATE)
 *   RC_INVALID  22*, 23* (ERR_DATABASE), 42* and missing objects (ERR_USAGE), missing privilege (ERR_UNREACHABLE)
 *   RC_FATAL    anything else, such as a full disk (err_is_disk_full)
 */
#ifndef REEMBED_DB_CONNECTION_H
#define REEMBED_DB_CONNECTION_H

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "db/params.h"
#include "db/retry.h"

#define DB_NO_TIMEOUT    (-1)
#define DB_MAX_IN_FLIGHT 64

struct db;

/* A setting for every transaction of a connection, such as {"enable_seqscan", "off"}. */
struct db_setting {
    const char *name;
    const char *value;
};

/* Copied by db_open, except for `stop`. 0 or NULL: the default. */
struct db_options {
    const char *url;              /* URI or keyword=value; NULL or "": libpq's own PG* environment */
    const char *application_name; /* "reembed" */
    int connect_timeout_secs;     /* 5, for each address of the server */
    int statement_timeout_ms;     /* 30,000; DB_NO_TIMEOUT: none */
    int lock_timeout_ms;          /* 2,000; DB_NO_TIMEOUT: none */
    const struct db_setting *settings;
    size_t setting_count;
    const atomic_bool *stop; /* once true, waiting ends within 0.1 s: the statement is cancelled, RC_CLOSED */
};

/* What was found at the last connect. */
struct db_server {
    int version;        /* 160004 */
    int64_t started_us; /* pg_postmaster_start_time() in microseconds since 2000-01-01 UTC */
    uint32_t timeline;  /* 0: the role may not know */
    int backend_pid;    /* of the transaction at connect; behind a pooler a later one may have another */
    bool pooled;        /* something stands between us and the backend */
};

/* Connects. RC_RETRY/ERR_UNREACHABLE with libpq's text (no secrets) when the server is away or refuses us;
 * RC_INVALID/ERR_USAGE for a malformed URL or a server older than Postgres 15. The URL's password is registered with
 * log_secret. */
enum rc db_open(const struct db_options *options, struct db **ret_db, struct err *err);
struct db *db_close(struct db *db); /* NULL is fine; returns NULL; what is in flight is given up */

/* Drops the old connection with all that was in flight and connects anew, by `policy` (NULL: DB_RECONNECT_POLICY).
 * The incarnation changes as soon as the old connection is dropped. RC_CLOSED when the stop flag was raised. */
enum rc db_reconnect(struct db *db, const struct retry_policy *policy, struct err *err);
#define DB_RECONNECT_POLICY                                                                                            \
    ((struct retry_policy){.max_attempts = 0, .first_ms = 100, .cap_ms = 5000, .total_ms = 300000})

/* A number that is never the same again within the process after a reconnect or after the server was seen to be
 * another one. What was read under one incarnation must not be written under the next: a crashed server may have lost
 * a commit that was read from it (asynchronous commit, failover). */
uint64_t db_incarnation(const struct db *db);
const struct db_server *db_server(const struct db *db);
/* Both connections lead to the same server and neither has seen it restart. */
bool db_same_server(const struct db_server *a, const struct db_server *b);

bool db_alive(const struct db *db); /* false: db_reconnect must come first */
const char *db_user(const struct db *db);
const char *db_name(const struct db *db);

/* The stop flag may be taken off (NULL) for the last statements of a shutdown. */
void db_set_stop(struct db *db, const atomic_bool *stop);
/* A raised stop flag drops the connection and leaves the statement to the server, which goes on with it: an index build
 * of an hour is not lost because the process that asked for it must go. */
void db_leave_on_stop(struct db *db, bool leave);
/* As in db_options, from the next transaction on. RC_FATAL: out of memory. */
enum rc db_set_timeouts(struct db *db, int statement_timeout_ms, int lock_timeout_ms, struct err *err);

/* Asks the server to end the statement that runs now; the waiting thread gets RC_CLOSED. Any thread. Blocks for one
 * round trip on a connection of its own. */
enum rc db_cancel(struct db *db, struct err *err);

/* --- statements --- */

/* One statement; results in binary format. `params` may be NULL; a failed params_add_* is reported here. */
enum rc db_exec(struct db *db, const char *sql, const struct params *params, PGresult **ret_result, struct err *err);

/* The same with results as text, for display. */
enum rc db_exec_text(struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
                     struct err *err);

/* For what refuses to run inside a transaction block, such as CREATE INDEX CONCURRENTLY. The timeouts (DB_NO_TIMEOUT,
 * or milliseconds) are set for the session around the statement and reset behind it, also when this process dies.
 * Behind a pooler nothing can be set for a session: there its own timeouts hold, RC_INVALID/ERR_USAGE when one of them
 * is shorter than asked for. Not inside db_begin .. db_commit. */
enum rc db_exec_raw(struct db *db, const char *sql, int statement_timeout_ms, int lock_timeout_ms, struct err *err);

/* Several statements in one text, all or nothing. Inside db_begin .. db_commit they join that transaction. No
 * parameters, no results, no transaction commands inside. */
enum rc db_script(struct db *db, const char *sql, struct err *err);

/* --- several statements in one transaction ---
 * After a failed statement only db_rollback is left. idle_in_transaction_session_timeout is the statement timeout, so
 * a process that was stopped in its tracks holds its locks no longer than that. */
enum rc db_begin(struct db *db, struct err *err);
enum rc db_commit(struct db *db, struct err *err);
void db_rollback(struct db *db); /* fine when none is open or the connection is lost */

/* --- several statements in flight, each its own transaction: one that fails does not take the others along ---
 * db_send returns when the whole statement has been handed to the kernel (RC_AGAIN: db_max_in_flight are under way).
 * db_receive gives the answers in the order of sending, one for each send that returned RC_OK, also after the
 * connection was lost (RC_RETRY each). db_exec and the others above may not be called while something is in flight, nor
 * these two inside db_begin .. db_commit. */
enum rc db_send(struct db *db, const char *sql, const struct params *params, struct err *err);
enum rc db_receive(struct db *db, PGresult **ret_result, struct err *err);
size_t db_in_flight(const struct db *db);
size_t db_max_in_flight(const struct db *db); /* DB_MAX_IN_FLIGHT; 1 behind a pooler. May change by db_reconnect */
bool db_ready(struct db *db);                 /* the next answer has begun to arrive, or never will */
int db_socket(const struct db *db);           /* to poll for input; -1 when the connection is lost */

/* --- errors and URLs --- */
bool err_is_disk_full(const struct err *err);

/* The place a URL leads to, "postgresql://user:***@host:5432/name", without anything secret; NULL: what the
 * environment says. Caller frees; NULL when out of memory. */
char *db_url_for_display(const char *url);

#endif
