/* tests/db/fresh_database.h - a database of its own for each test, on the server of REEMBED_TEST_DATABASE_URL.
 *
 * All functions abort with a message when the server does not do as told: a test has nothing to test then.
 */
#ifndef REEMBED_TESTS_DB_FRESH_DATABASE_H
#define REEMBED_TESTS_DB_FRESH_DATABASE_H

#include "db/connection.h"

struct fresh_database {
    char name[64];
    char url[1024]; /* keyword=value pairs, as libpq takes them */
};

/* Creates an empty database; with the extension vector when asked. */
void fresh_database_create(struct fresh_database *database, bool with_vector);
void fresh_database_drop(struct fresh_database *database); /* also while there are connections */

/* The URL of another database, role or address on the same server; NULL keeps what it is. */
void fresh_database_url(char *out, size_t size, const char *dbname, const char *user, const char *extra);

/* Connects; the options' url is the database's. */
struct db *fresh_database_connect(const struct fresh_database *database, struct db_options options);

/* Statements of the test itself: they must succeed. */
void must_run(struct db *db, const char *sql);
int64_t must_read_int64(struct db *db, const char *sql); /* column "v" of the one row */
char *must_read_text(struct db *db, const char *sql);    /* column "v" as text; caller frees */

/* Polls until the statement's column "v" is true; aborts after 20 s. Without a fixed pause that a slow machine breaks.
 */
void must_become_true(struct db *db, const char *sql);

#endif
