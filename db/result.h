/* db/result.h - reading binary results by column name.
 *
 * A column that is not there, another type than asked for, a row out of range or an unexpected NULL is a mistake in
 * this program, not in the data: the readers abort with the column's name, in every build. Where NULL is possible ask
 * result_is_null first. Pointers lead into the PGresult and live as long as it.
 * For loops over many rows look the column up once and use the *_at forms.
 */
#ifndef REEMBED_DB_RESULT_H
#define REEMBED_DB_RESULT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/types.h"

int result_rows(const PGresult *result);
int64_t result_affected(const PGresult *result);             /* rows written by INSERT, UPDATE, DELETE; else 0 */
int result_column(const PGresult *result, const char *name); /* aborts when there is none */
bool result_has_column(const PGresult *result, const char *name);
Oid result_type(const PGresult *result, const char *name);

bool result_is_null(const PGresult *result, int row, const char *name);
int64_t result_int64(const PGresult *result, int row, const char *name);  /* smallint, integer, bigint, oid */
double result_float64(const PGresult *result, int row, const char *name); /* real, double precision */
bool result_bool(const PGresult *result, int row, const char *name);
/* text, varchar, char(n), name, json, jsonb, "char"; NUL-terminated too. NULL: {NULL, 0} */
struct db_text result_text(const PGresult *result, int row, const char *name);
const char *result_string(const PGresult *result, int row, const char *name);        /* the same; NULL: NULL */
const unsigned char *result_uuid(const PGresult *result, int row, const char *name); /* 16 bytes; NULL: NULL */
struct doc_key result_key(const PGresult *result, int row, const char *name);        /* NULL: {NULL, 0} */
int64_t result_timestamptz(const PGresult *result, int row, const char *name);       /* microseconds since 2000 */
/* "2026-01-31T12:00:00.123456Z", "infinity" or "-infinity" */
#define RESULT_ISO_SIZE 80
const char *result_timestamptz_iso(const PGresult *result, int row, const char *name, char out[RESULT_ISO_SIZE]);
/* A vector or halfvec: its number of dimensions; fills `out` unless there are more than `room`. */
size_t result_vector(const PGresult *result, int row, const char *name, const struct vector_types *types, float *out,
                     size_t room);

bool result_is_null_at(const PGresult *result, int row, int column);
int64_t result_int64_at(const PGresult *result, int row, int column);
double result_float64_at(const PGresult *result, int row, int column);
bool result_bool_at(const PGresult *result, int row, int column);
struct db_text result_text_at(const PGresult *result, int row, int column);
const unsigned char *result_uuid_at(const PGresult *result, int row, int column);
struct doc_key result_key_at(const PGresult *result, int row, int column);
int64_t result_timestamptz_at(const PGresult *result, int row, int column);
size_t result_vector_at(const PGresult *result, int row, int column, const struct vector_types *types, float *out,
                        size_t room);

#endif
