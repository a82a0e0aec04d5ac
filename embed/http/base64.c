#include "embed/http/base64.h"

#include <string.h>

enum { NOT_BASE64 = 0xFF };

/* Value of each character, NOT_BASE64 for what has none. */
static const uint8_t *
alphabet(void)
{
    /* clang-format off */
    static const uint8_t values[256] = {
#define N   NOT_BASE64
#define N16 N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N
        N16, N16,
        N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  62, N,  N,  N,  63,
        52, 53, 54, 55, 56, 57, 58, 59, 60, 61, N,  N,  N,  N,  N,  N,
        N,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
        15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, N,  N,  N,  N,  N,
        N,  26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
        41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, N,  N,  N,  N,  N,
        N16, N16, N16, N16, N16, N16, N16, N16,
#undef N16
#undef N
    };
    /* clang-format on */
    return values;
}

void
base64_begin(struct base64_floats *decoder, float *floats, size_t room)
{
    *decoder = (struct base64_floats){.floats = floats, .room = room};
}

static inline void
store(struct base64_floats *decoder, uint32_t little_endian)
{
    if (decoder->count < decoder->room)
        memcpy(&decoder->floats[decoder->count], &little_endian, sizeof little_endian);
    decoder->count++;
}

static inline void
take_byte(struct base64_floats *decoder, uint32_t byte)
{
    decoder->word |= byte << (8 * decoder->byte_count);
    if (++decoder->byte_count == 4) {
        store(decoder, decoder->word);
        decoder->word = 0;
        decoder->byte_count = 0;
    }
}

/* Sixteen characters are three floats; *ret_taken is how many characters were decoded in such groups. */
static bool
take_groups(struct base64_floats *decoder, const unsigned char *at, size_t length, size_t *ret_taken)
{
    const uint8_t *values = alphabet();
    size_t taken = 0;

    for (; length - taken >= 16; taken += 16) {
        uint32_t triple[4];
        unsigned bad = 0;

        for (int i = 0; i < 4; i++) {
            const unsigned char *four = at + taken + 4 * i;
            unsigned a = values[four[0]], b = values[four[1]], c = values[four[2]], d = values[four[3]];
            bad |= a | b | c | d;
            /* in memory order: the first byte is the lowest */
            uint32_t big = a << 18 | b << 12 | c << 6 | d;
            triple[i] = (big >> 16 & 0xFF) | (big & 0xFF00) | (big & 0xFF) << 16;
        }
        if (bad & 0x80)
            break; /* padding or garbage: the slow way knows */
        store(decoder, triple[0] | triple[1] << 24);
        store(decoder, triple[1] >> 8 | triple[2] << 16);
        store(decoder, triple[2] >> 16 | triple[3] << 8);
    }
    *ret_taken = taken;
    return taken > 0;
}

void
base64_feed(struct base64_floats *decoder, const char *characters, size_t length)
{
    const unsigned char *at = (const unsigned char *)characters;
    const unsigned char *end = at + length;
    const uint8_t *values = alphabet();

    while (at < end && !decoder->broken) {
        size_t taken;

        if (decoder->bit_count == 0 && decoder->byte_count == 0 && decoder->padding == 0 &&
            take_groups(decoder, at, (size_t)(end - at), &taken)) {
            at += taken;
            decoder->characters += taken;
            continue;
        }
        unsigned value = values[*at];
        if (*at == '=') {
            decoder->padding++;
        } else if (value == NOT_BASE64 || decoder->padding > 0) {
            decoder->broken = true;
        } else {
            decoder->characters++;
            decoder->bits = decoder->bits << 6 | value;
            decoder->bit_count += 6;
            if (decoder->bit_count >= 8) {
                decoder->bit_count -= 8;
                take_byte(decoder, decoder->bits >> decoder->bit_count & 0xFF);
            }
        }
        at++;
    }
}

bool
base64_end(const struct base64_floats *decoder)
{
    size_t rest = decoder->characters % 4;

    if (decoder->broken || decoder->byte_count != 0 || rest == 1)
        return false;
    /* Bits that belong to no byte must be zero, padding fills up a group of four or is left out. */
    if ((decoder->bits & ((1u << decoder->bit_count) - 1)) != 0)
        return false;
    return decoder->padding == 0 || (rest != 0 && decoder->padding == 4 - rest);
}
