#include "base/escape.h"

#include <stdbool.h>
#include <string.h>

static bool
is_continuation(unsigned char byte)
{
    return (byte & 0xC0U) == 0x80U;
}

size_t
utf8_sequence(const char *bytes, size_t left)
{
    const unsigned char *b = (const unsigned char *)bytes;

    if (b[0] < 0x80)
        return 1;
    if (b[0] >= 0xC2 && b[0] <= 0xDF)
        return left >= 2 && is_continuation(b[1]) ? 2 : 0;
    if (b[0] >= 0xE0 && b[0] <= 0xEF) {
        if (left < 3 || !is_continuation(b[1]) || !is_continuation(b[2]))
            return 0;
        bool overlong = b[0] == 0xE0 && b[1] < 0xA0;
        bool surrogate = b[0] == 0xED && b[1] > 0x9F;
        return overlong || surrogate ? 0 : 3;
    }
    if (b[0] >= 0xF0 && b[0] <= 0xF4) {
        if (left < 4 || !is_continuation(b[1]) || !is_continuation(b[2]) || !is_continuation(b[3]))
            return 0;
        bool overlong = b[0] == 0xF0 && b[1] < 0x90;
        bool too_high = b[0] == 0xF4 && b[1] > 0x8F;
        return overlong || too_high ? 0 : 4;
    }
    return 0;
}

size_t
utf8_whole(const char *bytes, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char byte = (unsigned char)bytes[length - back];
        if (is_continuation(byte))
            continue;
        size_t needed = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
        return needed > back ? length - back : length;
    }
    return length;
}

static const char hex_digits[] = "0123456789abcdef";

/* The letter of a two-character escape that JSON and text have in common, or 0. */
static char
short_escape(unsigned char byte)
{
    switch (byte) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static size_t
put_pair(char out[ESCAPE_MAX], char letter)
{
    out[0] = '\\';
    out[1] = letter;
    return 2;
}

size_t
escape_json(const char *bytes, size_t left, char out[ESCAPE_MAX], size_t *ret_taken)
{
    unsigned char byte = (unsigned char)bytes[0];
    size_t sequence = utf8_sequence(bytes, left);

    *ret_taken = sequence == 0 ? 1 : sequence;
    if (sequence == 0) {
        memcpy(out, "\xEF\xBF\xBD", 3);
        return 3;
    }
    if (byte == '"' || byte == '\\')
        return put_pair(out, (char)byte);
    if (short_escape(byte) != 0)
        return put_pair(out, short_escape(byte));
    if (byte < 0x20 || byte == 0x7F) {
        memcpy(out, "\\u00", 4);
        out[4] = hex_digits[byte >> 4];
        out[5] = hex_digits[byte & 0x0FU];
        return 6;
    }
    memcpy(out, bytes, sequence);
    return sequence;
}

size_t
escape_text(const char *bytes, size_t left, char out[ESCAPE_MAX], size_t *ret_taken)
{
    unsigned char byte = (unsigned char)bytes[0];
    size_t sequence = utf8_sequence(bytes, left);

    *ret_taken = sequence == 0 ? 1 : sequence;
    if (sequence != 0 && short_escape(byte) != 0)
        return put_pair(out, short_escape(byte));
    if (sequence == 0 || byte < 0x20 || byte == 0x7F) {
        memcpy(out, "\\x", 2);
        out[2] = hex_digits[byte >> 4];
        out[3] = hex_digits[byte & 0x0FU];
        return 4;
    }
    memcpy(out, bytes, sequence);
    return sequence;
}
