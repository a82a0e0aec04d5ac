#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <string.h>

#include "embed/http/number.h"
#include "tests/unit/http_random.h"

/* Feeds the text in pieces cut at random. */
static bool
parse(const char *text, uint64_t *random, struct number *number)
{
    size_t length = strlen(text);

    number_begin(number);
    for (size_t at = 0; at < length;) {
        size_t size = random == NULL ? length : 1 + test_below(random, length - at);
        if (size > length - at)
            size = length - at;
        if (number_feed(number, text + at, text + at + size) != text + at + size)
            return false;
        at += size;
    }
    return number_complete(number);
}

static uint32_t
bits(float value)
{
    uint32_t word;

    memcpy(&word, &value, sizeof word);
    return word;
}

static void
same_as_strtof(const char *text, uint64_t *random)
{
    struct number number;
    float wanted = strtof(text, NULL);

    cr_assert(parse(text, random, &number), "%s is a number", text);
    cr_assert_eq(bits(number_float(&number)), bits(wanted), "%s: %a instead of %a", text, (double)number_float(&number),
                 (double)wanted);
}

static float
random_float(uint64_t *random)
{
    for (;;) {
        uint32_t word = (uint32_t)test_random(random);
        float value;
        memcpy(&value, &word, sizeof value);
        if (isfinite(value))
            return value;
    }
}

Test(number, floats_of_every_size_are_read_exactly)
{
    uint64_t random = test_seed();
    char text[400];

    for (int i = 0; i < 300000; i++) {
        float value = i % 2 ? random_float(&random) : (float)((double)test_random(&random) / 1.8446744e19 - 0.5);
        switch (test_below(&random, 5)) {
        case 0:
            (void)snprintf(text, sizeof text, "%.9g", (double)value);
            break;
        case 1:
            (void)snprintf(text, sizeof text, "%.17g", (double)value);
            break;
        case 2:
            (void)snprintf(text, sizeof text, "%.8e", (double)value);
            break;
        case 3:
            (void)snprintf(text, sizeof text, "%.6f", (double)value);
            break;
        default:
            (void)snprintf(text, sizeof text, "%.40f", (double)value);
        }
        same_as_strtof(text, &random);
    }
}

Test(number, digits_at_random_are_read_like_the_C_library_does)
{
    uint64_t random = test_seed();
    char text[256];

    for (int i = 0; i < 200000; i++) {
        size_t at = 0, whole = 1 + test_below(&random, 30), fraction = test_below(&random, 60);
        if (test_below(&random, 2))
            text[at++] = '-';
        text[at++] = whole == 1 ? '0' : (char)('1' + test_below(&random, 9));
        for (size_t k = 1; k < whole; k++)
            text[at++] = (char)('0' + test_below(&random, 10));
        if (fraction > 0)
            text[at++] = '.';
        for (size_t k = 0; k < fraction; k++)
            text[at++] = (char)('0' + (test_below(&random, 3) ? test_below(&random, 10) : 0));
        if (test_below(&random, 2))
            at += (size_t)sprintf(text + at, "%c%s%zu", test_below(&random, 2) ? 'e' : 'E',
                                  test_below(&random, 3)   ? "-"
                                  : test_below(&random, 2) ? "+"
                                                           : "",
                                  test_below(&random, 60));
        text[at] = '\0';
        same_as_strtof(text, &random);
    }
}

/* The middle between two floats, and the same a hair above and below: where a careless conversion rounds twice. */
Test(number, middles_between_floats_are_rounded_once)
{
    uint64_t random = test_seed();
    char text[512];

    for (int i = 0; i < 50000; i++) {
        float low = fabsf(random_float(&random)), high = nextafterf(low, INFINITY);
        if (i % 3 == 0)
            low = (float)((double)test_random(&random) / 1.8446744e19), high = nextafterf(low, INFINITY);
        if (isinf(high))
            continue;
        double middle = ((double)low + (double)high) / 2; /* exact: one bit more */
        int length = snprintf(text, sizeof text, "%.160f", middle);
        static const char tail[] = "0000000000000000000000000000001";
        if ((size_t)length + sizeof tail > sizeof text)
            continue;
        same_as_strtof(text, &random);
        memcpy(text + length, tail, sizeof tail);
        same_as_strtof(text, &random);
        length = snprintf(text, sizeof text, "%.130e", middle);
        cr_assert_lt(length, (int)sizeof text);
        same_as_strtof(text, &random);
        (void)snprintf(text, sizeof text, "%.15e", middle);
        same_as_strtof(text, &random);
        (void)snprintf(text, sizeof text, "%.16e", nextafter(middle, 0));
        same_as_strtof(text, &random);
    }
}

Test(number, extremes)
{
    static const char *const texts[] = {"0",
                                        "-0",
                                        "0.0",
                                        "1e400",
                                        "-1e400",
                                        "1e-400",
                                        "3.4028235e38",
                                        "3.4028236e38",
                                        "3.5e38",
                                        "1e39",
                                        "1.4e-45",
                                        "7e-46",
                                        "7.1e-46",
                                        "1.17549435e-38",
                                        "123456789012345678901234567890",
                                        "1e0",
                                        "1E+2",
                                        "0e99999999999999999999",
                                        "0.00000000000000000000000000000000000000000000000000000000000000001e64"};
    struct number number;
    char zeros[5000];

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        same_as_strtof(texts[i], NULL);
    cr_assert(parse("1e400", NULL, &number));
    cr_assert(isinf(number_float(&number)));

    /* As many zeros as the exponent takes back. */
    memset(zeros, '0', sizeof zeros);
    memcpy(zeros, "0.", 2);
    memcpy(zeros + 4000, "125e4001", sizeof "125e4001");
    same_as_strtof(zeros, NULL);
}

Test(number, what_JSON_forbids_is_no_number)
{
    static const char *const texts[] = {"",    "-",   "+1",  "01",   "-01",   ".5",   "1.",    "1.e5", "1e", "1e+",
                                        "1e-", "--1", "1-2", "1..2", "1e5.5", "0x10", "1_000", "1,5",  "e5"};
    struct number number;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_assert_not(parse(texts[i], NULL, &number), "%s", texts[i]);
}

Test(number, a_locale_with_a_comma_changes_nothing)
{
    struct number number;
    char text[64] = "0.100000001490116119384765625"; /* a middle's neighbourhood: the slow way */

    /* Without such a locale on the machine the test still holds, and says nothing. */
    (void)(setlocale(LC_ALL, "de_DE.UTF-8") != NULL || setlocale(LC_ALL, "fr_FR.UTF-8") != NULL);
    cr_assert(parse(text, NULL, &number));
    cr_assert_eq(bits(number_float(&number)), bits(0.1f));
    cr_assert(parse("1.00000005960464477539062500000000000000000000001", NULL, &number));
    cr_assert_eq(bits(number_float(&number)), bits(1.00000011920928955f));
}

Test(number, whole_numbers)
{
    struct number number;
    uint64_t value = 7;

    cr_assert(parse("42", NULL, &number) && number_integer(&number, &value) && value == 42);
    cr_assert(parse("3.0", NULL, &number) && number_integer(&number, &value) && value == 3);
    cr_assert(parse("12e2", NULL, &number) && number_integer(&number, &value) && value == 1200);
    cr_assert(parse("-0", NULL, &number) && number_integer(&number, &value) && value == 0);
    cr_assert(parse("9007199254740992", NULL, &number) && number_integer(&number, &value) && value == 1ull << 53);
    cr_assert(parse("9007199254740993", NULL, &number) && !number_integer(&number, &value));
    cr_assert(parse("-1", NULL, &number) && !number_integer(&number, &value));
    cr_assert(parse("1.5", NULL, &number) && !number_integer(&number, &value));
    cr_assert(parse("1e300", NULL, &number) && !number_integer(&number, &value));
    cr_assert(parse("1e999999999", NULL, &number) && !number_integer(&number, &value));
    cr_assert(parse("123456789012345678901234567890", NULL, &number) && !number_integer(&number, &value));
}
