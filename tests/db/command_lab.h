/* tests/db/command_lab.h - a database, a migration file and the commands on them.
 *
 * public.docs (id bigint, body text, kind text, embedding vector(32)) holds documents 1 to 300 of different texts.
 * Everything is done in this process, with the provider `hashing`. Reports live until the end of the test.
 */
#ifndef REEMBED_TESTS_DB_COMMAND_LAB_H
#define REEMBED_TESTS_DB_COMMAND_LAB_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "coordinator/commands.h"
#include "tests/db/fresh_database.h"

enum { LAB_DOCUMENTS = 300 };

extern struct fresh_database lab_database;
extern struct db *lab_db;  /* superuser */
extern struct err lab_err; /* of the last command */
extern char lab_file[64];  /* path of the migration file */

void lab_open(bool with_vector);
void lab_close(void);

/* What the file says: a migration docs-1 of collection docs from hash-32 to hash-48. `replace` (may be NULL) is taken
 * for `what` in its text, once. */
void lab_write_file(const char *what, const char *replace);

int lab_run(void); /* until it is completed, or what `run` says */
int lab_plan(bool probe);
int lab_verify(const char *id, int64_t sample);
int lab_search(const char *text, enum search_side side, int64_t limit);

/* The report of the last command, and figures in it: "estimate.documents". Missing or null: the test fails. */
extern cJSON *lab_report;
double lab_number(const char *path);
const char *lab_text(const char *path);
bool lab_is_null(const char *path);

/* The row of plan's checks; NULL: there is none. */
const cJSON *lab_check(const char *check);
bool lab_check_ok(const char *check); /* false when there is none */

#endif
