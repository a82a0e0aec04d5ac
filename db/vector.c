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

uint16_t
half_from_float(float number)
{
    uint32_t bits = bits_of(number);
    uint16_t sign = (uint16_t)((bits & FLOAT_SIGN) >> 16);
    bits &= ~FLOAT_SIGN;

    if (bits >= FIRST_TOO_LARGE)
        return (uint16_t)(sign | HALF_INFINITE | (bits > FLOAT_EXPONENT ? 0x0200 : 0));
    if (bits < FIRST_NORMAL_HALF) {
        /* Adding one half leaves exactly the bits of a subnormal half at the low end, rounded by the processor. */
        return (uint16_t)(sign | (bits_of(float_of(bits) + 0.5F) - bits_of(0.5F)));
    }
    uint32_t odd = (bits >> 13) & 1;
    bits -= UINT32_C(112) << 23; /* the difference of the exponents' biases, 127 - 15 */
    bits += 0x0fff + odd;
    return (uint16_t)(sign | (bits >> 13)); /* a carry out of the mantissa is right: up to infinite */
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

bool
vector_encode(enum vector_kind kind, const float *numbers, size_t dimensions, char *out)
{
    uint32_t header = htobe32((uint32_t)dimensions << 16);
    memcpy(out, &header, HEADER_SIZE);
    out += HEADER_SIZE;

    uint32_t bad = 0;
    if (kind == VECTOR_FLOAT4) {
        for (size_t i = 0; i < dimensions; i++) {
            uint32_t bits = bits_of(numbers[i]);
            bad |= (bits & FLOAT_EXPONENT) == FLOAT_EXPONENT;
            bits = htobe32(bits);
            memcpy(out + i * sizeof bits, &bits, sizeof bits);
        }
    } else {
        for (size_t i = 0; i < dimensions; i++) {
            uint16_t half = half_from_float(numbers[i]);
            bad |= (half & HALF_INFINITE) == HALF_INFINITE;
            half = htobe16(half);
            memcpy(out + i * sizeof half, &half, sizeof half);
        }
    }
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
