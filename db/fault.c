/* What the fail points of statements do to a connection. Empty without REEMBED_FAIL_POINTS. */
#include "db/internal.h"

#ifdef REEMBED_FAIL_POINTS

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fail_point.h"

void
db_fault(struct db *db, const char *point)
{
    if (fail_point(point, NULL) != RC_OK && db->conn != NULL)
        (void)shutdown(PQsocket(db->conn), SHUT_RDWR);
}

const char *
db_fault_statement(struct db *db, const char *sql, const struct params **params, char room[DB_FAULT_MAX])
{
    struct err err = ERR_INIT;

    if (fail_point("db.statement", &err) == RC_OK)
        return sql;
    if (err.sqlstate[0] == '\0') {
        (void)shutdown(PQsocket(db->conn), SHUT_RDWR);
        return sql;
    }
    (void)snprintf(room, DB_FAULT_MAX, "do $$ begin raise exception 'fail point' using errcode = '%s'; end $$",
                   err.sqlstate);
    *params = NULL;
    return room;
}

void
db_fault_half(struct db *db, const char *sql)
{
    bool fenced = strstr(sql, "WITH fence") != NULL;

    if (!fail_point_known(fenced ? "db.half_fenced" : "db.half"))
        return;
    (void)PQflush(db->conn);
    if (fenced)
        db_fault(db, "db.half_fenced");
    else
        db_fault(db, "db.half");
}

#endif
