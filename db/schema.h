/* db/schema.h - installing and upgrading the schema `reembed`.
 *
 * The files db/sql/NNN_*.sql are embedded in the binary, in order of their numbers without a gap. Each is applied in
 * one transaction together with its row in reembed.schema_version, under a lock that any number of installing
 * processes may wait for. An applied version is never applied again, a newer database is left alone.
 *
 * The scripts run with search_path = pg_catalog, pg_temp: every other name in them is qualified, also the extension
 * vector's, which may live in any schema.
 */
#ifndef REEMBED_DB_SCHEMA_H
#define REEMBED_DB_SCHEMA_H

#include <stdio.h>

#include "base/err.h"
#include "db/connection.h"

/* Installs what is missing; RC_OK and nothing done when all is there. RC_INVALID/ERR_USAGE: the database's version is
 * newer than this binary, the extension vector is missing and can't be created, or is older than 0.7; the role may not
 * create the schema. */
enum rc schema_install(struct db *db, struct err *err);

/* The same inside db_begin .. db_commit, for a caller that looks at the result and rolls it back. Holds the lock of the
 * installing processes until then; search_path is left as it was. RC_RETRY: the caller begins anew. */
enum rc schema_install_within(struct db *db, struct err *err);

/* *ret_installed is 0 where there is no schema. */
enum rc schema_version(struct db *db, int *ret_installed, int *ret_latest, struct err *err);

/* RC_OK when the installed version is exactly this binary's; otherwise RC_INVALID/ERR_USAGE saying what to do. */
enum rc schema_check(struct db *db, struct err *err);

/* Everything as one script for psql, to be run by `psql -1 -f`: skips what is installed. RC_FATAL when writing fails.
 */
enum rc schema_print(FILE *out, struct err *err);

/* The numbers of the extension's types. RC_INVALID/ERR_USAGE when it is missing or older than 0.7. */
enum rc schema_vector_types(struct db *db, struct vector_types *ret_types, struct err *err);

#endif
