/* One pass over the text, one code point at a time, nothing stored but the word that is being built:
 *
 *   raw text → added tokens matched in raw text → clean, pad ideographs, decompose, put marks in order, strip, lower
 *            → added tokens matched in normalised text → words → longest vocabulary pieces → ids
 *
 * What stands between two raw added tokens is normalised on its own; that is why raw_match ends everything that is
 * still open. Added tokens that eat white space around them (lstrip, rstrip) need no care here: white space gives no
 * ids anyway. */
#include "embed/wordpiece.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "embed/wordpiece_model.h"

struct encoder {
    const struct wordpiece *tokenizer;
    struct wordpiece_ids *out;
    size_t room; /* ids that may still be added for the text itself */
    bool full;   /* a token was left out: nothing that follows matters */
    bool failed; /* no memory */

    size_t word_codes; /* code points; those beyond max_word are counted, not kept */
    size_t word_bytes;
    char word[WORDPIECE_MAX_WORD * 4];

    /* Code points with a combining class above 0 since the last one without, in canonical order. */
    size_t run_count;
    uint32_t run[WORDPIECE_MAX_WORD];
    uint8_t run_class[WORDPIECE_MAX_WORD];

    /* Normalised code points that may be the beginning of an added token. */
    size_t held_count;
    uint32_t held[WORDPIECE_MAX_PATTERN];

    uint32_t *capture; /* set: the normaliser's output goes here and no further */
    size_t capture_count;
    size_t capture_capacity;
};

static bool
ids_add(struct wordpiece_ids *ids, uint32_t id)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity ? ids->capacity * 2 : 256;
        if (capacity > SIZE_MAX / sizeof *ids->ids)
            return false;
        uint32_t *grown = realloc(ids->ids, capacity * sizeof *grown);
        if (!grown)
            return false;
        ids->ids = grown;
        ids->capacity = capacity;
    }
    ids->ids[ids->count++] = id;
    return true;
}

static void
token_add(struct encoder *e, uint32_t id)
{
    assert(e->out); /* the normaliser alone gives no tokens */
    if (e->full)
        return;
    if (e->room == 0) {
        e->full = true;
        e->out->truncated = true;
        return;
    }
    if (!ids_add(e->out, id)) {
        e->failed = e->full = true;
        return;
    }
    e->room--;
}

/* The longest piece first, from the left; a word with a part that is in no piece is unknown as a whole. */
static void
word_end(struct encoder *e)
{
    const struct wordpiece *tokenizer = e->tokenizer;
    const struct trie *trie = &tokenizer->vocabulary;
    uint32_t pieces[WORDPIECE_MAX_WORD];
    size_t piece_count = 0, at = 0, length = e->word_bytes;
    size_t codes = e->word_codes;

    e->word_codes = e->word_bytes = 0;
    if (codes == 0)
        return;
    if (codes > tokenizer->max_word) {
        token_add(e, tokenizer->unknown_id);
        return;
    }
    for (uint32_t start = 0; at < length; start = tokenizer->continuing) {
        uint32_t node = start, found = WORDPIECE_NO_ID;
        size_t found_end = at;

        for (size_t i = at; node != TRIE_NONE && i < length; i++) {
            node = trie_step(trie, node, (unsigned char)e->word[i]);
            if (node != TRIE_NONE && trie->ids[node] != WORDPIECE_NO_ID) {
                found = trie->ids[node];
                found_end = i + 1;
            }
        }
        if (found == WORDPIECE_NO_ID) {
            token_add(e, tokenizer->unknown_id);
            return;
        }
        pieces[piece_count++] = found;
        at = found_end;
    }
    for (size_t i = 0; i < piece_count; i++)
        token_add(e, pieces[i]);
}

static inline uint8_t
flags_of(const struct wordpiece *tokenizer, uint32_t code)
{
    return code < UNICODE_PLANE ? tokenizer->classes[code] : unicode_flags(code);
}

static inline void
word_add(struct encoder *e, uint32_t code)
{
    if (e->word_codes++ < e->tokenizer->max_word)
        e->word_bytes += unicode_write(code, e->word + e->word_bytes);
}

/* The pre-tokenizer: white space ends words, punctuation is a word of its own. */
static void
split_add(struct encoder *e, uint32_t code)
{
    uint8_t flags = flags_of(e->tokenizer, code);

    if (flags & CODE_SPACE) {
        word_end(e);
    } else if (flags & CODE_PUNCTUATION) {
        word_end(e);
        word_add(e, code);
        word_end(e);
    } else {
        word_add(e, code);
    }
}

/* Whether the held code points begin some pattern; sets *ret_longest to the longest pattern that they begin with. */
static bool
held_may_grow(const struct encoder *e, const struct pattern **ret_longest)
{
    const struct pattern_list *list = &e->tokenizer->normalized;
    bool may_grow = false;

    *ret_longest = NULL;
    for (size_t i = 0; i < list->count; i++) {
        const struct pattern *pattern = &list->items[i];
        size_t common = pattern->count < e->held_count ? pattern->count : e->held_count;

        if (memcmp(pattern->codes, e->held, common * sizeof e->held[0]) != 0)
            continue;
        if (pattern->count > e->held_count)
            may_grow = true;
        else if (!*ret_longest || pattern->count > (*ret_longest)->count)
            *ret_longest = pattern;
    }
    return may_grow;
}

/* Decides about the front of what is held until it is empty or more is needed to decide. */
static void
held_settle(struct encoder *e, bool at_end)
{
    while (e->held_count > 0) {
        const struct pattern *longest;
        size_t used;

        if (held_may_grow(e, &longest) && !at_end)
            return;
        if (longest) {
            word_end(e);
            token_add(e, longest->id);
            used = longest->count;
        } else {
            split_add(e, e->held[0]);
            used = 1;
        }
        e->held_count -= used;
        memmove(e->held, e->held + used, e->held_count * sizeof e->held[0]);
    }
}

static inline bool
starts_pattern(const struct pattern_list *list, uint32_t code)
{
    return code < 128 ? list->first[code] : list->first_above;
}

/* What the normaliser has finished with. */
static void
normalized_add(struct encoder *e, uint32_t code)
{
    if (e->capture) {
        if (e->capture_count < e->capture_capacity)
            e->capture[e->capture_count] = code;
        e->capture_count++;
    } else if (e->held_count > 0 || starts_pattern(&e->tokenizer->normalized, code)) {
        e->held[e->held_count++] = code; /* patterns are shorter than the array: held_settle leaves room */
        held_settle(e, false);
    } else {
        split_add(e, code);
    }
}

static void
lower_add(struct encoder *e, uint32_t code)
{
    if (e->tokenizer->lowercase && (flags_of(e->tokenizer, code) & CODE_LOWERS)) {
        normalized_add(e, unicode_lower(code));
        if (code == 0x130)
            normalized_add(e, 0x307);
    } else {
        normalized_add(e, code);
    }
}

static void
run_end(struct encoder *e)
{
    for (size_t i = 0; i < e->run_count; i++)
        lower_add(e, e->run[i]);
    e->run_count = 0;
}

/* Puts a code point into the canonical order of its run. A run that fills the array belongs to a word that is longer
 * than any vocabulary allows, so its order no longer matters. */
static void
run_add(struct encoder *e, uint32_t code)
{
    uint8_t combining = unicode_combining_class(code);
    size_t at = e->run_count;

    if (at == WORDPIECE_MAX_WORD) {
        run_end(e);
        at = 0;
    }
    for (; at > 0 && e->run_class[at - 1] > combining; at--) {
        e->run[at] = e->run[at - 1];
        e->run_class[at] = e->run_class[at - 1];
    }
    e->run[at] = code;
    e->run_class[at] = combining;
    e->run_count++;
}

/* After decomposition. A mark that goes away still keeps what stands before it apart from what follows, if its own
 * combining class is 0. */
static void
decomposed_add(struct encoder *e, uint32_t code)
{
    uint8_t flags = flags_of(e->tokenizer, code);

    if ((flags & CODE_NONSTARTER) && (flags & CODE_MARK))
        return;
    if (flags & CODE_NONSTARTER) {
        run_add(e, code);
        return;
    }
    run_end(e);
    if (!(flags & CODE_MARK))
        lower_add(e, code);
}

/* The normaliser's first half: one raw code point. */
static void
raw_add(struct encoder *e, uint32_t code)
{
    const struct wordpiece *tokenizer = e->tokenizer;
    uint8_t flags = flags_of(tokenizer, code);
    bool padded = tokenizer->pad_ideographs && (flags & CODE_IDEOGRAPH);

    if (tokenizer->clean_text && (flags & CODE_REMOVED))
        return;
    if (tokenizer->clean_text && (flags & CODE_SPACE))
        code = ' ';
    if (!tokenizer->strip_accents) {
        if (padded)
            normalized_add(e, ' ');
        lower_add(e, code);
        if (padded)
            normalized_add(e, ' ');
        return;
    }
    if (padded)
        decomposed_add(e, ' ');
    if (flags & CODE_DECOMPOSES) {
        uint32_t parts[UNICODE_MAX_PARTS];
        size_t count = unicode_decompose(code, parts);
        for (size_t i = 0; i < count; i++)
            decomposed_add(e, parts[i]);
    } else {
        decomposed_add(e, code);
    }
    if (padded)
        decomposed_add(e, ' ');
}

/* The longest added token that stands at `bytes`; its length, or 0. */
static size_t
raw_match(const struct pattern_list *list, const unsigned char *bytes, size_t left, uint32_t *ret_id)
{
    size_t longest = 0, longest_bytes = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct pattern *pattern = &list->items[i];
        size_t at = 0, matched = 0;

        if (pattern->count <= longest)
            continue;
        while (matched < pattern->count && at < left) {
            uint32_t code;
            size_t size = unicode_read(bytes + at, left - at, &code);
            if (size == 0 || code != pattern->codes[matched])
                break;
            at += size;
            matched++;
        }
        if (matched == pattern->count) {
            longest = matched;
            longest_bytes = at;
            *ret_id = pattern->id;
        }
    }
    return longest_bytes;
}

/* Ends a stretch of text that is normalised on its own. */
static void
piece_end(struct encoder *e)
{
    run_end(e);
    held_settle(e, true);
    word_end(e);
}

static void
encode_text(struct encoder *e, const unsigned char *bytes, size_t length)
{
    const struct wordpiece *tokenizer = e->tokenizer;
    const struct pattern_list *raw = &tokenizer->raw;
    size_t at = 0;

    while (at < length && !e->full) {
        unsigned char byte = bytes[at];
        uint32_t code = 0xFFFD, id = 0;

        /* Nearly all text: words of ASCII letters and digits with nothing pending. */
        if (byte < 0x80 && e->run_count == 0 && e->held_count == 0 && !e->capture) {
            uint8_t kind = tokenizer->ascii_kind[byte];

            if (kind == ASCII_WORD) {
                size_t start = at, kept = e->word_bytes;
                size_t most = tokenizer->max_word > e->word_codes ? tokenizer->max_word - e->word_codes : 0;

                do {
                    if (at - start < most)
                        e->word[kept++] = tokenizer->ascii_lower[bytes[at]];
                    at++;
                } while (at < length && bytes[at] < 0x80 && tokenizer->ascii_kind[bytes[at]] == ASCII_WORD);
                e->word_bytes = kept;
                e->word_codes += at - start;
                continue;
            }
            if (kind == ASCII_SPACE || kind == ASCII_PUNCTUATION) {
                split_add(e, byte);
                at++;
                continue;
            }
            if (kind == ASCII_REMOVED) {
                at++;
                continue;
            }
        }
        if (!e->capture && starts_pattern(raw, byte < 0x80 ? byte : 0x80)) {
            size_t matched = raw_match(raw, bytes + at, length - at, &id);
            if (matched > 0) {
                piece_end(e);
                token_add(e, id);
                at += matched;
                continue;
            }
        }
        size_t size = unicode_read(bytes + at, length - at, &code);
        at += size ? size : 1;
        raw_add(e, code);
    }
    if (e->capture)
        run_end(e);
    else if (!e->full)
        piece_end(e);
}

/* Only the counters: the arrays behind them are big and need no first value. */
static void
encoder_start(struct encoder *e, const struct wordpiece *tokenizer)
{
    e->tokenizer = tokenizer;
    e->out = NULL;
    e->room = SIZE_MAX;
    e->full = e->failed = false;
    e->word_codes = e->word_bytes = 0;
    e->run_count = e->held_count = 0;
    e->capture = NULL;
    e->capture_count = e->capture_capacity = 0;
}

enum rc
wordpiece_encode(const struct wordpiece *tokenizer, const char *bytes, size_t length, size_t max_tokens,
                 struct wordpiece_ids *ids)
{
    size_t special = tokenizer->before_count + tokenizer->after_count;
    struct encoder e;

    encoder_start(&e, tokenizer);
    e.out = ids;
    ids->count = 0;
    ids->truncated = false;
    for (size_t i = 0; i < tokenizer->before_count; i++) {
        if (!ids_add(ids, tokenizer->before[i]))
            return RC_FATAL;
    }
    if (max_tokens > 0)
        e.room = max_tokens > special ? max_tokens - special : 0;
    encode_text(&e, (const unsigned char *)bytes, length);
    for (size_t i = 0; i < tokenizer->after_count; i++) {
        if (!ids_add(ids, tokenizer->after[i]))
            return RC_FATAL;
    }
    return e.failed ? RC_FATAL : RC_OK;
}

size_t
wordpiece_normalize(const struct wordpiece *tokenizer, const char *bytes, size_t length, uint32_t *codes,
                    size_t capacity)
{
    struct encoder e;

    encoder_start(&e, tokenizer);
    e.capture = codes;
    e.capture_capacity = capacity;
    encode_text(&e, (const unsigned char *)bytes, length);
    return e.capture_count;
}

void
wordpiece_ids_free(struct wordpiece_ids *ids)
{
    free(ids->ids);
    *ids = (struct wordpiece_ids){.ids = NULL};
}

uint32_t
wordpiece_pad_id(const struct wordpiece *tokenizer)
{
    return tokenizer->pad_id;
}

uint32_t
wordpiece_highest_id(const struct wordpiece *tokenizer)
{
    return tokenizer->highest_id;
}

size_t
wordpiece_special_count(const struct wordpiece *tokenizer)
{
    return tokenizer->before_count + tokenizer->after_count;
}
