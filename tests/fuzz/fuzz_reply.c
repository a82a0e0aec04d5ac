/* A reply of any dialect, whole and cut into pieces: the verdict and the vectors must be the same, whatever it holds.
 * The first three bytes choose the dialect, the number of texts and the cuts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "embed/http/dialect.h"
#include "embed/http/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COUNT_MAX = 5, DIMENSIONS = 3 };

struct outcome {
    enum reply_verdict verdict;
    float vectors[COUNT_MAX][DIMENSIONS];
    struct text_result results[COUNT_MAX];
};

static void
read_reply(const struct reply_shape *shape, size_t count, const uint8_t *data, size_t size, uint8_t cuts,
           struct outcome *ret_outcome)
{
    struct arena *arena = arena_new((size_t)64 * 1024 * 1024);
    struct reply *reply = malloc(sizeof *reply);
    const char *problem = NULL;
    uint32_t state = cuts;

    memset(ret_outcome, 0, sizeof *ret_outcome);
    if (arena == NULL || reply == NULL)
        abort();
    const struct reply_target target = {.count = count,
                                        .dimensions = DIMENSIONS,
                                        .vectors = &ret_outcome->vectors[0][0],
                                        .results = ret_outcome->results,
                                        .arena = arena};
    if (!reply_begin(reply, shape, &target))
        abort();
    for (size_t at = 0; at < size;) {
        state = state * 1664525 + 1013904223;
        size_t piece = cuts == 0 ? size : 1 + (state >> 24) % (1u + cuts / 8);
        piece = piece < size - at ? piece : size - at;
        /* Exactly as large as the piece, so that reading on is seen. */
        char *copy = malloc(piece);
        if (copy == NULL)
            abort();
        memcpy(copy, data + at, piece);
        bool goes_on = reply_feed(reply, copy, piece);
        free(copy);
        if (!goes_on)
            break;
        at += piece;
    }
    ret_outcome->verdict = reply_end(reply, &problem);
    if ((ret_outcome->verdict == REPLY_VECTORS) != (problem == NULL) && ret_outcome->verdict != REPLY_NO_MEMORY)
        abort();
    for (size_t i = 0; i < count; i++) {
        struct text_result *result = &ret_outcome->results[i];
        if (ret_outcome->verdict == REPLY_VECTORS && result->status == TEXT_EMBEDDED &&
            !vector_is_valid(ret_outcome->vectors[i], DIMENSIONS))
            abort();
        if (ret_outcome->verdict == REPLY_VECTORS && result->status != TEXT_EMBEDDED && result->detail == NULL)
            abort();
    }
    free(reply);
    arena_free(arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reply_shape shape;
    struct outcome whole, cut;
    size_t number = 0, dialect_count = 0;

    if (size < 3)
        return -1;
    while (dialects[dialect_count].name != NULL)
        dialect_count++;
    number = data[0] % dialect_count;
    size_t count = 1 + data[1] % COUNT_MAX;
    if (!reply_shape_compile(&dialects[number].reply, &shape))
        abort();
    read_reply(&shape, count, data + 3, size - 3, 0, &whole);
    read_reply(&shape, count, data + 3, size - 3, data[2] | 1, &cut);
    if (whole.verdict != cut.verdict)
        abort();
    if (whole.verdict == REPLY_VECTORS && memcmp(whole.vectors, cut.vectors, sizeof whole.vectors) != 0)
        abort();
    for (size_t i = 0; whole.verdict == REPLY_VECTORS && i < count; i++)
        if (whole.results[i].status != cut.results[i].status)
            abort();
    return 0;
}
