/* embed/http/base64.h - base64 that arrives in pieces, decoded into little-endian float32 numbers.
 *
 * Standard alphabet (RFC 4648 section 4), padding optional, nothing else allowed in between: no blanks, no line ends.
 * Threads: plain data, one owner.
 */
#ifndef REEMBED_EMBED_HTTP_BASE64_H
#define REEMBED_EMBED_HTTP_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base64_floats {
    float *floats; /* borrowed; room for `room` numbers */
    size_t room;
    size_t count;  /* numbers decoded, also those for which there was no room */
    uint32_t bits; /* characters not yet made into bytes */
    unsigned bit_count;
    uint32_t word; /* bytes not yet made into a float */
    unsigned byte_count;
    unsigned padding;
    size_t characters; /* without padding */
    bool broken;
};

void base64_begin(struct base64_floats *decoder, float *floats, size_t room);
void base64_feed(struct base64_floats *decoder, const char *characters, size_t length);

/* False when it was no base64, or not of whole float32 numbers. */
bool base64_end(const struct base64_floats *decoder);

#endif
