/* tests/unit/http_random.h - random numbers for property tests; the seed is printed and can be given again in
 * REEMBED_TEST_SEED. */
#ifndef REEMBED_TESTS_UNIT_HTTP_RANDOM_H
#define REEMBED_TESTS_UNIT_HTTP_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t
test_seed(void)
{
    const char *given = getenv("REEMBED_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003u;

    fprintf(stderr, "REEMBED_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static inline uint64_t
test_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline size_t
test_below(uint64_t *state, size_t bound)
{
    return (size_t)(test_random(state) % bound);
}

#endif
