/* db/internal.h - what the files behind db/connection.h share. Nobody else includes it.
 *
 * db/connection.c  open, identity, reconnect, cancel      db/exec.c    statements, pipelines, transactions
 * db/answer.c      a server's complaint -> rc and err     db/url.c     checking and showing a database URL
 * db/fault.c       fail points of statements
 */
#ifndef REEMBED_DB_INTERNAL_H
#define REEMBED_DB_INTERNAL_H

#include <pthread.h>

#include "base/strbuf.h"
#include "db/connection.h"

/* A pipeline group of one statement has up to two commands before it: isolation level and settings. */
enum group_kind {
    GROUP_STATEMENT, /* settings of the transaction, statement */
    GROUP_BARE,      /* the statement alone */
};

struct db {
    PGconn *conn;         /* in non-blocking pipeline mode; NULL before the first and between two connects */
    bool lost;            /* nothing more can be had from `conn` */
    uint64_t incarnation; /* of db_incarnation */
    struct db_server server;
    bool set_isolation; /* the role's default is not READ COMMITTED */

    char *url; /* owned copies of the options */
    char *application_name;
    struct strbuf settings_sql; /* ", set_config('name', 'value', true)" for each of options.settings */
    int connect_timeout_secs;
    int statement_timeout_ms; /* 0: none */
    int lock_timeout_ms;      /* 0: none */
    const atomic_bool *stop;
    bool leave_on_stop;          /* give the connection up instead of cancelling */
    struct strbuf prelude;       /* the command that makes the settings of one transaction */
    struct strbuf prelude_begin; /* the same for db_begin */

    /* How many commands stand before the statement in each group whose answer is awaited, oldest first at `head`. */
    unsigned char flights[DB_MAX_IN_FLIGHT];
    size_t flight_head;
    size_t flight_count;

    pthread_mutex_t cancel_mutex; /* guards `cancel`; held while a cancel request is under way */
    PGcancel *cancel;
    atomic_bool cancel_requested; /* since the last answer that was not RC_CLOSED */
};

/* --- db/connection.c --- */

/* Marks the connection as unusable and begins a new incarnation, once. */
void db_lose(struct db *db);

/* Writes the prelude anew after a change of timeouts or server. */
enum rc db_write_prelude(struct db *db, struct err *err);

/* --- db/exec.c --- */
enum rc db_run(struct db *db, enum group_kind kind, const char *sql, const struct params *params, int result_format,
               int64_t patience_ms, PGresult **ret_result, struct err *err);

/* --- db/fault.c: fail points of statements (base/fail_point.h), nothing in a release --- */
enum { DB_FAULT_MAX = 128 };

#ifdef REEMBED_FAIL_POINTS

/* A point whose error is a connection that is cut. */
void db_fault(struct db *db, const char *point);

/* The point db.statement: what is to be sent in the place of `sql`. `room` holds it. */
const char *db_fault_statement(struct db *db, const char *sql, const struct params **params, char room[DB_FAULT_MAX]);

/* The points db.half and, of statements that write under a fence, db.half_fenced: the server has the statement, with the
 * locks that it takes, but not its Sync. */
void db_fault_half(struct db *db, const char *sql);

#else

static inline void
db_fault(struct db *db, const char *point)
{
    (void)db;
    (void)point;
}

static inline const char *
db_fault_statement(struct db *db, const char *sql, const struct params **params, char room[DB_FAULT_MAX])
{
    (void)db;
    (void)params;
    (void)room;
    return sql;
}

static inline void
db_fault_half(struct db *db, const char *sql)
{
    (void)db;
    (void)sql;
}

#endif

/* --- db/answer.c --- */

/* A parameter's name that no server knows: the settings of a transaction name it when the server is another one. */
#define ANOTHER_SERVER "the server was replaced"

/* Turns a failed result (NULL: the connection's own message) into rc and err. Sets db->lost where it is. */
enum rc answer_failed(struct db *db, const PGresult *result, struct err *err);

/* The connection could not be made; PQerrorMessage says why. */
enum rc answer_unreachable(const PGconn *conn, struct err *err);

/* --- db/url.c --- */

/* RC_INVALID/ERR_USAGE for a URL that libpq would read otherwise than it was meant. Registers its secrets. */
enum rc url_check(const char *url, struct err *err);

#endif
