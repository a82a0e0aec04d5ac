#include "db/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/internal.h"
#include "db/result.h"
#include "db/template.h"

enum {
    DEFAULT_CONNECT_TIMEOUT_SECS = 5,
    DEFAULT_STATEMENT_TIMEOUT_MS = 30000,
    DEFAULT_LOCK_TIMEOUT_MS = 2000,
    OLDEST_SERVER = 150000,
    PRELUDE_MAX_BYTES = 16 * 1024
};

/* Never the same number twice in a process, so incarnations of two connections are never taken for each other. */
static atomic_uint_fast64_t last_incarnation;

static void
ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static int
timeout_or_default(int wanted, int otherwise)
{
    return wanted == DB_NO_TIMEOUT ? 0 : wanted == 0 ? otherwise : wanted;
}

void
db_lose(struct db *db)
{
    if (db->lost)
        return;
    db->lost = true;
    db->incarnation = atomic_fetch_add(&last_incarnation, 1) + 1;
}

enum rc
db_write_prelude(struct db *db, struct err *err)
{
    /* $1 is the server's start time. Written so that nothing can be computed at planning time. */
    const char *checked =
        "case when pg_catalog.pg_postmaster_start_time() = $1 then 'statement_timeout' else '" ANOTHER_SERVER "' end";
    struct strbuf *both[] = {&db->prelude, &db->prelude_begin};

    for (size_t i = 0; i < 2; i++) {
        strbuf_reset(both[i]);
        strbuf_printf(both[i],
                      "select pg_catalog.set_config(%s, '%d', true), pg_catalog.set_config('lock_timeout', '%d', true)",
                      checked, db->statement_timeout_ms, db->lock_timeout_ms);
        strbuf_puts(both[i], strbuf_text(&db->settings_sql));
    }
    strbuf_printf(&db->prelude_begin, ", pg_catalog.set_config('idle_in_transaction_session_timeout', '%d', true)",
                  db->statement_timeout_ms);
    return db->prelude.failed || db->prelude_begin.failed ? err_memory(err) : RC_OK;
}

/* Asked once a connection. A role that may not know the timeline is fine. */
static enum rc
read_identity(struct db *db, struct err *err)
{
    int64_t patience_ms = (int64_t)db->connect_timeout_secs * 1000;
    PGresult *result = NULL;
    enum rc rc = db_run(db, GROUP_BARE,
                        "select pg_catalog.pg_postmaster_start_time() as started, pg_catalog.pg_backend_pid() as pid, "
                        "pg_catalog.current_setting('default_transaction_isolation') as isolation",
                        NULL, 1, patience_ms, &result, err);
    if (rc != RC_OK)
        return rc;
    db->server = (struct db_server){
        .version = PQserverVersion(db->conn),
        .started_us = result_timestamptz(result, 0, "started"),
        .backend_pid = (int)result_int64(result, 0, "pid"),
    };
    db->server.pooled = db->server.backend_pid != PQbackendPID(db->conn);
    db->set_isolation = strcmp(result_string(result, 0, "isolation"), "read committed") != 0;
    PQclear(result);

    struct err ignored = ERR_INIT;
    rc = db_run(db, GROUP_BARE,
                "select ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))"
                "::bit(32)::int8 as timeline",
                NULL, 1, patience_ms, &result, &ignored);
    if (rc == RC_OK) {
        db->server.timeline = (uint32_t)result_int64(result, 0, "timeline");
        PQclear(result);
    } else if (rc == RC_RETRY || rc == RC_CLOSED) {
        if (err != NULL)
            *err = ignored;
        return rc;
    }
    return RC_OK;
}

static void
replace_cancel(struct db *db, PGcancel *cancel)
{
    pthread_mutex_lock(&db->cancel_mutex);
    PGcancel *old = db->cancel;
    db->cancel = cancel;
    pthread_mutex_unlock(&db->cancel_mutex);
    PQfreeCancel(old);
}

static void
disconnect(struct db *db)
{
    replace_cancel(db, NULL);
    if (db->conn != NULL)
        PQfinish(db->conn);
    db->conn = NULL;
    db->flight_head = db->flight_count = 0;
}

/* What the URL says stands above these; what libpq's environment says stands above these only where it is asked for,
 * since libpq puts any keyword above the environment. */
static PGconn *
start_connection(const struct db *db)
{
    const char *keywords[16];
    const char *values[16];
    size_t count = 0;
    char timeout[16];

#define ADD(keyword, value)                                                                                            \
    do {                                                                                                               \
        keywords[count] = (keyword);                                                                                   \
        values[count++] = (value);                                                                                     \
    } while (0)

    snprintf(timeout, sizeof timeout, "%d", db->connect_timeout_secs);
    if (getenv("PGCONNECT_TIMEOUT") == NULL)
        ADD("connect_timeout", timeout);
    if (getenv("PGTARGETSESSIONATTRS") == NULL)
        ADD("target_session_attrs", "read-write");
    ADD("fallback_application_name", db->application_name);
    /* a dead peer is noticed within 25 s, also while nothing is sent */
    ADD("keepalives", "1");
    ADD("keepalives_idle", "10");
    ADD("keepalives_interval", "5");
    ADD("keepalives_count", "3");
    ADD("tcp_user_timeout", "25000");
    ADD("dbname", db->url);
    ADD("client_encoding", "UTF8");
    ADD(NULL, NULL);
#undef ADD
    return PQconnectdbParams(keywords, values, 1);
}

static enum rc
connect_once(struct db *db, struct err *err)
{
    disconnect(db);
    db->lost = false;
    db->conn = start_connection(db);
    if (db->conn == NULL)
        return err_memory(err);
    if (PQpass(db->conn) != NULL)
        log_secret(PQpass(db->conn));
    if (PQstatus(db->conn) != CONNECTION_OK)
        return answer_unreachable(db->conn, err);
    if (PQserverVersion(db->conn) == 0) /* libpq had no memory for what the server said of itself */
        return err_memory(err);
    if (PQserverVersion(db->conn) < OLDEST_SERVER)
        return err_set(err, RC_INVALID, ERR_USAGE, "the server runs Postgres %d; 15 or newer is needed",
                       PQserverVersion(db->conn) / 10000);

    PQsetNoticeReceiver(db->conn, ignore_notice, NULL);
    PQsetErrorContextVisibility(db->conn, PQSHOW_CONTEXT_NEVER);
    /* Such a database holds bytes of any kind. Asked for UTF-8, the server would refuse a whole answer for one row. */
    const char *encoding = PQparameterStatus(db->conn, "server_encoding");
    if (encoding != NULL && strcmp(encoding, "SQL_ASCII") == 0 && PQsetClientEncoding(db->conn, "SQL_ASCII") != 0)
        return answer_unreachable(db->conn, err);
    PGcancel *cancel = PQgetCancel(db->conn);
    if (cancel == NULL || PQsetnonblocking(db->conn, 1) != 0 || PQenterPipelineMode(db->conn) != 1) {
        PQfreeCancel(cancel);
        return err_memory(err);
    }
    replace_cancel(db, cancel);
    atomic_store(&db->cancel_requested, false);

    enum rc rc = read_identity(db, err);
    return rc == RC_OK ? db_write_prelude(db, err) : rc;
}

/* As connect_once, and leaves nothing behind when it failed. */
static enum rc
connect_whole(struct db *db, struct err *err)
{
    enum rc rc = connect_once(db, err);
    if (rc != RC_OK) {
        disconnect(db);
        db->lost = true;
    }
    return rc;
}

static enum rc
copy_options(struct db *db, const struct db_options *options, struct err *err)
{
    db->stop = options->stop;
    db->connect_timeout_secs =
        options->connect_timeout_secs > 0 ? options->connect_timeout_secs : DEFAULT_CONNECT_TIMEOUT_SECS;
    db->statement_timeout_ms = timeout_or_default(options->statement_timeout_ms, DEFAULT_STATEMENT_TIMEOUT_MS);
    db->lock_timeout_ms = timeout_or_default(options->lock_timeout_ms, DEFAULT_LOCK_TIMEOUT_MS);
    db->url = strdup(options->url != NULL ? options->url : "");
    db->application_name = strdup(options->application_name != NULL ? options->application_name : "reembed");
    if (db->url == NULL || db->application_name == NULL)
        return err_memory(err);

    for (size_t i = 0; i < options->setting_count; i++) {
        enum rc rc;
        strbuf_puts(&db->settings_sql, ", pg_catalog.set_config(");
        if ((rc = template_add_literal(&db->settings_sql, options->settings[i].name, err)) != RC_OK)
            return rc;
        strbuf_puts(&db->settings_sql, ", ");
        if ((rc = template_add_literal(&db->settings_sql, options->settings[i].value, err)) != RC_OK)
            return rc;
        strbuf_puts(&db->settings_sql, ", true)");
    }
    return db->settings_sql.failed ? err_memory(err) : RC_OK;
}

enum rc
db_open(const struct db_options *options, struct db **ret_db, struct err *err)
{
    struct db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return err_memory(err);
    if (pthread_mutex_init(&db->cancel_mutex, NULL) != 0) {
        free(db);
        return err_memory(err);
    }
    strbuf_init(&db->settings_sql, PRELUDE_MAX_BYTES);
    strbuf_init(&db->prelude, PRELUDE_MAX_BYTES);
    strbuf_init(&db->prelude_begin, PRELUDE_MAX_BYTES);
    db->incarnation = atomic_fetch_add(&last_incarnation, 1) + 1;

    enum rc rc = url_check(options->url, err);
    if (rc == RC_OK)
        rc = copy_options(db, options, err);
    if (rc == RC_OK)
        rc = connect_whole(db, err);
    if (rc != RC_OK) {
        db_close(db);
        return rc;
    }
    *ret_db = db;
    return RC_OK;
}

struct db *
db_close(struct db *db)
{
    if (db == NULL)
        return NULL;
    disconnect(db);
    pthread_mutex_destroy(&db->cancel_mutex);
    strbuf_free(&db->settings_sql);
    strbuf_free(&db->prelude);
    strbuf_free(&db->prelude_begin);
    free(db->application_name);
    if (db->url != NULL)
        explicit_bzero(db->url, strlen(db->url));
    free(db->url);
    free(db);
    return NULL;
}

enum rc
db_reconnect(struct db *db, const struct retry_policy *policy, struct err *err)
{
    struct retry retry = retry_start(policy != NULL ? policy : &DB_RECONNECT_POLICY);
    enum rc rc;

    db_lose(db);
    for (;;) {
        if (db->stop != NULL && atomic_load(db->stop)) {
            disconnect(db);
            return err_set(err, RC_CLOSED, ERR_UNREACHABLE, "stopped while the database was away");
        }
        rc = connect_whole(db, err);
        if (rc != RC_RETRY)
            return rc;
        rc = retry_wait(&retry, db->stop);
        if (rc == RC_RETRY)
            return rc; /* err still says why the last attempt failed */
    }
}

uint64_t
db_incarnation(const struct db *db)
{
    return db->incarnation;
}

const struct db_server *
db_server(const struct db *db)
{
    return &db->server;
}

bool
db_same_server(const struct db_server *a, const struct db_server *b)
{
    bool timelines_known = a->timeline != 0 && b->timeline != 0;
    return a->started_us == b->started_us && (!timelines_known || a->timeline == b->timeline);
}

bool
db_alive(const struct db *db)
{
    return !db->lost && db->conn != NULL && PQstatus(db->conn) == CONNECTION_OK;
}

const char *
db_user(const struct db *db)
{
    return db->conn != NULL ? PQuser(db->conn) : "";
}

const char *
db_name(const struct db *db)
{
    return db->conn != NULL ? PQdb(db->conn) : "";
}

void
db_set_stop(struct db *db, const atomic_bool *stop)
{
    db->stop = stop;
}

void
db_leave_on_stop(struct db *db, bool leave)
{
    db->leave_on_stop = leave;
}

enum rc
db_set_timeouts(struct db *db, int statement_timeout_ms, int lock_timeout_ms, struct err *err)
{
    db->statement_timeout_ms = timeout_or_default(statement_timeout_ms, DEFAULT_STATEMENT_TIMEOUT_MS);
    db->lock_timeout_ms = timeout_or_default(lock_timeout_ms, DEFAULT_LOCK_TIMEOUT_MS);
    return db_write_prelude(db, err);
}

enum rc
db_cancel(struct db *db, struct err *err)
{
    char complaint[256] = "not connected";
    pthread_mutex_lock(&db->cancel_mutex);
    atomic_store(&db->cancel_requested, true);
    bool sent = db->cancel != NULL && PQcancel(db->cancel, complaint, (int)sizeof complaint) == 1;
    pthread_mutex_unlock(&db->cancel_mutex);
    if (!sent)
        return err_set(err, RC_RETRY, ERR_UNREACHABLE, "the statement can't be cancelled: %s", complaint);
    return RC_OK;
}
