/* embed/wordpiece_model.h - a loaded tokenizer, shared by wordpiece.c (encoding) and wordpiece_load.c (reading). */
#ifndef REEMBED_EMBED_WORDPIECE_MODEL_H
#define REEMBED_EMBED_WORDPIECE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "embed/unicode.h"
#include "embed/wordpiece.h"

#define WORDPIECE_MAX_WORD    1000 /* code points: the most that max_input_chars_per_word may be */
#define WORDPIECE_MAX_SPECIAL 16   /* tokens before, and as many after, a text */
#define WORDPIECE_MAX_PATTERN 128  /* code points of an added token */
#define WORDPIECE_NO_ID       UINT32_MAX

/* The vocabulary as a trie over bytes. Edges stand in one open-addressing table: key = parent node << 8 | byte. */
struct trie_edge {
    uint32_t key; /* TRIE_EMPTY: free */
    uint32_t child;
};
#define TRIE_EMPTY     UINT32_MAX
#define TRIE_NONE      UINT32_MAX
#define TRIE_MAX_NODES (1u << 24)

struct trie {
    struct trie_edge *edges;
    uint32_t mask; /* table size - 1, a power of two at least twice the number of edges */
    uint32_t *ids; /* of each node: a token's id, or WORDPIECE_NO_ID */
    uint32_t node_count;
};

/* An added token. `codes` is what is looked for: as it stands in the file, or normalised. */
struct pattern {
    uint32_t *codes;
    size_t count;
    uint32_t id;
};

struct pattern_list {
    struct pattern *items;
    size_t count;
    bool first[128];  /* an ASCII code point that starts one of them */
    bool first_above; /* some start above ASCII */
};

enum ascii_kind {
    ASCII_WORD, /* part of a word, nothing to look up */
    ASCII_SPACE,
    ASCII_REMOVED,
    ASCII_PUNCTUATION,
    ASCII_SLOW, /* may start an added token */
};

struct wordpiece {
    struct trie vocabulary;
    uint32_t continuing; /* node of the prefix "##", TRIE_NONE when no token has it */
    uint32_t unknown_id;
    uint32_t pad_id;
    uint32_t highest_id;
    size_t max_word; /* code points; a longer word is unknown */

    bool clean_text;
    bool pad_ideographs;
    bool strip_accents;
    bool lowercase;

    uint32_t before[WORDPIECE_MAX_SPECIAL]; /* special tokens in front of the text */
    uint32_t after[WORDPIECE_MAX_SPECIAL];
    size_t before_count;
    size_t after_count;

    struct pattern_list raw;        /* matched in the text as it is */
    struct pattern_list normalized; /* matched in what the normaliser makes of it */

    uint8_t ascii_kind[128];
    char ascii_lower[128];
    uint8_t classes[UNICODE_PLANE]; /* enum code_flags of the basic plane */
};

static inline uint32_t
trie_slot(uint32_t key, uint32_t mask)
{
    uint32_t hash = key * 0x9E3779B1u;
    return (hash ^ hash >> 15) & mask;
}

/* The child of `node` by `byte`, or TRIE_NONE. */
static inline uint32_t
trie_step(const struct trie *trie, uint32_t node, unsigned char byte)
{
    uint32_t key = node << 8 | byte;

    for (uint32_t slot = trie_slot(key, trie->mask);; slot = (slot + 1) & trie->mask) {
        if (trie->edges[slot].key == key)
            return trie->edges[slot].child;
        if (trie->edges[slot].key == TRIE_EMPTY)
            return TRIE_NONE;
    }
}

/* Runs the normaliser alone over a text: for the added tokens that are matched in normalised text. Writes at most
 * `capacity` code points and returns how many there are. */
size_t wordpiece_normalize(const struct wordpiece *tokenizer, const char *bytes, size_t length, uint32_t *codes,
                           size_t capacity);

#endif
