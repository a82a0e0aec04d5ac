#include "embed/unicode.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

struct code_range {
    uint32_t first;
    uint32_t last;
};

struct code_class {
    uint32_t code;
    uint8_t combining;
};

struct code_lower {
    uint32_t code;
    uint32_t lower;
};

#include "embed/unicode_tables.inc"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct {
    const struct code_range *ranges;
    size_t count;
    uint8_t flag;
} tables[] = {
    {removed, COUNT(removed), CODE_REMOVED},
    {space, COUNT(space), CODE_SPACE},
    {ideograph, COUNT(ideograph), CODE_IDEOGRAPH},
    {punctuation, COUNT(punctuation), CODE_PUNCTUATION},
    {decomposes, COUNT(decomposes), CODE_DECOMPOSES},
    {mark, COUNT(mark), CODE_MARK},
    {mark_nonstarter, COUNT(mark_nonstarter), CODE_NONSTARTER},
};

static bool
ranges_hold(const struct code_range *ranges, size_t count, uint32_t code)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code > ranges[middle].last)
            low = middle + 1;
        else if (code < ranges[middle].first)
            high = middle;
        else
            return true;
    }
    return false;
}

uint32_t
unicode_lower(uint32_t code)
{
    for (size_t i = 0; i < COUNT(newer_lower); i++) {
        if (newer_lower[i].code == code)
            return newer_lower[i].lower;
    }
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

uint8_t
unicode_combining_class(uint32_t code)
{
    for (size_t i = 0; i < COUNT(kept_nonstarter); i++) {
        if (kept_nonstarter[i].code == code)
            return kept_nonstarter[i].combining;
    }
    return 0;
}

uint8_t
unicode_flags(uint32_t code)
{
    uint8_t flags = 0;

    for (size_t i = 0; i < COUNT(tables); i++) {
        if (ranges_hold(tables[i].ranges, tables[i].count, code))
            flags |= tables[i].flag;
    }
    if (unicode_combining_class(code) != 0)
        flags |= CODE_NONSTARTER;
    if (unicode_lower(code) != code)
        flags |= CODE_LOWERS;
    return flags;
}

void
unicode_classes_fill(uint8_t classes[UNICODE_PLANE])
{
    memset(classes, 0, UNICODE_PLANE);
    for (size_t i = 0; i < COUNT(tables); i++) {
        for (size_t r = 0; r < tables[i].count && tables[i].ranges[r].first < UNICODE_PLANE; r++) {
            for (uint32_t c = tables[i].ranges[r].first; c <= tables[i].ranges[r].last && c < UNICODE_PLANE; c++)
                classes[c] |= tables[i].flag;
        }
    }
    for (size_t i = 0; i < COUNT(kept_nonstarter) && kept_nonstarter[i].code < UNICODE_PLANE; i++)
        classes[kept_nonstarter[i].code] |= CODE_NONSTARTER;
    for (uint32_t c = 0; c < UNICODE_PLANE; c++) {
        if ((uint32_t)utf8proc_tolower((utf8proc_int32_t)c) != c)
            classes[c] |= CODE_LOWERS;
    }
    for (size_t i = 0; i < COUNT(newer_lower) && newer_lower[i].code < UNICODE_PLANE; i++)
        classes[newer_lower[i].code] |= CODE_LOWERS;
}

size_t
unicode_decompose(uint32_t code, uint32_t parts[UNICODE_MAX_PARTS])
{
    utf8proc_int32_t decomposed[UNICODE_MAX_PARTS];
    int boundary = 0;
    utf8proc_ssize_t count =
        utf8proc_decompose_char((utf8proc_int32_t)code, decomposed, UNICODE_MAX_PARTS, UTF8PROC_DECOMPOSE, &boundary);

    assert(count > 0 && count <= UNICODE_MAX_PARTS); /* the longest canonical one has 4 */
    for (utf8proc_ssize_t i = 0; i < count; i++)
        parts[i] = (uint32_t)decomposed[i];
    return (size_t)count;
}
