#include "base/nearest.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

enum { LONGEST = 64 };

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int
same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment distance; three rows are enough to see a swap. */
static size_t
distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][LONGEST + 1];

    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t cost = same(a[i - 1], b[j - 1]) ? 0 : 1;
            row[j] = smaller(smaller(above[j], row[j - 1]) + 1, above[j - 1] + cost);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                row[j] = smaller(row[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

const char *
nearest_name(const char *name, const char *const *names)
{
    const char *nearest = NULL;
    size_t fewest = 0;
    size_t length = strnlen(name, LONGEST);

    if (length == 0 || length == LONGEST)
        return NULL;
    for (; *names != NULL; names++) {
        size_t other = strnlen(*names, LONGEST);
        if (other == LONGEST)
            continue;
        size_t edits = distance(name, length, *names, other);
        size_t longer = length > other ? length : other;
        if (edits * 3 <= longer && (nearest == NULL || edits < fewest)) {
            nearest = *names;
            fewest = edits;
        }
    }
    return nearest;
}
