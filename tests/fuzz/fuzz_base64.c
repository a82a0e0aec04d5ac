/* Base64 of floats, whole and cut: the same numbers or the same refusal; what is taken can be written down again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "embed/http/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 256 };

static bool
decode(const uint8_t *data, size_t size, size_t piece, float *floats, size_t *ret_count)
{
    struct base64_floats decoder;

    memset(floats, 0, ROOM * sizeof *floats);
    base64_begin(&decoder, floats, ROOM);
    for (size_t at = 0; at < size; at += piece)
        base64_feed(&decoder, (const char *)data + at, size - at < piece ? size - at : piece);
    *ret_count = decoder.count;
    return base64_end(&decoder);
}

static void
must_encode_back(const uint8_t *data, size_t size, const float *floats, size_t count)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)floats;
    size_t length = count * sizeof *floats;

    for (size_t i = 0; i < size; i++) {
        size_t bit = i * 6, byte = bit / 8;
        if (bit >= length * 8) {
            if (data[i] != '=')
                abort();
            continue;
        }
        uint32_t two = (uint32_t)bytes[byte] << 8 | (byte + 1 < length ? bytes[byte + 1] : 0);
        if ((uint8_t)alphabet[two >> (10 - bit % 8) & 63] != data[i])
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    float whole[ROOM], cut[ROOM];
    size_t whole_count, cut_count;

    if (size == 0)
        return -1;
    size_t piece = 1 + data[0] % 40;
    bool taken = decode(data + 1, size - 1, size, whole, &whole_count);
    if (taken != decode(data + 1, size - 1, piece, cut, &cut_count))
        abort();
    if (taken && (whole_count != cut_count || memcmp(whole, cut, sizeof whole) != 0))
        abort();
    if (taken && whole_count <= ROOM)
        must_encode_back(data + 1, size - 1, whole, whole_count);
    return 0;
}
