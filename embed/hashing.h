/* embed/hashing.h - vectors without a model: a pure function of the model's name and the text's bytes.
 *
 * For tests, demonstrations and capacity trials. Equal on every machine, so that anyone can recompute a stored vector:
 *
 *   seed    = XXH64(model name, 0)        XXH64 as in https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 *   state   = XXH64(text bytes, seed)
 *   words   : a splitmix64 stream from `state`:
 *               state += 0x9E3779B97F4A7C15; z = state;
 *               z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9; z = (z ^ z >> 27) * 0x94D049BB133111EB; word = z ^ z >> 31
 *   numbers : each word gives two, the low half first: half >> 8 (0 ... 2^24 - 1) minus 2^23, an integer
 *   norm    = sqrt(sum of number^2)       the sum is exact in 64 bits, the root is taken of it as a double
 *   vector  = float32(number * (1 / norm))  1 / norm and the product in double precision
 *
 * All arithmetic is modulo 2^64 where it is integer and IEEE 754 round-to-nearest where it is not. Numbers all zero
 * (which chance will not produce) give the first unit vector.
 *
 * The text is what the worker sends: the prefix is part of it. Tokens are counted as (bytes + 3) / 4. With
 * options.max_tokens set, a longer text is cut to 4 x max_tokens bytes, back to the start of a UTF-8 sequence
 * (POLICY_TRUNCATE), or refused as TEXT_TOO_LONG. options.dimensions decides the size; for a model known by name it may
 * be left out. Threads: all functions are pure.
 */
#ifndef REEMBED_EMBED_HASHING_H
#define REEMBED_EMBED_HASHING_H

#include <stddef.h>
#include <stdint.h>

#define HASHING_MAX_DIMENSIONS 65536

uint64_t hashing_xxh64(const void *bytes, size_t length, uint64_t seed);

/* Fills vector[0 ... dimensions - 1], unit length; dimensions <= HASHING_MAX_DIMENSIONS. `seed` is the hash of the
 * model's name. */
void hashing_vector(uint64_t seed, const void *bytes, size_t length, size_t dimensions, float *vector);

#endif
