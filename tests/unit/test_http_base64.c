#include <criterion/criterion.h>
#include <string.h>

#include "embed/http/base64.h"
#include "tests/unit/http_random.h"

static size_t
encode(const unsigned char *bytes, size_t length, bool padding, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t used = 0;

    for (size_t at = 0; at < length; at += 3) {
        unsigned char group[3] = {0};
        memcpy(group, bytes + at, length - at < 3 ? length - at : 3);
        uint32_t three = (uint32_t)group[0] << 16 | (uint32_t)group[1] << 8 | group[2];
        out[used++] = alphabet[three >> 18];
        out[used++] = alphabet[three >> 12 & 63];
        if (at + 1 < length)
            out[used++] = alphabet[three >> 6 & 63];
        if (at + 2 < length)
            out[used++] = alphabet[three & 63];
    }
    while (padding && used % 4 != 0)
        out[used++] = '=';
    out[used] = '\0';
    return used;
}

Test(base64, what_was_encoded_comes_back_however_it_is_cut)
{
    uint64_t random = test_seed();

    for (int round = 0; round < 20000; round++) {
        float floats[64] = {0}, decoded[64];
        char text[512];
        size_t count = test_below(&random, 64), at = 0;
        struct base64_floats decoder;

        for (size_t i = 0; i < count; i++) {
            uint32_t word = (uint32_t)test_random(&random);
            memcpy(&floats[i], &word, sizeof word);
        }
        size_t length = encode((unsigned char *)floats, count * sizeof *floats, test_below(&random, 2), text);
        base64_begin(&decoder, decoded, 64);
        while (at < length) {
            size_t size = 1 + test_below(&random, test_below(&random, 4) ? 24 : 3);
            size = size < length - at ? size : length - at;
            base64_feed(&decoder, text + at, size);
            at += size;
        }
        cr_assert(base64_end(&decoder));
        cr_assert_eq(decoder.count, count);
        cr_assert_arr_eq((char *)decoded, (char *)floats, count * sizeof *floats);
    }
}

Test(base64, more_than_there_is_room_for_is_counted_and_not_stored)
{
    float floats[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, decoded[4] = {0, 0, 0, -1};
    char text[128];
    struct base64_floats decoder;

    size_t length = encode((unsigned char *)floats, sizeof floats, true, text);
    base64_begin(&decoder, decoded, 3);
    base64_feed(&decoder, text, length);
    cr_assert(base64_end(&decoder));
    cr_assert_eq(decoder.count, 10);
    cr_assert(decoded[2] == 3 && decoded[3] == -1);
}

Test(base64, what_is_no_base64_of_floats_is_refused)
{
    static const char *const texts[] = {
        "AAAA",    /* three bytes */
        "AAAAA",   /* five characters */
        "AAAAAA=", /* padding that does not fill up */
        "AAAAAA===",
        "AAAA=AAA",
        "AAAAAAAA=",
        "AAAAAB==", /* bits behind the last byte */
        "AAAA\nAA==",
        "AA AAAA==",
        "AAAAA-==",
        "====",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAA!AAA",
        "AAAAAAAAAAAAAAAAAAAAA\xFF==",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        float decoded[16];
        struct base64_floats decoder;
        base64_begin(&decoder, decoded, 16);
        base64_feed(&decoder, texts[i], strlen(texts[i]));
        cr_assert_not(base64_end(&decoder), "%s", texts[i]);
    }
}
