#include "db/params.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "db/vector.h"

enum {
    FIRST_CAPACITY = 4096,
    ARRAY_EMPTY_SIZE = 12,  /* int32 dimensions, int32 has nulls, oid of the elements */
    ARRAY_HEADER_SIZE = 20, /* the same, then int32 count, int32 lower bound */
    ELEMENT_HEADER_SIZE = 4 /* int32 length, -1: NULL */
};

void
params_reset(struct params *params)
{
    params->count = 0;
    params->used = 0;
    params->rc = RC_OK;
    params->err = (struct err)ERR_INIT;
}

void
params_clear(struct params *params)
{
    free(params->bytes);
    *params = (struct params)PARAMS_INIT;
}

static enum rc
fail_memory(struct params *params)
{
    return params->rc = err_memory(&params->err);
}

static enum rc
fail_size(struct params *params)
{
    params->rc = err_set(&params->err, RC_INVALID, ERR_DATABASE, "the parameters of one statement exceed 1 GB");
    err_hint(&params->err, "lower backfill.batch_size");
    return params->rc;
}

/* Room for one more value of `size` bytes, to be filled by the caller; NULL when that failed, now or before. */
static char *
add_room(struct params *params, Oid type, size_t size)
{
    if (params->rc != RC_OK)
        return NULL;
    assert(params->count < PARAMS_MAX);
    if (size > PARAMS_MAX_BYTES - params->used) {
        fail_size(params);
        return NULL;
    }
    if (params->capacity - params->used < size || params->bytes == NULL) {
        size_t capacity = params->capacity == 0 ? FIRST_CAPACITY : params->capacity;
        while (capacity - params->used < size)
            capacity *= 2; /* no overflow: at most twice PARAMS_MAX_BYTES */
        char *bytes = realloc(params->bytes, capacity);
        if (bytes == NULL) {
            fail_memory(params);
            return NULL;
        }
        params->bytes = bytes;
        params->capacity = capacity;
    }
    char *room = params->bytes + params->used;
    params->types[params->count] = type;
    params->lengths[params->count] = (int)size;
    params->offsets[params->count] = params->used;
    params->count++;
    params->used += size;
    return room;
}

enum rc
params_add_null(struct params *params, Oid type)
{
    if (add_room(params, type, 0) != NULL)
        params->lengths[params->count - 1] = -1;
    return params->rc;
}

static enum rc
add_copy(struct params *params, Oid type, const void *bytes, size_t size)
{
    if (bytes == NULL)
        return params_add_null(params, type);
    char *room = add_room(params, type, size);
    if (room != NULL && size > 0)
        memcpy(room, bytes, size);
    return params->rc;
}

enum rc
params_add_int2(struct params *params, int16_t value)
{
    uint16_t wire = htobe16((uint16_t)value);
    return add_copy(params, PG_INT2, &wire, sizeof wire);
}

enum rc
params_add_int4(struct params *params, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    return add_copy(params, PG_INT4, &wire, sizeof wire);
}

enum rc
params_add_int8(struct params *params, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    return add_copy(params, PG_INT8, &wire, sizeof wire);
}

enum rc
params_add_float4(struct params *params, float value)
{
    uint32_t wire;
    memcpy(&wire, &value, sizeof wire);
    wire = htobe32(wire);
    return add_copy(params, PG_FLOAT4, &wire, sizeof wire);
}

enum rc
params_add_float8(struct params *params, double value)
{
    uint64_t wire;
    memcpy(&wire, &value, sizeof wire);
    wire = htobe64(wire);
    return add_copy(params, PG_FLOAT8, &wire, sizeof wire);
}

enum rc
params_add_bool(struct params *params, bool value)
{
    char wire = value ? 1 : 0;
    return add_copy(params, PG_BOOL, &wire, sizeof wire);
}

enum rc
params_add_text(struct params *params, const char *text)
{
    return add_copy(params, PG_TEXT, text, text == NULL ? 0 : strlen(text));
}

enum rc
params_add_bytes(struct params *params, const char *bytes, size_t length)
{
    return add_copy(params, PG_TEXT, bytes, length);
}

enum rc
params_add_json(struct params *params, const char *json)
{
    return add_copy(params, PG_JSON, json, json == NULL ? 0 : strlen(json));
}

enum rc
params_add_uuid(struct params *params, const unsigned char uuid[16])
{
    return add_copy(params, PG_UUID, uuid, 16);
}

enum rc
params_add_interval_ms(struct params *params, int64_t milliseconds)
{
    int64_t microseconds;
    if (__builtin_mul_overflow(milliseconds, INT64_C(1000), &microseconds)) {
        if (params->rc == RC_OK)
            params->rc = err_set(&params->err, RC_INVALID, ERR_USAGE, "a duration is out of range");
        return params->rc;
    }
    /* int64 microseconds, int32 days, int32 months */
    char wire[16] = {0};
    uint64_t big = htobe64((uint64_t)microseconds);
    memcpy(wire, &big, sizeof big);
    return add_copy(params, PG_INTERVAL, wire, sizeof wire);
}

enum rc
params_add_timestamptz(struct params *params, int64_t since_2000_us)
{
    uint64_t wire = htobe64((uint64_t)since_2000_us);
    return add_copy(params, PG_TIMESTAMPTZ, &wire, sizeof wire);
}

enum rc
params_add_key(struct params *params, Oid type, struct doc_key key)
{
    assert(doc_key_type_known(type) && doc_key_fits(type, key));
    return add_copy(params, type, key.bytes, key.length);
}

/* --- arrays --- */

static char *
put_int32(char *out, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    memcpy(out, &wire, sizeof wire);
    return out + sizeof wire;
}

static char *
put_element(char *out, const void *bytes, size_t length)
{
    if (bytes == NULL)
        return put_int32(out, -1);
    out = put_int32(out, (int32_t)length);
    if (length > 0)
        memcpy(out, bytes, length);
    return out + length;
}

/* Room for an array whose elements, without their length words, take `payload` bytes; NULL when that failed. Writes
 * the header and returns where the first element goes. */
static char *
add_array(struct params *params, Oid array_type, Oid element_type, size_t count, size_t payload, bool nulls)
{
    size_t size = count == 0 ? ARRAY_EMPTY_SIZE : ARRAY_HEADER_SIZE;
    if (params->rc != RC_OK)
        return NULL;
    if (count > PARAMS_MAX_BYTES / ELEMENT_HEADER_SIZE || payload > PARAMS_MAX_BYTES) {
        fail_size(params);
        return NULL;
    }
    size += count * ELEMENT_HEADER_SIZE + payload;

    char *out = add_room(params, array_type, size);
    if (out == NULL)
        return NULL;
    out = put_int32(out, count == 0 ? 0 : 1);
    out = put_int32(out, nulls ? 1 : 0);
    out = put_int32(out, (int32_t)element_type);
    if (count > 0) {
        out = put_int32(out, (int32_t)count);
        out = put_int32(out, 1);
    }
    return out;
}

enum rc
params_add_int8_array(struct params *params, const int64_t *values, size_t count)
{
    size_t payload;
    if (__builtin_mul_overflow(count, sizeof *values, &payload))
        payload = SIZE_MAX;
    char *out = add_array(params, PG_INT8_ARRAY, PG_INT8, count, payload, false);
    for (size_t i = 0; out != NULL && i < count; i++) {
        uint64_t wire = htobe64((uint64_t)values[i]);
        out = put_element(out, &wire, sizeof wire);
    }
    return params->rc;
}

enum rc
params_add_text_array(struct params *params, const struct db_text *values, size_t count)
{
    size_t payload = 0;
    bool nulls = false;
    for (size_t i = 0; i < count && payload <= PARAMS_MAX_BYTES; i++) {
        nulls |= values[i].bytes == NULL;
        if (values[i].bytes != NULL && __builtin_add_overflow(payload, values[i].length, &payload))
            payload = SIZE_MAX;
    }
    char *out = add_array(params, PG_TEXT_ARRAY, PG_TEXT, count, payload, nulls);
    for (size_t i = 0; out != NULL && i < count; i++)
        out = put_element(out, values[i].bytes, values[i].length);
    return params->rc;
}

enum rc
params_add_uuid_array(struct params *params, const unsigned char *const *values, size_t count)
{
    size_t present = 0;
    for (size_t i = 0; i < count; i++)
        present += values[i] != NULL;
    size_t payload;
    if (__builtin_mul_overflow(present, (size_t)16, &payload))
        payload = SIZE_MAX;
    char *out = add_array(params, PG_UUID_ARRAY, PG_UUID, count, payload, present < count);
    for (size_t i = 0; out != NULL && i < count; i++)
        out = put_element(out, values[i], 16);
    return params->rc;
}

enum rc
params_add_key_array(struct params *params, Oid type, const struct doc_key *keys, size_t count)
{
    size_t payload = 0;
    bool nulls = false;

    assert(doc_key_type_known(type));
    for (size_t i = 0; i < count && payload <= PARAMS_MAX_BYTES; i++) {
        assert(doc_key_fits(type, keys[i]));
        nulls |= keys[i].bytes == NULL;
        if (keys[i].bytes != NULL)
            payload += keys[i].length; /* no overflow: PARAMS_MAX_BYTES plus one 32-bit length */
    }
    char *out = add_array(params, doc_key_array_type(type), type, count, payload, nulls);
    for (size_t i = 0; out != NULL && i < count; i++)
        out = put_element(out, keys[i].bytes, keys[i].length);
    return params->rc;
}

static Oid
vector_type(const struct vector_types *types, enum vector_kind kind)
{
    return kind == VECTOR_HALF ? types->halfvec : types->vector;
}

static enum rc
fail_vector(struct params *params, enum vector_kind kind, size_t row)
{
    return params->rc =
               err_set(&params->err, RC_INVALID, ERR_DATABASE, "vector %zu has a number that is %s", row,
                       kind == VECTOR_HALF ? "not finite or does not fit into a halfvec (65504)" : "not finite");
}

static bool
dimensions_fit(struct params *params, size_t dimensions)
{
    if (params->rc == RC_OK && (dimensions == 0 || dimensions > VECTOR_MAX_DIMENSIONS))
        params->rc = err_set(&params->err, RC_INVALID, ERR_USAGE, "a vector of %zu dimensions: pgvector takes 1 to %d",
                             dimensions, VECTOR_MAX_DIMENSIONS);
    return params->rc == RC_OK;
}

enum rc
params_add_vector(struct params *params, const struct vector_types *types, enum vector_kind kind, const float *vector,
                  size_t dimensions)
{
    if (vector == NULL)
        return params_add_null(params, vector_type(types, kind));
    if (!dimensions_fit(params, dimensions))
        return params->rc;
    char *out = add_room(params, vector_type(types, kind), vector_wire_size(kind, dimensions));
    if (out != NULL && !vector_encode(kind, vector, dimensions, out))
        return fail_vector(params, kind, 0);
    return params->rc;
}

enum rc
params_add_vectors(struct params *params, const struct vector_types *types, enum vector_kind kind,
                   const float *const *rows, size_t count, size_t dimensions)
{
    size_t present = 0;
    for (size_t i = 0; i < count; i++)
        present += rows[i] != NULL;
    if (present > 0 && !dimensions_fit(params, dimensions))
        return params->rc;

    size_t wire_size = vector_wire_size(kind, dimensions);
    size_t payload = 0;
    if (present > 0 && __builtin_mul_overflow(present, wire_size, &payload))
        payload = SIZE_MAX;
    char *out = add_array(params, kind == VECTOR_HALF ? types->halfvec_array : types->vector_array,
                          vector_type(types, kind), count, payload, present < count);
    for (size_t i = 0; out != NULL && i < count; i++) {
        if (rows[i] == NULL) {
            out = put_int32(out, -1);
            continue;
        }
        out = put_int32(out, (int32_t)wire_size);
        if (!vector_encode(kind, rows[i], dimensions, out))
            return fail_vector(params, kind, i);
        out += wire_size;
    }
    return params->rc;
}
