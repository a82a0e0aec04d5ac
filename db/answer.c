#include <stdbool.h>
#include <string.h>

#include "db/internal.h"

/* What a SQLSTATE means for the caller. The first row whose prefix fits counts. */
struct meaning {
    const char *prefix;
    enum rc rc;
    enum err_class class;
    bool lost; /* the connection is no good even where it still stands */
    const char *hint;
};

static const struct meaning meanings[] = {
    {"RE001", RC_REFUSED, ERR_STATE, false, NULL},
    {"RE002", RC_REFUSED, ERR_USAGE, false, NULL},
    {"RE003", RC_REFUSED, ERR_GATE, false, NULL},
    {"08", RC_RETRY, ERR_UNREACHABLE, true, NULL},
    {"57P01", RC_RETRY, ERR_UNREACHABLE, true, NULL},
    {"57P02", RC_RETRY, ERR_UNREACHABLE, true, NULL},
    {"57P03", RC_RETRY, ERR_UNREACHABLE, true, NULL},
    {"53300", RC_RETRY, ERR_UNREACHABLE, true, "raise max_connections or put a pooler in between"},
    /* a standby after a failover: the primary is elsewhere now */
    {"25006", RC_RETRY, ERR_UNREACHABLE, true, "connect to the primary, with write access"},
    {"40001", RC_RETRY, ERR_DATABASE, false, NULL},
    {"40P01", RC_RETRY, ERR_DATABASE, false, NULL},
    {"55P03", RC_RETRY, ERR_DATABASE, false,
     "another transaction holds the lock: see pg_locks, or raise database.lock_timeout_secs"},
    {"57014", RC_RETRY, ERR_DATABASE, false, "raise database.statement_timeout_secs if the statement needs longer"},
    {"53100", RC_FATAL, ERR_DATABASE, false, "the database server's disk is full: free some space there"},
    {"42501", RC_INVALID, ERR_UNREACHABLE, false, "a DBA can grant what is needed: reembed init --operator ROLE"},
    {"28", RC_INVALID, ERR_UNREACHABLE, false, NULL},
    {"3D", RC_INVALID, ERR_UNREACHABLE, false, NULL},
    {"3F", RC_INVALID, ERR_USAGE, false, NULL},
    {"42", RC_INVALID, ERR_USAGE, false, NULL},
    {"0A", RC_INVALID, ERR_USAGE, false, NULL},
    {"22", RC_INVALID, ERR_DATABASE, false, NULL},
    {"23", RC_INVALID, ERR_DATABASE, false, NULL},
    {"", RC_FATAL, ERR_DATABASE, false, NULL},
};

/* Linux' /dev/shm, 64 MB in a container, is full, not the disk. The name of the segment is never translated. */
static bool
is_shared_memory(const char *message)
{
    return strstr(message, "\"/PostgreSQL.") != NULL;
}

bool
err_is_disk_full(const struct err *err)
{
    return strcmp(err->sqlstate, "53100") == 0 && !is_shared_memory(err->message);
}

static const struct meaning *
find_meaning(const char *sqlstate)
{
    const struct meaning *meaning = meanings;
    while (strncmp(sqlstate, meaning->prefix, strlen(meaning->prefix)) != 0)
        meaning++;
    return meaning;
}

/* A row that breaks a constraint is quoted in full, with the document's text. */
static bool
detail_shows_row(const char *sqlstate)
{
    return strcmp(sqlstate, "23502") == 0 || strcmp(sqlstate, "23514") == 0;
}

static enum rc
lost(struct db *db, const char *message, struct err *err)
{
    db_lose(db);
    err_set(err, RC_RETRY, ERR_UNREACHABLE, "the connection to the database was lost: %s",
            message != NULL && message[0] != '\0' ? message : "no reason given");
    return RC_RETRY;
}

enum rc
answer_failed(struct db *db, const PGresult *result, struct err *err)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    /* after FATAL the server hangs up, which libpq may not have seen yet */
    bool stands = !db->lost && PQstatus(db->conn) == CONNECTION_OK &&
                  (severity == NULL || (strcmp(severity, "FATAL") != 0 && strcmp(severity, "PANIC") != 0));

    if (sqlstate == NULL) {
        const char *text = result != NULL ? PQresultErrorMessage(result) : PQerrorMessage(db->conn);
        if (!stands)
            return lost(db, text, err);
        return err_set(err, RC_FATAL, ERR_DATABASE, "%s", text);
    }
    if (message == NULL)
        message = "the server gave no message";

    const struct meaning *meaning = find_meaning(sqlstate);
    enum rc rc = meaning->rc;
    if (strstr(message, ANOTHER_SERVER) != NULL) {
        rc = lost(db, "the server was restarted or replaced", err);
    } else if (strcmp(sqlstate, "57014") == 0 &&
               (atomic_load(&db->cancel_requested) || (db->stop != NULL && atomic_load(db->stop)))) {
        rc = err_set(err, RC_CLOSED, ERR_DATABASE, "the statement was cancelled");
    } else if (!stands || meaning->lost) {
        rc = lost(db, message, err);
    } else {
        bool shown = detail != NULL && !detail_shows_row(sqlstate);
        err_set(err, rc, meaning->class, "%s%s%s", message, shown ? ": " : "", shown ? detail : "");
    }

    if (err != NULL) {
        memcpy(err->sqlstate, sqlstate, strnlen(sqlstate, sizeof err->sqlstate - 1));
        if (is_shared_memory(message))
            err_hint(err, "give the server's container more shared memory (docker: --shm-size 1g), or lower "
                          "maintenance_work_mem");
        else if (hint != NULL)
            err_hint(err, "%s", hint);
        else if (meaning->hint != NULL)
            err_hint(err, "%s", meaning->hint);
    }
    return rc;
}

enum rc
answer_unreachable(const PGconn *conn, struct err *err)
{
    const char *text = PQerrorMessage(conn);
    enum rc rc = err_set(err, RC_RETRY, ERR_UNREACHABLE, "%s",
                         text != NULL && text[0] != '\0' ? text : "the database can't be reached");
    err_hint(err, "check the address, that the server runs and that the role may log in; the URL is taken from "
                  "--database-url, REEMBED_DATABASE_URL, DATABASE_URL or PG*");
    return rc;
}
