#include "embed/http/base64.h"

#include <string.h>

enum { NOT_BASE64 = 0xFF };

#define BAD ((uint32_t)1 << 31) /* above the three bytes that four characters make */

/* Every character's value, as E(value). */
/* clang-format off */
#define N(E)   E(NOT_BASE64)
#define N4(E)  N(E), N(E), N(E), N(E)
#define N16(E) N4(E), N4(E), N4(E), N4(E)
#define ALPHABET(E) {                                                                                                  \
    N16(E), N16(E),                                                                                                    \
    N4(E), N4(E), N(E), N(E), N(E), E(62), N(E), N(E), N(E), E(63),                                                    \
    E(52), E(53), E(54), E(55), E(56), E(57), E(58), E(59), E(60), E(61), N(E), N(E), N4(E),                           \
    N(E), E(0), E(1), E(2), E(3), E(4), E(5), E(6), E(7), E(8), E(9), E(10), E(11), E(12), E(13), E(14),               \
    E(15), E(16), E(17), E(18), E(19), E(20), E(21), E(22), E(23), E(24), E(25), N(E), N4(E),                          \
    N(E), E(26), E(27), E(28), E(29), E(30), E(31), E(32), E(33), E(34), E(35), E(36), E(37), E(38), E(39), E(40),     \
    E(41), E(42), E(43), E(44), E(45), E(46), E(47), E(48), E(49), E(50), E(51), N(E), N4(E),                          \
    N16(E), N16(E), N16(E), N16(E), N16(E), N16(E), N16(E), N16(E),                                                    \
}
/* clang-format on */

/* Where the six bits of a group's 1st, 2nd, 3rd and 4th character lie in its three bytes, the first byte lowest. */
#define PLAIN(v)  (v)
#define FIRST(v)  ((v) == NOT_BASE64 ? BAD : (uint32_t)(v) << 2)
#define SECOND(v) ((v) == NOT_BASE64 ? BAD : (uint32_t)(v) >> 4 | ((uint32_t)(v)&0xF) << 12)
#define THIRD(v)  ((v) == NOT_BASE64 ? BAD : (uint32_t)(v) >> 2 << 8 | ((uint32_t)(v)&0x3) << 22)
#define FOURTH(v) ((v) == NOT_BASE64 ? BAD : (uint32_t)(v) << 16)

static const uint8_t values[256] = ALPHABET(PLAIN);
static const uint32_t firsts[256] = ALPHABET(FIRST), seconds[256] = ALPHABET(SECOND), thirds[256] = ALPHABET(THIRD),
                      fourths[256] = ALPHABET(FOURTH);

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
    size_t taken = 0;

    for (; length - taken >= 16; taken += 16) {
        uint32_t triple[4];

        for (int i = 0; i < 4; i++) {
            const unsigned char *four = at + taken + 4 * i;
            triple[i] = firsts[four[0]] | seconds[four[1]] | thirds[four[2]] | fourths[four[3]];
        }
        if ((triple[0] | triple[1] | triple[2] | triple[3]) & BAD)
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
