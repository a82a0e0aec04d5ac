/* embed/onnx/groups.h - which texts go through the model together.
 *
 * A run of a group costs about RUN_OVERHEAD tokens beside its padded tokens, and more a token once its tensors outgrow
 * the processor's caches. So the texts, sorted by length, are cut where the sum of padded tokens and overheads is
 * least, with at most RUN_TOKENS padded tokens a run.
 * Measured with MiniLM-L6 f32 on one core, microseconds a token: alone 233 at 32 tokens, 195 at 96; best 166 with 12
 * of 32, 170 with 4 of 96, 178 with 3 of 128; 196 with 32 of 96, 263 with 32 of 256.
 */
#ifndef REEMBED_EMBED_ONNX_GROUPS_H
#define REEMBED_EMBED_ONNX_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

#define RUN_OVERHEAD 14
#define RUN_TOKENS   512

struct text_group {
    size_t first; /* in the order of length */
    size_t count;
    size_t longest;
};

/* `lengths` ascending, each > 0. Fills *ret_groups (in the arena), longest texts first: the last runs to finish are
 * then short ones. Returns how many groups there are; 0 without memory. */
size_t groups_cut(const uint32_t *lengths, size_t count, struct arena *arena, struct text_group **ret_groups);

#endif
