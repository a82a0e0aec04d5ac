#include "db/types.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

/* Bytes of a fixed-size key; 0 for text. */
static size_t
key_size(Oid type)
{
    switch (type) {
    case PG_INT2:
        return 2;
    case PG_INT4:
        return 4;
    case PG_INT8:
        return 8;
    case PG_UUID:
        return 16;
    default:
        return 0;
    }
}

bool
doc_key_type_known(Oid type)
{
    return doc_key_array_type(type) != 0;
}

Oid
doc_key_array_type(Oid type)
{
    switch (type) {
    case PG_INT2:
        return PG_INT2_ARRAY;
    case PG_INT4:
        return PG_INT4_ARRAY;
    case PG_INT8:
        return PG_INT8_ARRAY;
    case PG_UUID:
        return PG_UUID_ARRAY;
    case PG_TEXT:
        return PG_TEXT_ARRAY;
    case PG_VARCHAR:
        return PG_VARCHAR_ARRAY;
    default:
        return 0;
    }
}

bool
doc_key_fits(Oid type, struct doc_key key)
{
    size_t size = key_size(type);
    return key.bytes == NULL || size == 0 || key.length == size;
}

static int64_t
key_integer(struct doc_key key)
{
    uint16_t two = 0;
    uint32_t four = 0;
    uint64_t eight = 0;

    switch (key.length) {
    case 2:
        memcpy(&two, key.bytes, 2);
        return (int16_t)be16toh(two);
    case 4:
        memcpy(&four, key.bytes, 4);
        return (int32_t)be32toh(four);
    default:
        memcpy(&eight, key.bytes, 8);
        return (int64_t)be64toh(eight);
    }
}

void
doc_key_print(struct strbuf *buf, Oid type, struct doc_key key)
{
    if (key.bytes == NULL)
        return;
    if (type == PG_UUID) {
        for (uint32_t i = 0; i < key.length; i++)
            strbuf_printf(buf, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", (unsigned char)key.bytes[i]);
    } else if (key_size(type) == key.length && key.length > 0) {
        strbuf_printf(buf, "%" PRId64, key_integer(key));
    } else {
        strbuf_add(buf, key.bytes, key.length);
    }
}

bool
doc_key_equal(struct doc_key a, struct doc_key b)
{
    return a.bytes != NULL && b.bytes != NULL && a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}
