#include "tests/fake_server/vectors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NUMBER_MAX = 32, STORED_MAX = 65535 };

static const char digit_pairs[201] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                     "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                     "8081828384858687888990919293949596979899";

static void
nine_digits(char out[9], uint32_t value)
{
    for (int at = 7; at > 0; at -= 2) {
        memcpy(out + at, digit_pairs + (size_t)(value % 100) * 2, 2);
        value /= 100;
    }
    out[0] = (char)('0' + value);
}

/* Nine significant digits give each float32 back: 0.5 of the ninth is less than half a unit in its last place. */
static size_t
put_nine(char *out, float number)
{
    char *at = out;
    double value = fabs((double)number), scale = 1e8;
    char digits[9];
    int point = 0; /* the value is 0.DIGITS x 10^point, once scaled */

    if (number < 0)
        *at++ = '-';
    if (value == 0) {
        memcpy(at, "0.0", 3);
        return (size_t)(at - out) + 3;
    }
    for (point = 1; value * scale < 1e8 && point > -45; point--)
        scale *= 10;
    for (; value * scale >= 1e9 && point < 45; point++)
        scale /= 10;
    uint32_t mantissa = (uint32_t)(value * scale + 0.5);
    if (mantissa >= 1000000000) {
        mantissa /= 10;
        point++;
    }
    nine_digits(digits, mantissa);
    if (point > -4 && point <= 0) {
        memcpy(at, "0.", 2);
        at += 2;
        for (int i = point; i < 0; i++)
            *at++ = '0';
        memcpy(at, digits, 9);
        return (size_t)(at - out) + 9;
    }
    *at++ = digits[0];
    *at++ = '.';
    memcpy(at, digits + 1, 8);
    at += 8;
    return (size_t)(at - out) + (size_t)(point == 1 ? 0 : sprintf(at, "e%d", point - 1));
}

void
vector_put_numbers(struct strbuf *out, const float *vector, size_t dimensions, int64_t digits)
{
    char block[128 * NUMBER_MAX];
    size_t used = 0;

    strbuf_putc(out, '[');
    for (size_t i = 0; i < dimensions; i++) {
        if (used > sizeof block - NUMBER_MAX) {
            strbuf_add(out, block, used);
            used = 0;
        }
        if (i > 0)
            block[used++] = ',';
        if (digits == 9)
            used += put_nine(block + used, vector[i]);
        else
            used += (size_t)snprintf(block + used, NUMBER_MAX - 1, "%.17g", (double)vector[i]);
    }
    strbuf_add(out, block, used);
    strbuf_putc(out, ']');
}

void
vector_put_base64(struct strbuf *out, const float *vector, size_t dimensions)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)vector; /* little-endian machines only */
    size_t length = dimensions * sizeof *vector, used = 0;
    char block[4096];

    strbuf_putc(out, '"');
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        uint32_t three = (uint32_t)bytes[at] << 16 | (left > 1 ? (uint32_t)bytes[at + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)bytes[at + 2] : 0);
        block[used++] = alphabet[three >> 18];
        block[used++] = alphabet[three >> 12 & 63];
        block[used++] = left > 1 ? alphabet[three >> 6 & 63] : '=';
        block[used++] = left > 2 ? alphabet[three & 63] : '=';
        if (used == sizeof block) {
            strbuf_add(out, block, used);
            used = 0;
        }
    }
    strbuf_add(out, block, used);
    strbuf_putc(out, '"');
}

static uint32_t
crc32_of(const unsigned char *bytes, size_t length)
{
    static uint32_t table[256];
    uint32_t crc = 0xFFFFFFFF;

    if (table[1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = value & 1 ? value >> 1 ^ 0xEDB88320 : value >> 1;
            table[i] = value;
        }
    }
    for (size_t i = 0; i < length; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xFF];
    return ~crc;
}

static void
put_little_endian(struct strbuf *out, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        strbuf_putc(out, (char)(value >> (8 * i) & 0xFF));
}

static const char gzip_head[] = {0x1F, (char)0x8B, 8, 0, 0, 0, 0, 0, 0, 3};

void
gzip_put_stored(struct strbuf *out, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;

    strbuf_add(out, gzip_head, sizeof gzip_head);
    for (size_t left = length;;) {
        uint32_t size = left > STORED_MAX ? STORED_MAX : (uint32_t)left;
        strbuf_putc(out, left == size);
        put_little_endian(out, size, 2);
        put_little_endian(out, ~size, 2);
        strbuf_add(out, at, size);
        at += size;
        left -= size;
        if (left == 0)
            break;
    }
    put_little_endian(out, crc32_of(bytes, length), 4);
    put_little_endian(out, (uint32_t)length, 4);
}

struct bits {
    struct strbuf *out;
    uint32_t held;
    int count;
};

static void
put_bits(struct bits *bits, uint32_t value, int count)
{
    bits->held |= value << bits->count;
    for (bits->count += count; bits->count >= 8; bits->count -= 8) {
        strbuf_putc(bits->out, (char)(bits->held & 0xFF));
        bits->held >>= 8;
    }
}

/* One block with the fixed codes of RFC 1951: a blank, then "258 bytes from one byte back" again and again. */
void
gzip_put_bomb(struct strbuf *out, uint64_t bytes)
{
    struct bits bits = {.out = out};

    strbuf_add(out, gzip_head, sizeof gzip_head);
    put_bits(&bits, 1, 1);    /* the last block */
    put_bits(&bits, 1, 2);    /* fixed codes */
    put_bits(&bits, 0x0A, 8); /* literal 32: code 0x50, from its highest bit */
    for (uint64_t done = 1; done + 258 <= bytes; done += 258) {
        put_bits(&bits, 0xA3, 8); /* length 258: symbol 285, code 0xC5, from its highest bit */
        put_bits(&bits, 0, 5);    /* distance 1 */
    }
    put_bits(&bits, 0, 7); /* the end; no checksum follows: nobody is to get this far */
    put_bits(&bits, 0, 7);
}
