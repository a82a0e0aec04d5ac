/* tests/fake_server/vectors.h - vectors as text: JSON numbers or base64, fast enough to be no bottleneck.
 *
 * The numbers are hashing_vector's, so that whoever knows model and text can recompute them.
 */
#ifndef REEMBED_TESTS_FAKE_SERVER_VECTORS_H
#define REEMBED_TESTS_FAKE_SERVER_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

/* `digits` 9: the shortest fixed form that gives the same float32 again; else printf's %.17g. */
void vector_put_numbers(struct strbuf *out, const float *vector, size_t dimensions, int64_t digits);
void vector_put_base64(struct strbuf *out, const float *vector, size_t dimensions);

/* A gzip stream of stored blocks, and one that unpacks to `bytes` blanks from 1/159 of the size. */
void gzip_put_stored(struct strbuf *out, const void *bytes, size_t length);
void gzip_put_bomb(struct strbuf *out, uint64_t bytes);

#endif
