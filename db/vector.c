#include "db/vector.h"

#include <endian.h>
#include <string.h>

enum { HEADER_SIZE = 4 };

#define FLOAT_EXPONENT    UINT32_C(0x7f800000)
#define FLOAT_SIGN        UINT32_C(0x80000000)
#define HALF_INFINITE     0x7c00
#define HALF_SIGN         0x8000
#define FIRST_TOO_LARGE   UINT32_C(0x47800000) /* 65536 as a single */
#define FIRST_NORMAL_HALF UINT32_C(0x38800000) /* 2^-14 as a single */

static uint32_t
bits_of(float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static float
float_of(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Of a magnitude below 2^-14. Adding one half leaves exactly the bits of a subnormal half at the low end, rounded by
 * the processor. */
static uint32_t
subnormal_half(uint32_t bits)
{
    return bits_of(float_of(bits) + 0.5F) - bits_of(0.5F);
}

/* Of a magnitude from there to below 65536. A carry out of the mantissa is right, up to infinite. */
static uint32_t
normal_half(uint32_t bits)
{
    uint32_t odd = (bits >> 13) & 1;
    bits -= UINT32_C(112) << 23; /* the difference of the exponents' biases, 127 - 15 */
    return (bits + 0x0fff + odd) >> 13;
}

uint16_t
half_from_float(float number)
{
    uint32_t bits = bits_of(number);
    uint32_t sign = (bits & FLOAT_SIGN) >> 16;
    bits &= ~FLOAT_SIGN;

    if (bits >= FIRST_TOO_LARGE)
        return (uint16_t)(sign | HALF_INFINITE | (bits > FLOAT_EXPONENT ? 0x0200 : 0));
    return (uint16_t)(sign | (bits < FIRST_NORMAL_HALF ? subnormal_half(bits) : normal_half(bits)));
}

float
half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & HALF_SIGN) << 16;
    uint32_t rest = half & ~(uint32_t)HALF_SIGN & 0xffff;

    if (rest >= HALF_INFINITE)
        return float_of(sign | FLOAT_EXPONENT | (rest - HALF_INFINITE) << 13);
    if (rest < 0x0400) {
        float magnitude = (float)rest * 0x1p-24F;
        return float_of(sign | bits_of(magnitude));
    }
    return float_of(sign | ((rest << 13) + (UINT32_C(112) << 23)));
}

size_t
vector_wire_size(enum vector_kind kind, size_t dimensions)
{
    return HEADER_SIZE + dimensions * (kind == VECTOR_HALF ? sizeof(uint16_t) : sizeof(uint32_t));
}

/* Both loops have no branch and no call: clang makes vector instructions of them, gcc where bswap has one (SSSE3). */

static uint32_t
encode_singles(const float *restrict numbers, size_t count, char *restrict out)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(numbers[i]);
        /* the carry into the sign shows an exponent of all ones */
        bad |= (bits & ~FLOAT_SIGN) + (FLOAT_SIGN - FLOAT_EXPONENT);
        bits = htobe32(bits);
        memcpy(out + i * sizeof bits, &bits, sizeof bits);
    }
    return bad & FLOAT_SIGN;
}

static uint32_t
encode_halves(const float *restrict numbers, size_t count, char *restrict out)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(numbers[i]);
        uint32_t sign = (bits & FLOAT_SIGN) >> 16;
        uint32_t rest = bits & ~FLOAT_SIGN;
        uint32_t large = normal_half(rest);
        uint32_t half = rest < FIRST_NORMAL_HALF ? subnormal_half(rest) : large;
        half = rest < FIRST_TOO_LARGE ? half : HALF_INFINITE;
        bad |= half + (HALF_SIGN - HALF_INFINITE);
        uint16_t wire = htobe16((uint16_t)(half | sign));
        memcpy(out + i * sizeof wire, &wire, sizeof wire);
    }
    return bad & HALF_SIGN;
}

bool
vector_encode(enum vector_kind kind, const float *numbers, size_t dimensions, char *out)
{
    uint32_t header = htobe32((uint32_t)dimensions << 16);
    memcpy(out, &header, HEADER_SIZE);
    out += HEADER_SIZE;
    uint32_t bad =
        kind == VECTOR_HALF ? encode_halves(numbers, dimensions, out) : encode_singles(numbers, dimensions, out);
    return bad == 0;
}

size_t
vector_decode(enum vector_kind kind, const char *bytes, size_t length, float *numbers, size_t room)
{
    uint16_t dimensions;
    if (length < HEADER_SIZE)
        return 0;
    memcpy(&dimensions, bytes, sizeof dimensions);
    dimensions = be16toh(dimensions);
    if (length != vector_wire_size(kind, dimensions))
        return 0;
    if (dimensions > room)
        return dimensions;

    bytes += HEADER_SIZE;
    for (size_t i = 0; i < dimensions; i++) {
        if (kind == VECTOR_FLOAT4) {
            uint32_t bits;
            memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
            numbers[i] = float_of(be32toh(bits));
        } else {
            uint16_t half;
            memcpy(&half, bytes + i * sizeof half, sizeof half);
            numbers[i] = half_to_float(be16toh(half));
        }
    }
    return dimensions;
}
