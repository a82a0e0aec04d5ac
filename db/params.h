/* db/params.h - the parameters of one statement, typed and in Postgres' binary format.
 *
 * $1, $2, ... in the order of adding. A failed add (memory, size, value) is remembered and makes the later adds no-ops,
 * so a chain of adds needs no checks: db_exec and db_send report it. Each add returns RC_OK or that failure all the
 * same. All values are copied; the buffer is kept by params_reset for the next statement.
 * Limits: PARAMS_MAX parameters, PARAMS_MAX_BYTES in all (a Postgres message is limited to 1 GB).
 * Threads: plain data, one owner.
 */
#ifndef REEMBED_DB_PARAMS_H
#define REEMBED_DB_PARAMS_H

#include <postgres_ext.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "db/types.h"

#define PARAMS_MAX       48
#define PARAMS_MAX_BYTES ((size_t)0x3ff00000)

struct params {
    int count;
    Oid types[PARAMS_MAX];
    int lengths[PARAMS_MAX];    /* bytes; -1: SQL NULL */
    size_t offsets[PARAMS_MAX]; /* of the value in `bytes` */
    char *bytes;                /* owned */
    size_t used;
    size_t capacity;
    enum rc rc; /* of the first add that failed */
    struct err err;
};

#define PARAMS_INIT                                                                                                    \
    {                                                                                                                  \
        .count = 0                                                                                                     \
    }

void params_reset(struct params *params); /* empties it, forgets a failure, keeps the memory */
void params_clear(struct params *params); /* frees all; usable again */

/* --- single values --- */
enum rc params_add_null(struct params *params, Oid type);
enum rc params_add_int2(struct params *params, int16_t value);
enum rc params_add_int4(struct params *params, int32_t value);
enum rc params_add_int8(struct params *params, int64_t value);
enum rc params_add_float4(struct params *params, float value);
enum rc params_add_float8(struct params *params, double value);
enum rc params_add_bool(struct params *params, bool value);
enum rc params_add_text(struct params *params, const char *text);                  /* NULL: SQL NULL. UTF-8 */
enum rc params_add_bytes(struct params *params, const char *bytes, size_t length); /* as text; no NUL inside */
enum rc params_add_json(struct params *params, const char *json); /* type json; cast to jsonb in the statement */
enum rc params_add_uuid(struct params *params, const unsigned char uuid[16]); /* NULL: SQL NULL */
enum rc params_add_interval_ms(struct params *params, int64_t milliseconds);
enum rc params_add_timestamptz(struct params *params, int64_t since_2000_us);
enum rc params_add_key(struct params *params, Oid type, struct doc_key key);
enum rc params_add_vector(struct params *params, const struct vector_types *types, enum vector_kind kind,
                          const float *vector, size_t dimensions); /* NULL: SQL NULL */

/* --- arrays of one dimension; count 0 is the empty array --- */
enum rc params_add_int8_array(struct params *params, const int64_t *values, size_t count);
enum rc params_add_text_array(struct params *params, const struct db_text *values, size_t count); /* bytes NULL: NULL */
enum rc params_add_uuid_array(struct params *params, const unsigned char *const *values, size_t count); /* NULL: NULL */
enum rc params_add_key_array(struct params *params, Oid type, const struct doc_key *keys, size_t count);

/* vector[] or halfvec[]: `rows[i]` points at `dimensions` numbers; NULL: a NULL element. RC_INVALID, naming the
 * row, for a number that is not finite or that a halfvec can't hold. halfvec rounds to nearest even. */
enum rc params_add_vectors(struct params *params, const struct vector_types *types, enum vector_kind kind,
                           const float *const *rows, size_t count, size_t dimensions);

#endif
