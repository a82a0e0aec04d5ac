/* embed/onnx/pool_vectors.h - from a vector a token to a vector a text.
 *
 * Threads: pure functions.
 */
#ifndef REEMBED_EMBED_ONNX_POOL_VECTORS_H
#define REEMBED_EMBED_ONNX_POOL_VECTORS_H

#include <stdbool.h>
#include <stddef.h>

#include "embed/embedder.h"

/* `tokens` holds at least `count` > 0 vectors of `dimensions` numbers, those of the text itself first. */
void pool_tokens(const float *tokens, size_t count, size_t dimensions, enum pooling pooling, float *vector);

/* Brings a vector to unit length. False, and the vector as it was, when it is not finite or all zero. */
bool vector_normalize(float *vector, size_t dimensions);

#endif
