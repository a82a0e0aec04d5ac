#include "db/result.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db/vector.h"

/* A statement and its reader are written together: where they disagree, going on would store something wrong. */
static _Noreturn void
mismatch(const PGresult *result, int column, const char *name, const char *what)
{
    fprintf(stderr, "reembed: column %s of a result (type %u) %s\n", name != NULL ? name : PQfname(result, column),
            column < 0 ? 0 : PQftype(result, column), what);
    abort();
}

static int
find_column(const PGresult *result, const char *name)
{
    /* Not PQfnumber: it folds case and allocates in each call. */
    for (int column = 0; column < PQnfields(result); column++) {
        if (strcmp(PQfname(result, column), name) == 0)
            return column;
    }
    return -1;
}

int
result_rows(const PGresult *result)
{
    return PQntuples(result);
}

int64_t
result_affected(const PGresult *result)
{
    /* libpq takes a PGresult that is not const, but only reads it. */
    const char *text = PQcmdTuples((PGresult *)(uintptr_t)result);
    return text[0] == '\0' ? 0 : (int64_t)strtoll(text, NULL, 10);
}

int
result_column(const PGresult *result, const char *name)
{
    int column = find_column(result, name);
    if (column < 0)
        mismatch(result, -1, name, "is not there");
    return column;
}

bool
result_has_column(const PGresult *result, const char *name)
{
    return find_column(result, name) >= 0;
}

Oid
result_type(const PGresult *result, const char *name)
{
    return PQftype(result, result_column(result, name));
}

/* The bytes of a field, or NULL for SQL NULL. */
static const char *
field(const PGresult *result, int row, int column, size_t *ret_length)
{
    if (row < 0 || row >= PQntuples(result) || column < 0 || column >= PQnfields(result)) {
        fprintf(stderr, "reembed: no row %d, column %d in a result of %d x %d\n", row, column, PQntuples(result),
                PQnfields(result));
        abort();
    }
    if (PQgetisnull(result, row, column) != 0) {
        *ret_length = 0;
        return NULL;
    }
    *ret_length = (size_t)PQgetlength(result, row, column);
    return PQgetvalue(result, row, column);
}

/* A field of exactly `size` bytes, in binary, not NULL. */
static const char *
fixed(const PGresult *result, int row, int column, size_t size)
{
    size_t length;
    const char *bytes = field(result, row, column, &length);
    if (bytes == NULL)
        mismatch(result, column, NULL, "is NULL");
    if (PQfformat(result, column) != 1)
        mismatch(result, column, NULL, "is text, not binary");
    if (length != size)
        mismatch(result, column, NULL, "has another length than its type");
    return bytes;
}

static uint16_t
fixed16(const PGresult *result, int row, int column)
{
    uint16_t wire;
    memcpy(&wire, fixed(result, row, column, sizeof wire), sizeof wire);
    return be16toh(wire);
}

static uint32_t
fixed32(const PGresult *result, int row, int column)
{
    uint32_t wire;
    memcpy(&wire, fixed(result, row, column, sizeof wire), sizeof wire);
    return be32toh(wire);
}

static uint64_t
fixed64(const PGresult *result, int row, int column)
{
    uint64_t wire;
    memcpy(&wire, fixed(result, row, column, sizeof wire), sizeof wire);
    return be64toh(wire);
}

bool
result_is_null_at(const PGresult *result, int row, int column)
{
    size_t length;
    return field(result, row, column, &length) == NULL;
}

int64_t
result_int64_at(const PGresult *result, int row, int column)
{
    switch (PQftype(result, column)) {
    case PG_INT2:
        return (int16_t)fixed16(result, row, column);
    case PG_INT4:
        return (int32_t)fixed32(result, row, column);
    case PG_OID:
        return fixed32(result, row, column);
    case PG_INT8:
        return (int64_t)fixed64(result, row, column);
    default:
        mismatch(result, column, NULL, "is no integer");
    }
}

double
result_float64_at(const PGresult *result, int row, int column)
{
    if (PQftype(result, column) == PG_FLOAT4) {
        uint32_t bits = fixed32(result, row, column);
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    if (PQftype(result, column) != PG_FLOAT8)
        mismatch(result, column, NULL, "is no real or double precision");
    uint64_t bits = fixed64(result, row, column);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool
result_bool_at(const PGresult *result, int row, int column)
{
    if (PQftype(result, column) != PG_BOOL)
        mismatch(result, column, NULL, "is no boolean");
    return *fixed(result, row, column, 1) != 0;
}

struct db_text
result_text_at(const PGresult *result, int row, int column)
{
    size_t length;
    const char *bytes = field(result, row, column, &length);

    if (PQfformat(result, column) == 0)
        return (struct db_text){bytes, length};
    switch (PQftype(result, column)) {
    case PG_TEXT:
    case PG_VARCHAR:
    case PG_BPCHAR:
    case PG_NAME:
    case PG_CHAR:
    case PG_JSON:
    case PG_UNKNOWN:
        return (struct db_text){bytes, length};
    case PG_JSONB:
        if (bytes == NULL)
            return (struct db_text){NULL, 0};
        if (length < 1 || bytes[0] != 1)
            mismatch(result, column, NULL, "is jsonb of an unknown version");
        return (struct db_text){bytes + 1, length - 1};
    default:
        mismatch(result, column, NULL, "is no text");
    }
}

const unsigned char *
result_uuid_at(const PGresult *result, int row, int column)
{
    if (PQftype(result, column) != PG_UUID)
        mismatch(result, column, NULL, "is no uuid");
    if (result_is_null_at(result, row, column))
        return NULL;
    return (const unsigned char *)fixed(result, row, column, 16);
}

struct doc_key
result_key_at(const PGresult *result, int row, int column)
{
    size_t length;
    const char *bytes = field(result, row, column, &length);

    if (!doc_key_type_known(PQftype(result, column)) || PQfformat(result, column) != 1)
        mismatch(result, column, NULL, "is no id of a document");
    return (struct doc_key){bytes, (uint32_t)length};
}

int64_t
result_timestamptz_at(const PGresult *result, int row, int column)
{
    if (PQftype(result, column) != PG_TIMESTAMPTZ)
        mismatch(result, column, NULL, "is no timestamp with time zone");
    return (int64_t)fixed64(result, row, column);
}

size_t
result_vector_at(const PGresult *result, int row, int column, const struct vector_types *types, float *out, size_t room)
{
    size_t length;
    Oid type = PQftype(result, column);
    const char *bytes = field(result, row, column, &length);

    if ((type != types->vector && type != types->halfvec) || PQfformat(result, column) != 1)
        mismatch(result, column, NULL, "is no vector or halfvec");
    if (bytes == NULL)
        mismatch(result, column, NULL, "is NULL");
    size_t dimensions = vector_decode(type == types->halfvec ? VECTOR_HALF : VECTOR_FLOAT4, bytes, length, out, room);
    if (dimensions == 0)
        mismatch(result, column, NULL, "is a malformed vector");
    return dimensions;
}

/* --- by name --- */

bool
result_is_null(const PGresult *result, int row, const char *name)
{
    return result_is_null_at(result, row, result_column(result, name));
}

int64_t
result_int64(const PGresult *result, int row, const char *name)
{
    return result_int64_at(result, row, result_column(result, name));
}

double
result_float64(const PGresult *result, int row, const char *name)
{
    return result_float64_at(result, row, result_column(result, name));
}

bool
result_bool(const PGresult *result, int row, const char *name)
{
    return result_bool_at(result, row, result_column(result, name));
}

struct db_text
result_text(const PGresult *result, int row, const char *name)
{
    return result_text_at(result, row, result_column(result, name));
}

const char *
result_string(const PGresult *result, int row, const char *name)
{
    return result_text(result, row, name).bytes;
}

const unsigned char *
result_uuid(const PGresult *result, int row, const char *name)
{
    return result_uuid_at(result, row, result_column(result, name));
}

struct doc_key
result_key(const PGresult *result, int row, const char *name)
{
    return result_key_at(result, row, result_column(result, name));
}

int64_t
result_timestamptz(const PGresult *result, int row, const char *name)
{
    return result_timestamptz_at(result, row, result_column(result, name));
}

const char *
result_timestamptz_iso(const PGresult *result, int row, const char *name, char out[RESULT_ISO_SIZE])
{
    const int64_t second = 1000000;
    const int64_t epoch_of_2000 = 946684800; /* in seconds since 1970 */
    int64_t value = result_timestamptz(result, row, name);

    if (value == INT64_MAX || value == INT64_MIN) {
        snprintf(out, RESULT_ISO_SIZE, "%s", value > 0 ? "infinity" : "-infinity");
        return out;
    }
    int64_t micros = value % second;
    int64_t seconds = value / second;
    if (micros < 0) {
        micros += second;
        seconds--;
    }
    time_t unix_seconds = (time_t)(seconds + epoch_of_2000);
    struct tm tm;
    if (gmtime_r(&unix_seconds, &tm) == NULL)
        mismatch(result, -1, name, "is out of range");
    snprintf(out, RESULT_ISO_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06" PRId64 "Z", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, micros);
    return out;
}

size_t
result_vector(const PGresult *result, int row, const char *name, const struct vector_types *types, float *out,
              size_t room)
{
    return result_vector_at(result, row, result_column(result, name), types, out, room);
}
