/* db/vector.h - pgvector's binary format: int16 dimensions, int16 unused, then the numbers, all big-endian.
 *
 * vector holds IEEE singles, halfvec IEEE halves. pgvector takes finite numbers only, at most 16,000 dimensions.
 * Source: pgvector src/vector.c vector_recv, src/halfvec.c halfvec_recv.
 * Threads: pure functions.
 */
#ifndef REEMBED_DB_VECTOR_H
#define REEMBED_DB_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/types.h"

#define VECTOR_MAX_DIMENSIONS 16000

/* Bytes of one value. */
size_t vector_wire_size(enum vector_kind kind, size_t dimensions);

/* Writes one value to `out`, which has room for vector_wire_size bytes. False when a number is not finite or does not
 * fit into a half; `out` then holds rubbish. */
bool vector_encode(enum vector_kind kind, const float *numbers, size_t dimensions, char *out);

/* The dimensions of a value; fills `numbers` unless there are more than `room`. 0 when it is malformed. */
size_t vector_decode(enum vector_kind kind, const char *bytes, size_t length, float *numbers, size_t room);

/* Rounds to nearest even, down to subnormals and zero; 0x7c00 (infinite) and above where it does not fit. */
uint16_t half_from_float(float number);
float half_to_float(uint16_t half);

#endif
