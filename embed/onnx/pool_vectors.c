#include "embed/onnx/pool_vectors.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void
pool_tokens(const float *tokens, size_t count, size_t dimensions, enum pooling pooling, float *vector)
{
    const float *only = pooling == POOLING_LAST ? tokens + (count - 1) * dimensions : tokens;

    assert(count > 0);
    memcpy(vector, only, dimensions * sizeof *vector);
    if (pooling != POOLING_MEAN)
        return;
    for (size_t t = 1; t < count; t++) {
        const float *token = tokens + t * dimensions;
        for (size_t d = 0; d < dimensions; d++)
            vector[d] += token[d];
    }
    float share = 1.0f / (float)count;
    for (size_t d = 0; d < dimensions; d++)
        vector[d] *= share;
}

bool
vector_normalize(float *vector, size_t dimensions)
{
    double sum = 0;

    for (size_t d = 0; d < dimensions; d++)
        sum += (double)vector[d] * (double)vector[d];
    if (!isfinite(sum) || sum <= 0)
        return false;
    double scale = 1.0 / sqrt(sum);
    for (size_t d = 0; d < dimensions; d++)
        vector[d] = (float)(vector[d] * scale);
    return true;
}
