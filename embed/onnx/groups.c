#include "embed/onnx/groups.h"

/* cost[i] is the least cost of the i shortest texts, start[i] where the last group of that solution begins. */
size_t
groups_cut(const uint32_t *lengths, size_t count, struct arena *arena, struct text_group **ret_groups)
{
    uint64_t *cost = arena_array(arena, count + 1, sizeof *cost);
    size_t *start = arena_array(arena, count + 1, sizeof *start);
    size_t groups = 0;

    if (!cost || !start)
        return 0;
    cost[0] = 0;
    for (size_t i = 1; i <= count; i++) {
        uint64_t longest = lengths[i - 1];

        start[i] = i - 1;
        cost[i] = cost[i - 1] + RUN_OVERHEAD + longest;
        for (size_t j = i - 1; j-- > 0 && (i - j) * longest <= RUN_TOKENS;) {
            uint64_t with = cost[j] + RUN_OVERHEAD + (i - j) * longest;
            if (with < cost[i]) {
                cost[i] = with;
                start[i] = j;
            }
        }
    }
    for (size_t i = count; i > 0; i = start[i])
        groups++;
    struct text_group *out = arena_array(arena, groups ? groups : 1, sizeof *out);
    if (!out)
        return 0;
    size_t n = 0;
    for (size_t i = count; i > 0; i = start[i])
        out[n++] = (struct text_group){.first = start[i], .count = i - start[i], .longest = lengths[i - 1]};
    *ret_groups = out;
    return groups;
}
