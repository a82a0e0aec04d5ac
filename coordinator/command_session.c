#include "coordinator/command_session.h"

/* Two addresses (localhost is often ::1 and 127.0.0.1) still end within the 10 s that the exit code promises. */
enum { CONNECT_TIMEOUT_SECS = 4, STATEMENT_TIMEOUT_MS = 60000, LOCK_TIMEOUT_MS = 2000 };

static const struct retry_policy patience = {.max_attempts = 8, .first_ms = 100, .cap_ms = 1000, .total_ms = 20000};

enum rc
command_connect(const struct common_options *common, struct db **ret_db, struct err *err)
{
    const struct db_options options = {
        .url = common->database_url,
        .connect_timeout_secs = CONNECT_TIMEOUT_SECS,
        .statement_timeout_ms = STATEMENT_TIMEOUT_MS,
        .lock_timeout_ms = LOCK_TIMEOUT_MS,
    };
    enum rc rc = db_open(&options, ret_db, err);

    if (rc != RC_OK && err->class == ERR_UNREACHABLE && err->hint[0] == '\0' && common->database_url == NULL)
        err_hint(err, "name the database by --database-url, REEMBED_DATABASE_URL, or PGHOST, PGDATABASE and so on");
    return rc;
}

enum rc
command_exec(void *context, struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
             struct err *err)
{
    struct retry retry = retry_start(&patience);
    enum rc rc;

    (void)context;
    while ((rc = db_exec(db, sql, params, ret_result, err)) == RC_RETRY) {
        if (!db_alive(db)) {
            struct err ignored = ERR_INIT;
            if (db_reconnect(db, &patience, &ignored) != RC_OK)
                break;
        } else if (retry_wait(&retry, NULL) != RC_OK) {
            break;
        }
    }
    return rc;
}
