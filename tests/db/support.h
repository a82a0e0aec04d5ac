/* tests/db/support.h - what the tests of the control plane share.
 *
 * Each test has a database of its own, copied from a template that is made once a server: pgvector, the schema as the
 * product installs it, and the oracle (oracle.sql). Everything is done as plain roles: a superuser hides missing
 * grants.
 *
 *   LAB_OWNER        owns the database, the documents and the schemas: what a worker logs in as
 *   LAB_APPLICATION  may write the documents and knows nothing of reembed
 *   LAB_READER, LAB_OPERATOR, LAB_STRANGER   for the tests of rights; nothing is granted to them yet
 *
 * Texts that are returned live until the end of the test. Statements of the test itself must succeed: the test fails
 * with the server's message otherwise.
 */
#ifndef REEMBED_TESTS_DB_SUPPORT_H
#define REEMBED_TESTS_DB_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "db/connection.h"

#define LAB_OWNER       "conf_owner"
#define LAB_APPLICATION "conf_app"
#define LAB_READER      "conf_reader"
#define LAB_OPERATOR    "conf_operator"
#define LAB_STRANGER    "conf_stranger"

/* The owner's session of the running test, made by lab_open. */
extern struct db *lab;

void lab_open(void);
void lab_close(void);                     /* drops the database */
struct db *lab_connect(const char *role); /* closed by lab_close; NULL: superuser */
int lab_version(void);                    /* of the server: 16, 18 */

/* `text` lives until lab_close. */
char *lab_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the test: what it stands on is not there. */
_Noreturn void lab_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- SQL; the texts are printf formats --- */
void sql_run(struct db *db, const char *format, ...) __attribute__((format(printf, 2, 3))); /* several statements */
const char *sql_text(struct db *db, const char *format, ...) __attribute__((format(printf, 2, 3))); /* NULL: "" */
int64_t sql_int(struct db *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool sql_bool(struct db *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *sql_rows(struct db *db, const char *format, ...) __attribute__((format(printf, 2, 3))); /* as psql -At */

/* The statement's rows are exactly `expected`, as psql -At shows them. */
void expect_rows(struct db *db, const char *expected, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The statement fails with this SQLSTATE and a message that begins with `begins`. */
void expect_error(struct db *db, const char *sqlstate, const char *begins, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Polls until the statement says true; the test fails after 20 s. */
void sql_await(struct db *db, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sends a statement without waiting for its answer, and takes that. */
void sql_send(struct db *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum rc sql_receive(struct db *db, struct err *err);

/* Until the session that was sent something waits for a lock. */
void sql_await_lock(struct db *waiting);

/* --- migrations --- */

/* A migration file in short. NULL or 0: the default that stands behind it. */
struct plan {
    const char *collection;    /* docs */
    const char *table;         /* public.docs */
    const char *id;            /* id */
    const char *content;       /* body */
    const char *where;         /* none */
    const char *source_table;  /* the documents' */
    const char *source_id;     /* the documents' */
    const char *source_column; /* embedding; "": the collection has no vectors yet */
    const char *source_model;  /* bge-small */
    bool source_kept;          /* workers know the source's model */
    const char *target_model;  /* bge-base */
    const char *target_type;   /* vector */
    const char *target_table;  /* reembed's choice */
    const char *index;         /* none */
    const char *backfill;      /* JSON objects: {} */
    const char *gates;
    const char *limits;
};

/* public.docs (id bigint, body text, embedding vector(4)) with documents 1 to count, each with a vector of the source
 * model; the application may write it. */
void documents(int64_t count);

const char *plan_json(const struct plan *given);
void create(const char *id, const struct plan *plan); /* planned; `plan` may be NULL */
void capture(const char *collection);                 /* reembed.install_capture */
void start(const char *id);                           /* started, captured and counted */

const char *state_of(const char *id);
const char *dump(void); /* everything that is stored */

#endif
