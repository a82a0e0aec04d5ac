/* embed/http/number.h - a JSON number that arrives in pieces, read as float32.
 *
 * Correctly rounded for every input, whatever its number of digits and whatever the process's locale; overflow gives an
 * infinity. Nothing is allocated and no text is kept: the first 19 digits are an integer, the rest (rare) a short tail.
 * Threads: plain data, one owner.
 */
#ifndef REEMBED_EMBED_HTTP_NUMBER_H
#define REEMBED_EMBED_HTTP_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* A float32 midpoint has at most 112 significant digits; any digit behind that only says "above". */
enum { NUMBER_TAIL_DIGITS = 112 };

enum number_state {
    NUMBER_START,
    NUMBER_MINUS,
    NUMBER_ZERO,
    NUMBER_INTEGER,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_E,
    NUMBER_SIGN,
    NUMBER_EXPONENT,
    NUMBER_BROKEN,
};

struct number {
    enum number_state state;
    bool negative;
    bool exponent_negative;
    bool tail_above; /* a digit other than 0 follows the tail */
    int digits;      /* of `mantissa`, at most 19; leading zeros are not counted */
    int tail_length;
    int64_t scale; /* value = mantissa.tail x 10^(scale + exponent) */
    int64_t exponent;
    uint64_t mantissa;
    char tail[NUMBER_TAIL_DIGITS];
};

void number_begin(struct number *number);

/* Consumes what belongs to the number and returns the first byte that doesn't, or `end`. */
const char *number_feed(struct number *number, const char *at, const char *end);

/* Is what was fed a whole number by the JSON grammar? */
bool number_complete(const struct number *number);

/* The nearest float32, ties to even; +-infinity when too large. Only of a complete number. */
float number_float(const struct number *number);

/* True and *ret_value set when it is a whole number of 0 ... 2^53. "3.0" and "3e0" are. */
bool number_integer(const struct number *number, uint64_t *ret_value);

#endif
