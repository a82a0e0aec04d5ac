/* embed/unicode.h - what the BERT normaliser and pre-tokenizer need to know of a code point.
 *
 * Classes come from embed/unicode_tables.inc, which was asked of the reference tokenizer; decompositions and lower
 * case from utf8proc, guarded by those classes, so that a newer utf8proc changes nothing.
 * Threads: read only after unicode_classes_fill.
 */
#ifndef REEMBED_EMBED_UNICODE_H
#define REEMBED_EMBED_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum code_flags {
    CODE_REMOVED = 1,     /* taken out by clean_text */
    CODE_SPACE = 2,       /* ends a word */
    CODE_IDEOGRAPH = 4,   /* gets a space on both sides */
    CODE_PUNCTUATION = 8, /* is a word of its own */
    CODE_DECOMPOSES = 16, /* unicode_decompose gives something else */
    CODE_MARK = 32,       /* taken out by strip_accents, after decomposition */
    CODE_NONSTARTER = 64, /* combining class above 0: does not end a run that is being put in order */
    CODE_LOWERS = 128,    /* unicode_lower gives something else */
};

#define UNICODE_PLANE 0x10000

/* Fills classes[0 ... UNICODE_PLANE - 1] with the flags of the basic plane, for quick look-ups. */
void unicode_classes_fill(uint8_t classes[UNICODE_PLANE]);

/* Flags of any code point up to U+10FFFF, by search. */
uint8_t unicode_flags(uint32_t code);

/* Full canonical decomposition of a code point with CODE_DECOMPOSES into `parts`, in canonical order. Returns how many.
 */
#define UNICODE_MAX_PARTS 8
size_t unicode_decompose(uint32_t code, uint32_t parts[UNICODE_MAX_PARTS]);

/* Canonical combining class of a code point with CODE_NONSTARTER and without CODE_MARK. */
uint8_t unicode_combining_class(uint32_t code);

/* The simple lower-case mapping; U+0130, the only one that becomes two, gives 'i' and the caller adds U+0307. */
uint32_t unicode_lower(uint32_t code);

/* Reads one code point. Returns its length in bytes, 1 ... 4, or 0 where the bytes are not valid UTF-8 (overlong forms,
 * surrogates and what is above U+10FFFF are not). `left` > 0. */
static inline size_t
unicode_read(const unsigned char *bytes, size_t left, uint32_t *ret_code)
{
    uint32_t b0 = bytes[0];

    if (b0 < 0x80) {
        *ret_code = b0;
        return 1;
    }
    if (b0 < 0xC2 || b0 > 0xF4 || left < 2 || (bytes[1] & 0xC0) != 0x80)
        return 0;
    uint32_t b1 = bytes[1] & 0x3Fu;
    if (b0 < 0xE0) {
        *ret_code = (b0 & 0x1Fu) << 6 | b1;
        return 2;
    }
    if (left < 3 || (bytes[2] & 0xC0) != 0x80)
        return 0;
    uint32_t b2 = bytes[2] & 0x3Fu;
    if (b0 < 0xF0) {
        uint32_t code = (b0 & 0x0Fu) << 12 | b1 << 6 | b2;
        if (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF))
            return 0;
        *ret_code = code;
        return 3;
    }
    if (left < 4 || (bytes[3] & 0xC0) != 0x80)
        return 0;
    uint32_t code = (b0 & 0x07u) << 18 | b1 << 12 | b2 << 6 | (bytes[3] & 0x3Fu);
    if (code < 0x10000 || code > 0x10FFFF)
        return 0;
    *ret_code = code;
    return 4;
}

/* Writes a code point as UTF-8; returns the length. */
static inline size_t
unicode_write(uint32_t code, char bytes[4])
{
    if (code < 0x80) {
        bytes[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        bytes[0] = (char)(0xC0 | code >> 6);
        bytes[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        bytes[0] = (char)(0xE0 | code >> 12);
        bytes[1] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    bytes[0] = (char)(0xF0 | code >> 18);
    bytes[1] = (char)(0x80 | (code >> 12 & 0x3F));
    bytes[2] = (char)(0x80 | (code >> 6 & 0x3F));
    bytes[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

#endif
