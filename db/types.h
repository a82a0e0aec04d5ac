/* db/types.h - the types of Postgres that this program speaks in binary, and values that are passed along as they are.
 */
#ifndef REEMBED_DB_TYPES_H
#define REEMBED_DB_TYPES_H

#include <postgres_ext.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

/* Fixed for ever by Postgres: src/include/catalog/pg_type.dat */
enum pg_type {
    PG_BOOL = 16,
    PG_CHAR = 18,
    PG_NAME = 19,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_OID = 26,
    PG_JSON = 114,
    PG_FLOAT4 = 700,
    PG_FLOAT8 = 701,
    PG_UNKNOWN = 705,
    PG_INT2_ARRAY = 1005,
    PG_INT4_ARRAY = 1007,
    PG_TEXT_ARRAY = 1009,
    PG_VARCHAR_ARRAY = 1015,
    PG_INT8_ARRAY = 1016,
    PG_BPCHAR = 1042,
    PG_VARCHAR = 1043,
    PG_TIMESTAMPTZ = 1184,
    PG_INTERVAL = 1186,
    PG_UUID = 2950,
    PG_UUID_ARRAY = 2951,
    PG_JSONB = 3802,
};

/* The id of a document as it came in a binary result: borrowed from the PGresult or an arena. Types: smallint,
 * integer, bigint, uuid, text, varchar. */
struct doc_key {
    const char *bytes; /* NULL: SQL NULL */
    uint32_t length;
};

/* Borrowed text, not NUL-terminated where it matters. */
struct db_text {
    const char *bytes; /* NULL: SQL NULL */
    size_t length;
};

/* The types of the extension vector have other numbers in each database: schema_vector_types (db/schema.h). */
enum vector_kind { VECTOR_FLOAT4, VECTOR_HALF };
struct vector_types {
    Oid vector;
    Oid vector_array;
    Oid halfvec;
    Oid halfvec_array;
    char schema[64];  /* where the extension lives, not quoted */
    char version[32]; /* of the extension, "0.8.1" */
};

/* True for a type that may be the id of a document. */
bool doc_key_type_known(Oid type);
Oid doc_key_array_type(Oid type); /* 0 for an unknown one */

/* The key has as many bytes as its type has. NULL fits every type. */
bool doc_key_fits(Oid type, struct doc_key key);

/* Appends the id as Postgres would show it. */
void doc_key_print(struct strbuf *buf, Oid type, struct doc_key key);

/* Equal bytes of the same type. NULL equals nothing. */
bool doc_key_equal(struct doc_key a, struct doc_key b);

#endif
