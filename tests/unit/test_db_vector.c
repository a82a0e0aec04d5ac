#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "db/vector.h"

/* A half by the definition of IEEE 754, without the bit tricks of the code under test. */
static double
half_value(unsigned half)
{
    int exponent = (int)(half >> 10 & 31);
    double mantissa = (double)(half & 1023);
    double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024.0 + mantissa, exponent - 25);
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

Test(db_vector, every_half_is_read_as_its_value_and_written_back_as_itself)
{
    for (unsigned half = 0; half < 0x10000; half++) {
        if ((half & 0x7c00) == 0x7c00)
            continue;
        float value = half_to_float((uint16_t)half);
        cr_assert_eq((double)value, half_value(half), "%04x", half);
        cr_assert_eq(half_from_float(value), half);
    }
    cr_assert(isinf(half_to_float(0x7c00)));
    cr_assert(isnan(half_to_float(0x7e00)));
}

Test(db_vector, what_lies_between_two_halves_goes_to_the_nearer_and_a_tie_to_the_even_one)
{
    for (unsigned half = 0; half < 0x7bff; half++) {
        float middle = (float)((half_value(half) + half_value(half + 1)) / 2);
        unsigned even = (half & 1) == 0 ? half : half + 1;
        cr_assert_eq(half_from_float(middle), even, "%04x", half);
        cr_assert_eq(half_from_float(nextafterf(middle, 0.0F)), half, "%04x", half);
        cr_assert_eq(half_from_float(nextafterf(middle, INFINITY)), half + 1, "%04x", half);
        cr_assert_eq(half_from_float(-middle), even | 0x8000);
    }
}

Test(db_vector, an_encoded_row_holds_the_same_halves)
{
    enum { STEP = 0x7c00 };
    static float numbers[4 * STEP];
    static char out[4 + 2 * 4 * STEP];
    for (unsigned half = 0; half < STEP; half++) {
        float middle = (float)((half_value(half) + half_value(half == STEP - 1 ? half : half + 1)) / 2);
        numbers[4 * half] = (float)half_value(half);
        numbers[4 * half + 1] = -middle;
        numbers[4 * half + 2] = nextafterf(middle, 0.0F);
        numbers[4 * half + 3] = nextafterf(middle, 1.0F);
    }
    cr_assert(vector_encode(VECTOR_HALF, numbers, (size_t)4 * STEP, out));
    for (size_t i = 0; i < (size_t)4 * STEP; i++) {
        unsigned wire = (unsigned)(unsigned char)out[4 + 2 * i] << 8 | (unsigned char)out[5 + 2 * i];
        cr_assert_eq(wire, half_from_float(numbers[i]), "%a", (double)numbers[i]);
    }
}

Test(db_vector, what_a_half_can_not_hold_is_infinite)
{
    cr_assert_eq(half_from_float(65504.0F), 0x7bff);
    cr_assert_eq(half_from_float(nextafterf(65520.0F, 0.0F)), 0x7bff);
    cr_assert_eq(half_from_float(65520.0F), 0x7c00);
    cr_assert_eq(half_from_float(-65536.0F), 0xfc00);
    cr_assert_eq(half_from_float(INFINITY), 0x7c00);
    cr_assert_gt(half_from_float(NAN) & 0x7fff, 0x7c00);
    cr_assert_eq(half_from_float(0x1p-25F), 0); /* a tie between zero and the smallest */
    cr_assert_eq(half_from_float(-0x1p-149F), 0x8000);
}

Test(db_vector, only_finite_numbers_are_written)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float numbers[9] = {0};
    char out[64];
    for (size_t place = 0; place < 9; place++) {
        for (size_t i = 0; i < 3; i++) {
            numbers[place] = bad[i];
            cr_assert_not(vector_encode(VECTOR_FLOAT4, numbers, 9, out));
            cr_assert_not(vector_encode(VECTOR_HALF, numbers, 9, out));
        }
        numbers[place] = 1.0F;
        cr_assert(vector_encode(VECTOR_FLOAT4, numbers, 9, out));
        cr_assert(vector_encode(VECTOR_HALF, numbers, 9, out));
    }
}

Test(db_vector, malformed_bytes_are_no_vector)
{
    float numbers[4];
    float one = 1.0F;
    char out[16];
    cr_assert(vector_encode(VECTOR_FLOAT4, &one, 1, out));
    cr_assert_eq(vector_decode(VECTOR_FLOAT4, out, 8, numbers, 4), 1);
    cr_assert_eq(vector_decode(VECTOR_FLOAT4, out, 7, numbers, 4), 0);
    cr_assert_eq(vector_decode(VECTOR_FLOAT4, out, 9, numbers, 4), 0);
    cr_assert_eq(vector_decode(VECTOR_FLOAT4, out, 3, numbers, 4), 0);
    cr_assert_eq(vector_decode(VECTOR_HALF, out, 8, numbers, 4), 0);
}
