#include "cli/json_string.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "embed/http/json_scan.h"

/* --- the grammar is checked first, so that what follows need not --- */

static bool
ignore_begin(void *context, unsigned selected, enum scan_type type)
{
    (void)context;
    (void)selected;
    (void)type;
    return true;
}

static bool
ignore_number(void *context, unsigned selected, float value, const struct number *number)
{
    (void)context;
    (void)selected;
    (void)value;
    (void)number;
    return true;
}

static bool
ignore_text(void *context, unsigned selected, const char *bytes, size_t length)
{
    (void)context;
    (void)selected;
    (void)bytes;
    (void)length;
    return true;
}

static bool
is_json(const char *line, size_t length)
{
    static const struct scan_events nothing = {
        .begin = ignore_begin, .number = ignore_number, .text = ignore_text, .end = ignore_begin};
    static const struct scan_paths none = {.count = 0};
    struct scanner scanner;

    scanner_begin(&scanner, &none, &nothing, NULL);
    return scanner_feed(&scanner, line, length) && scanner_end(&scanner);
}

static size_t
skip_blank(const char *line, size_t length, size_t at)
{
    while (at < length && memchr(" \t\r\n", line[at], 4) != NULL)
        at++;
    return at;
}

/* The index of the quote that ends the string whose quote is at `at`. */
static size_t
find_quote(const char *line, size_t length, size_t at)
{
    for (at++; at < length && line[at] != '"'; at++) {
        if (line[at] == '\\')
            at++;
    }
    return at;
}

/* The index after the value that begins at `at`. */
static size_t
skip_value(const char *line, size_t length, size_t at)
{
    size_t depth = 0;
    for (; at < length; at++) {
        char c = line[at];
        if (c == '"')
            at = find_quote(line, length, at);
        else if (c == '{' || c == '[')
            depth++;
        else if (depth == 0 && (c == ',' || c == '}'))
            return at;
        else if (c == '}' || c == ']')
            depth--;
    }
    return length;
}

/* --- escapes --- */

static uint32_t
read_hex(const char *digits)
{
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        char c = digits[i];
        value = value * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* The character of the \u escape at bytes[0]; *ret_taken: 6, or 12 for a pair. */
static int32_t
read_unicode(const char *bytes, size_t left, size_t *ret_taken)
{
    uint32_t unit = read_hex(bytes + 2);
    *ret_taken = 6;
    if (unit < 0xD800 || unit > 0xDFFF)
        return (int32_t)unit;
    if (unit < 0xDC00 && left >= 12 && bytes[6] == '\\' && bytes[7] == 'u') {
        uint32_t low = read_hex(bytes + 8);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *ret_taken = 12;
            return (int32_t)(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
        }
    }
    return 0xFFFD;
}

static char
read_short(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter;
    }
}

/* Decodes what stands between the quotes; never longer than it was. */
static size_t
decode(const char *bytes, size_t length, char *out)
{
    size_t written = 0;
    for (size_t at = 0; at < length;) {
        if (bytes[at] != '\\') {
            out[written++] = bytes[at++];
        } else if (bytes[at + 1] == 'u') {
            size_t taken = 0;
            int32_t code = read_unicode(bytes + at, length - at, &taken);
            written += (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)out + written);
            at += taken;
        } else {
            out[written++] = read_short(bytes[at + 1]);
            at += 2;
        }
    }
    return written;
}

enum member
json_member(const char *line, size_t length, const char *name, struct arena *arena, const char **ret_text,
            size_t *ret_length)
{
    size_t name_length = strlen(name);
    size_t found = length;

    if (!is_json(line, length))
        return MEMBER_BROKEN;
    size_t at = skip_blank(line, length, 0);
    if (line[at] != '{')
        return MEMBER_MISSING;
    at = skip_blank(line, length, at + 1);
    while (line[at] == '"') {
        size_t end = find_quote(line, length, at);
        bool same = end - at - 1 == name_length && memcmp(line + at + 1, name, name_length) == 0;
        at = skip_blank(line, length, end + 1); /* the colon */
        at = skip_blank(line, length, at + 1);  /* the value */
        if (same)
            found = at;
        at = skip_value(line, length, at); /* the comma or the end */
        at = skip_blank(line, length, at + 1);
        if (at >= length)
            break;
    }
    if (found == length)
        return MEMBER_MISSING;
    if (line[found] != '"')
        return MEMBER_OTHER;

    size_t end = find_quote(line, length, found);
    char *text = arena_alloc(arena, end - found);
    if (text == NULL)
        return MEMBER_MEMORY;
    *ret_length = decode(line + found + 1, end - found - 1, text);
    *ret_text = text;
    return MEMBER_TEXT;
}
