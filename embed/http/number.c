#include "embed/http/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANTISSA_DIGITS = 19 }; /* 10^19 - 1 fits into 64 bits */

/* Stops the counter from overflowing; no reply has as many digits as would be needed to come back from there. */
#define EXPONENT_MAX 1000000000000000

static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { EXACT_POWER = 22 }; /* 10^22 is the last power of ten that a double holds exactly */

void
number_begin(struct number *number)
{
    number->state = NUMBER_START;
    number->negative = false;
    number->exponent_negative = false;
    number->tail_above = false;
    number->digits = 0;
    number->scale = 0;
    number->exponent = 0;
    number->tail_length = 0;
    number->mantissa = 0;
}

static inline bool
is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

/* `fraction`: the digit stands behind the point. */
static void
take_digit(struct number *number, char c, bool fraction)
{
    if (number->digits < MANTISSA_DIGITS) {
        number->mantissa = number->mantissa * 10 + (uint64_t)(c - '0');
        if (number->mantissa != 0)
            number->digits++;
        if (fraction)
            number->scale--;
        return;
    }
    if (number->tail_length < NUMBER_TAIL_DIGITS)
        number->tail[number->tail_length++] = c;
    else if (c != '0')
        number->tail_above = true;
    if (!fraction)
        number->scale++;
}

static const char *
take_digits(struct number *number, const char *at, const char *end, bool fraction)
{
    /* The usual case: all digits fit into the integer. */
    uint64_t mantissa = number->mantissa;
    int digits = number->digits;
    const char *first = at;

    while (at < end && is_digit(*at) && digits < MANTISSA_DIGITS) {
        mantissa = mantissa * 10 + (uint64_t)(*at - '0');
        digits += mantissa != 0;
        at++;
    }
    if (fraction)
        number->scale -= at - first;
    number->mantissa = mantissa;
    number->digits = digits;
    while (at < end && is_digit(*at))
        take_digit(number, *at++, fraction);
    return at;
}

const char *
number_feed(struct number *number, const char *at, const char *end)
{
    while (at < end) {
        char c = *at;

        switch (number->state) {
        case NUMBER_START:
        case NUMBER_MINUS:
            if (c == '-' && number->state == NUMBER_START) {
                number->negative = true;
                number->state = NUMBER_MINUS;
            } else if (c == '0') {
                number->state = NUMBER_ZERO;
            } else if (is_digit(c)) {
                number->state = NUMBER_INTEGER;
                continue;
            } else {
                return at; /* incomplete; a caller may know what "-Infinity" is */
            }
            break;
        case NUMBER_ZERO:
        case NUMBER_INTEGER:
            if (is_digit(c)) {
                if (number->state == NUMBER_ZERO) {
                    number->state = NUMBER_BROKEN;
                    return at;
                }
                at = take_digits(number, at, end, false);
                continue;
            }
            if (c == '.')
                number->state = NUMBER_POINT;
            else if (c == 'e' || c == 'E')
                number->state = NUMBER_E;
            else
                return at;
            break;
        case NUMBER_POINT:
            if (!is_digit(c)) {
                number->state = NUMBER_BROKEN;
                return at;
            }
            number->state = NUMBER_FRACTION;
            continue;
        case NUMBER_FRACTION:
            if (is_digit(c)) {
                at = take_digits(number, at, end, true);
                continue;
            }
            if (c != 'e' && c != 'E')
                return at;
            number->state = NUMBER_E;
            break;
        case NUMBER_E:
        case NUMBER_SIGN:
            if ((c == '+' || c == '-') && number->state == NUMBER_E) {
                number->exponent_negative = c == '-';
                number->state = NUMBER_SIGN;
            } else if (is_digit(c)) {
                number->state = NUMBER_EXPONENT;
                continue;
            } else {
                number->state = NUMBER_BROKEN;
                return at;
            }
            break;
        case NUMBER_EXPONENT:
            if (!is_digit(c))
                return at;
            if (number->exponent < EXPONENT_MAX)
                number->exponent = number->exponent * 10 + (c - '0');
            break;
        case NUMBER_BROKEN:
            return at;
        }
        at++;
    }
    return at;
}

bool
number_complete(const struct number *number)
{
    return number->state == NUMBER_ZERO || number->state == NUMBER_INTEGER || number->state == NUMBER_FRACTION ||
           number->state == NUMBER_EXPONENT;
}

static int64_t
power(const struct number *number)
{
    return number->scale + (number->exponent_negative ? -number->exponent : number->exponent);
}

/* The C library's conversion, which is exact; "e" notation has no decimal point that a locale could change. */
static float
slow_float(const struct number *number)
{
    char text[MANTISSA_DIGITS + NUMBER_TAIL_DIGITS + 24];

    int length = snprintf(text, sizeof text, "%llu%.*s%se%lld", (unsigned long long)number->mantissa,
                          number->tail_length, number->tail, number->tail_above ? "1" : "",
                          (long long)power(number) - number->tail_length - number->tail_above);
    return length > 0 && (size_t)length < sizeof text ? strtof(text, NULL) : NAN;
}

static float
magnitude(const struct number *number)
{
    int64_t exponent = power(number);

    if (number->mantissa == 0)
        return 0.0f;
    if (exponent >= -EXACT_POWER && exponent <= EXACT_POWER) {
        /* Three roundings at most (integer to double, the digits that were left out, the product), each of half a unit
         * in the last place. So the double's nearest float is the decimal's nearest float, unless the double is within
         * two units of the middle between two floats: 29 bits are dropped, the middle is their highest bit alone. */
        double product = exponent < 0 ? (double)number->mantissa / power_of_ten[-exponent]
                                      : (double)number->mantissa * power_of_ten[exponent];
        uint64_t bits;

        memcpy(&bits, &product, sizeof bits);
        uint64_t dropped = bits & 0x1FFFFFFF;
        bool near_middle = dropped > 0x10000000 - 4 && dropped < 0x10000000 + 4;
        if (!near_middle && product > 1.2e-38 && product < 3.4e38)
            return (float)product;
    }
    return slow_float(number);
}

float
number_float(const struct number *number)
{
    float value = magnitude(number);

    return number->negative ? -value : value;
}

bool
number_integer(const struct number *number, uint64_t *ret_value)
{
    uint64_t value = number->mantissa;
    int64_t exponent = power(number);

    if (number->tail_length > 0 || (number->negative && value != 0))
        return false;
    for (; exponent < 0 && value != 0; exponent++) {
        if (value % 10 != 0)
            return false;
        value /= 10;
    }
    for (; exponent > 0 && value != 0; exponent--) {
        if (value > (1ull << 53) / 10)
            return false;
        value *= 10;
    }
    if (value > 1ull << 53)
        return false;
    *ret_value = value;
    return true;
}
