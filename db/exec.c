#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "db/internal.h"
#include "db/result.h"

enum {
    STOP_STEP_MS = 100, /* how soon a raised stop flag is seen */
    LONGEST_STEP_MS = 60000,
    CANCEL_GRACE_MS = 2000,  /* for the answer to a statement that was cancelled because of the stop flag */
    ANSWER_GRACE_MS = 15000, /* on top of the statement timeout, before a silent server counts as gone */
    IDLE_RESULTS_MAX = 8
};

/* --- waiting --- */

/* How long to wait for something, and whether the stop flag was acted upon. */
struct wait {
    int64_t until_ms; /* 0: for ever */
    int64_t patience_ms;
    bool cancelled;
};

static struct wait
wait_start(int64_t patience_ms)
{
    return (struct wait){
        .until_ms = patience_ms > 0 ? clock_now_ms() + patience_ms : 0,
        .patience_ms = patience_ms,
    };
}

/* The server ends a statement itself at its timeout. When no answer comes long after, it is gone or frozen. */
static int64_t
patience(const struct db *db)
{
    return db->statement_timeout_ms == 0 ? 0 : (int64_t)db->statement_timeout_ms + ANSWER_GRACE_MS;
}

static bool
stop_raised(const struct db *db)
{
    return db->stop != NULL && atomic_load(db->stop);
}

static enum rc
give_up(struct db *db, const struct wait *wait, struct err *err)
{
    db_lose(db);
    if (wait->cancelled)
        return err_set(err, RC_CLOSED, ERR_UNREACHABLE, "stopped while the database gave no answer");
    return err_set(err, RC_RETRY, ERR_UNREACHABLE, "the database gave no answer for %lld s",
                   (long long)(wait->patience_ms / 1000));
}

/* Waits for `events` on the socket, at most until the stop flag is to be looked at again. RC_OK: look again. */
static enum rc
wait_socket(struct db *db, short events, struct wait *wait, struct err *err)
{
    int64_t step_ms = db->stop != NULL && !wait->cancelled ? STOP_STEP_MS : LONGEST_STEP_MS;
    if (wait->until_ms != 0) {
        int64_t left_ms = wait->until_ms - clock_now_ms();
        if (left_ms <= 0)
            return give_up(db, wait, err);
        if (left_ms < step_ms)
            step_ms = left_ms;
    }
    struct pollfd pollfd = {.fd = PQsocket(db->conn), .events = events};
    int count = poll(&pollfd, 1, (int)step_ms);
    if (count < 0 && errno != EINTR)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "poll: %s", strerror(errno));

    if (count <= 0 && db->leave_on_stop && stop_raised(db)) {
        db_lose(db);
        return err_set(err, RC_CLOSED, ERR_DATABASE, "the statement was left to the server");
    }
    if (count <= 0 && !wait->cancelled && stop_raised(db)) {
        wait->cancelled = true;
        wait->until_ms = clock_now_ms() + CANCEL_GRACE_MS;
        (void)db_cancel(db, NULL); /* where it can't be sent the grace period decides */
    }
    return RC_OK;
}

/* Until all that was queued has been handed to the kernel. Input is taken meanwhile, else both sides could wait for
 * the other to read. */
static enum rc
flush(struct db *db, struct err *err)
{
    struct wait wait = wait_start(patience(db));
    for (;;) {
        int left = PQflush(db->conn);
        if (left == 0)
            return RC_OK;
        if (left < 0)
            return answer_failed(db, NULL, err);
        enum rc rc = wait_socket(db, POLLIN | POLLOUT, &wait, err);
        if (rc != RC_OK)
            return rc;
        if (PQconsumeInput(db->conn) == 0)
            return answer_failed(db, NULL, err);
    }
}

/* libpq drops a result that it has no memory for, also the one that ends a group, and only says so here. Its own words
 * stand alone; the server's begin with ERROR. */
static bool
libpq_has_no_memory(const PGconn *conn)
{
    static const char words[] = "out of memory";

    return strncmp(PQerrorMessage(conn), words, sizeof words - 1) == 0;
}

/* Until PQgetResult would not block. A broken connection is RC_OK too: PQgetResult tells what the server said. */
static enum rc
await_result(struct db *db, struct wait *wait, struct err *err)
{
    while (PQisBusy(db->conn) != 0) {
        if (libpq_has_no_memory(db->conn)) {
            db_lose(db);
            return answer_failed(db, NULL, err);
        }
        int left = PQflush(db->conn);
        enum rc rc = wait_socket(db, (short)(left == 1 ? POLLIN | POLLOUT : POLLIN), wait, err);
        if (rc != RC_OK)
            return rc;
        if (PQconsumeInput(db->conn) == 0)
            return RC_OK;
    }
    return RC_OK;
}

static enum rc
connection_lost(struct err *err)
{
    return err_set(err, RC_RETRY, ERR_UNREACHABLE, "the connection to the database was lost");
}

/* --- one group: the commands up to a Sync, which are one transaction --- */

static bool
queue_command(struct db *db, const char *sql, const struct params *params, int result_format)
{
    const char *values[PARAMS_MAX];
    int formats[PARAMS_MAX];
    int count = params != NULL ? params->count : 0;

    for (int i = 0; i < count; i++) {
        values[i] = params->lengths[i] < 0 ? NULL : params->bytes + params->offsets[i];
        formats[i] = 1;
    }
    return PQsendQueryParams(db->conn, sql, count, count > 0 ? params->types : NULL, values,
                             count > 0 ? params->lengths : NULL, formats, result_format) == 1;
}

/* The settings of a transaction, which also check that the server is still the same. */
static bool
queue_prelude(struct db *db, const char *sql)
{
    uint64_t wire = htobe64((uint64_t)db->server.started_us);
    const char *value = (const char *)&wire;
    const Oid type = PG_TIMESTAMPTZ;
    const int length = sizeof wire;
    const int format = 1;
    return PQsendQueryParams(db->conn, sql, 1, &type, &value, &length, &format, 1) == 1;
}

static void
remember_flight(struct db *db, unsigned char commands_before)
{
    assert(db->flight_count < DB_MAX_IN_FLIGHT);
    db->flights[(db->flight_head + db->flight_count) % DB_MAX_IN_FLIGHT] = commands_before;
    db->flight_count++;
}

/* Queues and sends one group. On failure nothing is awaited and the connection is lost: half a group may be out. */
static enum rc
send_group(struct db *db, enum group_kind kind, const char *sql, const struct params *params, int result_format,
           struct err *err)
{
    if (params != NULL && params->rc != RC_OK) {
        if (err != NULL)
            *err = params->err;
        return params->rc;
    }
    if (!db_alive(db))
        return connection_lost(err);
    char room[DB_FAULT_MAX];
    sql = db_fault_statement(db, sql, &params, room);
    if (db->flight_count >= db_max_in_flight(db))
        return err_set(err, RC_AGAIN, ERR_DATABASE, "%zu statements are under way", db->flight_count);

    unsigned char commands_before = 0;
    bool queued = true;
    if (kind == GROUP_STATEMENT) {
        if (db->set_isolation) {
            queued = queue_command(db, "set transaction isolation level read committed", NULL, 1);
            commands_before++;
        }
        queued = queued && queue_prelude(db, strbuf_text(&db->prelude));
        commands_before++;
    }
    queued = queued && queue_command(db, sql, params, result_format);
    db_fault_half(db, sql);
    queued = queued && PQpipelineSync(db->conn) == 1;
    enum rc rc = queued ? flush(db, err) : answer_failed(db, NULL, err);
    if (rc == RC_OK)
        remember_flight(db, commands_before);
    else
        db_lose(db);
    db_fault(db, "db.sent");
    return rc;
}

/* Collects the answers up to the group's Sync. An error after the statement's own answer is one too: constraints and
 * triggers may be deferred to the commit, which is the Sync. */
static enum rc
receive_group(struct db *db, int commands_before, int64_t patience_ms, PGresult **ret_result, struct err *err)
{
    enum rc rc = RC_OK;
    PGresult *answer = NULL;
    int answers = 0;
    int idle = 0;
    bool synced = false;
    struct wait wait = wait_start(patience_ms);

    while (!synced) {
        if (db->lost)
            goto gone;
        enum rc waited = await_result(db, &wait, err);
        if (waited != RC_OK) {
            db_lose(db);
            rc = waited;
            goto out;
        }
        PGresult *result = PQgetResult(db->conn);
        if (result == NULL) {
            if (PQstatus(db->conn) != CONNECTION_OK || ++idle > IDLE_RESULTS_MAX)
                goto gone;
            continue;
        }
        idle = 0;
        switch (PQresultStatus(result)) {
        case PGRES_TUPLES_OK:
        case PGRES_COMMAND_OK:
        case PGRES_EMPTY_QUERY:
            if (answers++ == commands_before && rc == RC_OK) {
                answer = result;
                result = NULL;
            }
            break;
        case PGRES_PIPELINE_SYNC:
            synced = true;
            break;
        case PGRES_PIPELINE_ABORTED:
            break;
        case PGRES_FATAL_ERROR:
            if (rc == RC_OK)
                rc = answer_failed(db, result, err);
            break;
        default: /* COPY: nobody here feeds it */
            rc = err_set(err, RC_FATAL, ERR_DATABASE, "a statement of the wrong kind was sent: %s",
                         PQresStatus(PQresultStatus(result)));
            db_lose(db);
            break;
        }
        PQclear(result);
    }
    if (rc == RC_OK) {
        assert(answer != NULL);
        if (ret_result != NULL) {
            *ret_result = answer;
            answer = NULL;
        }
    }
    goto out;

gone:
    if (rc == RC_OK) {
        db_lose(db);
        rc = answer_failed(db, NULL, err);
    }
out:
    PQclear(answer);
    return rc;
}

static enum rc
receive_next(struct db *db, int64_t patience_ms, PGresult **ret_result, struct err *err)
{
    assert(db->flight_count > 0);
    int commands_before = db->flights[db->flight_head];
    db->flight_head = (db->flight_head + 1) % DB_MAX_IN_FLIGHT;
    db->flight_count--;

    enum rc rc = receive_group(db, commands_before, patience_ms, ret_result, err);
    db_fault(db, "db.answered");
    if (rc == RC_CLOSED || db->flight_count == 0)
        atomic_store(&db->cancel_requested, false);
    return rc;
}

enum rc
db_run(struct db *db, enum group_kind kind, const char *sql, const struct params *params, int result_format,
       int64_t patience_ms, PGresult **ret_result, struct err *err)
{
    assert(db->flight_count == 0);
    enum rc rc = send_group(db, kind, sql, params, result_format, err);
    return rc == RC_OK ? receive_next(db, patience_ms, ret_result, err) : rc;
}

/* --- statements --- */

static bool
in_transaction(const struct db *db)
{
    if (db->conn == NULL || db->flight_count > 0)
        return false;
    PGTransactionStatusType status = PQtransactionStatus(db->conn);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

/* Inside db_begin .. db_commit the settings were made already. */
static enum group_kind
kind_now(const struct db *db)
{
    return in_transaction(db) ? GROUP_BARE : GROUP_STATEMENT;
}

enum rc
db_exec(struct db *db, const char *sql, const struct params *params, PGresult **ret_result, struct err *err)
{
    return db_run(db, kind_now(db), sql, params, 1, patience(db), ret_result, err);
}

enum rc
db_exec_text(struct db *db, const char *sql, const struct params *params, PGresult **ret_result, struct err *err)
{
    return db_run(db, kind_now(db), sql, params, 0, patience(db), ret_result, err);
}

enum rc
db_send(struct db *db, const char *sql, const struct params *params, struct err *err)
{
    assert(!in_transaction(db));
    return send_group(db, GROUP_STATEMENT, sql, params, 1, err);
}

enum rc
db_receive(struct db *db, PGresult **ret_result, struct err *err)
{
    return receive_next(db, patience(db), ret_result, err);
}

size_t
db_in_flight(const struct db *db)
{
    return db->flight_count;
}

size_t
db_max_in_flight(const struct db *db)
{
    /* When a client goes away with several answers due, pgbouncer before 1.23 gives its session to the next client,
     * who then gets those answers: objects.c, disconnect_client. A killed process must not do that to anybody. */
    return db->server.pooled ? 1 : DB_MAX_IN_FLIGHT;
}

bool
db_ready(struct db *db)
{
    if (!db_alive(db))
        return true;
    (void)PQflush(db->conn);
    return PQconsumeInput(db->conn) == 0 || PQisBusy(db->conn) == 0;
}

int
db_socket(const struct db *db)
{
    return db_alive(db) ? PQsocket(db->conn) : -1;
}

/* One group of commands without parameters. On failure the connection is lost, and with it all answers. */
static enum rc
send_commands(struct db *db, const char *const *commands, size_t count, struct err *err)
{
    bool queued = true;
    for (size_t i = 0; i < count && queued; i++)
        queued = queue_command(db, commands[i], NULL, 1);
    queued = queued && PQpipelineSync(db->conn) == 1;
    enum rc rc = queued ? flush(db, err) : answer_failed(db, NULL, err);
    if (rc == RC_OK) {
        remember_flight(db, (unsigned char)(count - 1));
    } else {
        db_lose(db);
        db->flight_count = 0;
    }
    return rc;
}

/* With what the session has. The answer of one statement at a time may be due behind a pooler, so there is no way to
 * make settings that are surely taken back. */
static enum rc
exec_raw_pooled(struct db *db, const char *sql, int statement_ms, int lock_ms, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = db_run(db, GROUP_BARE,
                        "select name, setting::int8 as ms from pg_catalog.pg_settings "
                        "where name in ('statement_timeout', 'lock_timeout')",
                        NULL, 1, patience(db), &result, err);
    if (rc != RC_OK)
        return rc;
    for (int row = 0; row < result_rows(result) && rc == RC_OK; row++) {
        const char *name = result_string(result, row, "name");
        int64_t has_ms = result_int64(result, row, "ms");
        int needs_ms = strcmp(name, "lock_timeout") == 0 ? lock_ms : statement_ms;
        if (has_ms == 0 || (needs_ms != 0 && has_ms >= needs_ms))
            continue;
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s is %lld ms behind the pooler, too short for: %s", name,
                     (long long)has_ms, sql);
        err_hint(err, "connect past the pooler, or ALTER ROLE \"%s\" SET %s = 0", db_user(db), name);
    }
    PQclear(result);
    if (rc != RC_OK)
        return rc;
    return db_run(db, GROUP_BARE, sql, NULL, 1, statement_ms == 0 ? 0 : (int64_t)statement_ms + ANSWER_GRACE_MS, NULL,
                  err);
}

/* Settings, statement and reset are sent together, so the reset also follows when this process dies. */
static enum rc
exec_raw_direct(struct db *db, const char *sql, int statement_ms, int lock_ms, struct err *err)
{
    static const char *const reset[] = {"reset statement_timeout", "reset lock_timeout"};
    char text[192];
    const char *set = text;
    enum rc rc;

    snprintf(text, sizeof text,
             "select pg_catalog.set_config('statement_timeout', '%d', false), "
             "pg_catalog.set_config('lock_timeout', '%d', false)",
             statement_ms, lock_ms);
    if ((rc = send_commands(db, &set, 1, err)) != RC_OK || (rc = send_commands(db, &sql, 1, err)) != RC_OK ||
        (rc = send_commands(db, reset, 2, err)) != RC_OK)
        return rc;

    struct err later = ERR_INIT;
    rc = receive_next(db, patience(db), NULL, err);
    int64_t patience_ms = statement_ms == 0 ? 0 : (int64_t)statement_ms + ANSWER_GRACE_MS;
    enum rc statement_rc = receive_next(db, patience_ms, NULL, rc == RC_OK ? err : &later);

    /* The reset follows whatever became of the statement; a raised stop flag must not take it along. */
    const atomic_bool *stop = db->stop;
    db->stop = NULL;
    enum rc reset_rc = receive_next(db, patience(db), NULL, &later);
    db->stop = stop;
    if (reset_rc != RC_OK)
        db_lose(db); /* a session with our timeouts must not be used further */
    return rc == RC_OK ? statement_rc : rc;
}

enum rc
db_exec_raw(struct db *db, const char *sql, int statement_timeout_ms, int lock_timeout_ms, struct err *err)
{
    int statement_ms = statement_timeout_ms == DB_NO_TIMEOUT ? 0 : statement_timeout_ms;
    int lock_ms = lock_timeout_ms == DB_NO_TIMEOUT ? 0 : lock_timeout_ms;

    assert(db->flight_count == 0 && !in_transaction(db));
    if (!db_alive(db))
        return connection_lost(err);
    return db->server.pooled ? exec_raw_pooled(db, sql, statement_ms, lock_ms, err)
                             : exec_raw_direct(db, sql, statement_ms, lock_ms, err);
}

/* --- transactions of several statements --- */

enum rc
db_begin(struct db *db, struct err *err)
{
    assert(db->flight_count == 0 && !in_transaction(db));
    if (!db_alive(db))
        return connection_lost(err);

    bool queued = queue_command(db, "begin isolation level read committed read write", NULL, 1) &&
                  queue_prelude(db, strbuf_text(&db->prelude_begin)) && PQpipelineSync(db->conn) == 1;
    enum rc rc = queued ? flush(db, err) : answer_failed(db, NULL, err);
    if (rc != RC_OK) {
        db_lose(db);
        return rc;
    }
    remember_flight(db, 1);
    rc = receive_next(db, patience(db), NULL, err);
    if (rc != RC_OK)
        db_rollback(db);
    return rc;
}

enum rc
db_commit(struct db *db, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = db_run(db, GROUP_BARE, "commit", NULL, 1, patience(db), &result, err);
    if (rc == RC_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0)
        rc = err_set(err, RC_FATAL, ERR_DATABASE, "a transaction was rolled back: one of its statements had failed");
    PQclear(result);
    return rc;
}

void
db_rollback(struct db *db)
{
    if (!db_alive(db) || !in_transaction(db))
        return;
    const atomic_bool *stop = db->stop;
    struct err ignored = ERR_INIT;
    db->stop = NULL;
    if (db_run(db, GROUP_BARE, "rollback", NULL, 1, patience(db), NULL, &ignored) != RC_OK)
        db_lose(db);
    db->stop = stop;
}

/* The simple protocol: the only one that takes several statements in one text. */
static enum rc
run_script(struct db *db, const char *sql, struct err *err)
{
    enum rc rc = RC_OK;
    struct wait wait = wait_start(patience(db));

    if (!db_alive(db))
        return connection_lost(err);
    if (PQexitPipelineMode(db->conn) != 1 || PQsendQuery(db->conn, sql) != 1 || flush(db, NULL) != RC_OK) {
        rc = answer_failed(db, NULL, err);
        db_lose(db);
        return rc;
    }
    for (;;) {
        enum rc waited = await_result(db, &wait, err);
        if (waited != RC_OK) {
            db_lose(db);
            return waited;
        }
        PGresult *result = PQgetResult(db->conn);
        if (result == NULL)
            break;
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR && rc == RC_OK) {
            rc = answer_failed(db, result, err);
        } else if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            PQclear(result);
            db_lose(db);
            return err_set(err, RC_FATAL, ERR_DATABASE, "a script must not COPY from or to the client");
        }
        PQclear(result);
    }
    if (PQstatus(db->conn) != CONNECTION_OK)
        return rc == RC_OK ? answer_failed(db, NULL, err) : rc;
    if (PQenterPipelineMode(db->conn) != 1) {
        db_lose(db);
        return rc == RC_OK ? err_memory(err) : rc;
    }
    return rc;
}

enum rc
db_script(struct db *db, const char *sql, struct err *err)
{
    assert(db->flight_count == 0);
    if (in_transaction(db))
        return run_script(db, sql, err);

    enum rc rc = db_begin(db, err);
    if (rc != RC_OK)
        return rc;
    rc = run_script(db, sql, err);
    if (rc == RC_OK)
        rc = db_commit(db, err);
    if (rc != RC_OK)
        db_rollback(db);
    return rc;
}
