#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "embed/wordpiece_model.h"

/* The largest tokenizer.json in use (250,000 tokens, several languages) is 17 MB. */
#define MAX_FILE_BYTES (64u * 1024 * 1024)
#define MAX_ID         0x7FFFFFFFu

/* The hint for tokenizers of another kind. */
#define OTHER_TOKENIZER                                                                                                \
    "models with SentencePiece or BPE tokenizers (e5, paraphrase-multilingual, Qwen) run through an HTTP provider "    \
    "(kind \"openai\") until an in-process tokenizer exists"

static enum rc
refuse(struct err *err, const char *name, const char *what)
{
    return err_set(err, RC_INVALID, ERR_USAGE, "%s: %s", name, what);
}

static const char *
string_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool
flag_of(const cJSON *object, const char *key, bool otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

static bool
id_of(const cJSON *item, uint32_t *ret_id)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > MAX_ID)
        return false;
    *ret_id = (uint32_t)item->valuedouble;
    return true;
}

/* --- trie --- */

static void
trie_clear(struct trie *trie)
{
    free(trie->edges);
    free(trie->ids);
}

static bool
trie_open(struct trie *trie, size_t max_nodes)
{
    size_t slots = 16;

    if (max_nodes >= TRIE_MAX_NODES)
        return false;
    while (slots < 2 * max_nodes)
        slots *= 2;
    trie->edges = malloc(slots * sizeof *trie->edges);
    trie->ids = malloc(max_nodes * sizeof *trie->ids);
    if (!trie->edges || !trie->ids)
        return false;
    memset(trie->edges, 0xFF, slots * sizeof *trie->edges); /* TRIE_EMPTY */
    trie->mask = (uint32_t)(slots - 1);
    trie->ids[0] = WORDPIECE_NO_ID;
    trie->node_count = 1;
    return true;
}

static void
trie_add(struct trie *trie, const char *token, uint32_t id)
{
    uint32_t node = 0;

    for (const unsigned char *byte = (const unsigned char *)token; *byte; byte++) {
        uint32_t child = trie_step(trie, node, *byte);

        if (child == TRIE_NONE) {
            uint32_t key = node << 8 | *byte, slot = trie_slot(key, trie->mask);
            while (trie->edges[slot].key != TRIE_EMPTY)
                slot = (slot + 1) & trie->mask;
            child = trie->node_count++;
            trie->edges[slot] = (struct trie_edge){key, child};
            trie->ids[child] = WORDPIECE_NO_ID;
        }
        node = child;
    }
    trie->ids[node] = id;
}

static uint32_t
trie_find(const struct trie *trie, const char *text)
{
    uint32_t node = 0;

    for (const unsigned char *byte = (const unsigned char *)text; *byte && node != TRIE_NONE; byte++)
        node = trie_step(trie, node, *byte);
    return node;
}

/* --- the parts of the file --- */

static enum rc
read_vocabulary(struct wordpiece *tokenizer, const cJSON *root, const char *name, struct err *err)
{
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    const cJSON *vocabulary = cJSON_GetObjectItemCaseSensitive(model, "vocab"), *token;
    const char *type = string_of(model, "type"), *unknown = string_of(model, "unk_token");
    const char *prefix = string_of(model, "continuing_subword_prefix");
    const cJSON *max_word = cJSON_GetObjectItemCaseSensitive(model, "max_input_chars_per_word");
    size_t max_nodes = 1;

    if (!type || strcmp(type, "WordPiece") != 0) {
        err_set(err, RC_INVALID, ERR_USAGE, "%s: the tokenizer is of type %s, not WordPiece", name, type ? type : "?");
        err_hint(err, OTHER_TOKENIZER);
        return RC_INVALID;
    }
    if (!cJSON_IsObject(vocabulary) || !vocabulary->child)
        return refuse(err, name, "model.vocab is missing or empty");
    tokenizer->max_word = 100;
    if (max_word) {
        if (!cJSON_IsNumber(max_word) || !(max_word->valuedouble >= 1) || max_word->valuedouble > WORDPIECE_MAX_WORD)
            return refuse(err, name, "model.max_input_chars_per_word is not a number from 1 to 1000");
        tokenizer->max_word = (size_t)max_word->valuedouble;
    }

    cJSON_ArrayForEach (token, vocabulary)
        max_nodes += strlen(token->string);
    if (max_nodes >= TRIE_MAX_NODES)
        return refuse(err, name, "the vocabulary is too large for this tokenizer");
    if (!trie_open(&tokenizer->vocabulary, max_nodes))
        return err_memory(err);
    cJSON_ArrayForEach (token, vocabulary) {
        uint32_t id;
        if (!id_of(token, &id))
            return refuse(err, name, "model.vocab holds an id that is not a whole number");
        trie_add(&tokenizer->vocabulary, token->string, id);
        if (id > tokenizer->highest_id)
            tokenizer->highest_id = id;
    }
    uint32_t unknown_node = trie_find(&tokenizer->vocabulary, unknown ? unknown : "[UNK]");
    if (unknown_node == TRIE_NONE || tokenizer->vocabulary.ids[unknown_node] == WORDPIECE_NO_ID)
        return refuse(err, name, "model.unk_token is not in the vocabulary");
    tokenizer->unknown_id = tokenizer->vocabulary.ids[unknown_node];
    tokenizer->continuing = trie_find(&tokenizer->vocabulary, prefix ? prefix : "##");
    return RC_OK;
}

static enum rc
read_normalizer(struct wordpiece *tokenizer, const cJSON *root, const char *name, struct err *err)
{
    const cJSON *normalizer = cJSON_GetObjectItemCaseSensitive(root, "normalizer");
    const cJSON *pre_tokenizer = cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer");
    const char *type = string_of(normalizer, "type"), *pre_type = string_of(pre_tokenizer, "type");

    if (cJSON_IsObject(normalizer)) {
        if (!type || strcmp(type, "BertNormalizer") != 0) {
            err_set(err, RC_INVALID, ERR_USAGE, "%s: the normalizer is of type %s, not BertNormalizer", name,
                    type ? type : "?");
            err_hint(err, OTHER_TOKENIZER);
            return RC_INVALID;
        }
        tokenizer->clean_text = flag_of(normalizer, "clean_text", true);
        tokenizer->pad_ideographs = flag_of(normalizer, "handle_chinese_chars", true);
        tokenizer->lowercase = flag_of(normalizer, "lowercase", true);
        tokenizer->strip_accents = flag_of(normalizer, "strip_accents", tokenizer->lowercase);
    }
    if (!pre_type || strcmp(pre_type, "BertPreTokenizer") != 0) {
        err_set(err, RC_INVALID, ERR_USAGE, "%s: the pre_tokenizer is of type %s, not BertPreTokenizer", name,
                pre_type ? pre_type : "?");
        err_hint(err, OTHER_TOKENIZER);
        return RC_INVALID;
    }
    return RC_OK;
}

static bool
special_add(uint32_t *list, size_t *count, uint32_t id)
{
    if (*count == WORDPIECE_MAX_SPECIAL)
        return false;
    list[(*count)++] = id;
    return true;
}

/* ["[CLS]", 101] of a BertProcessing or RobertaProcessing */
static bool
pair_id(const cJSON *processor, const char *key, uint32_t *ret_id)
{
    return id_of(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(processor, key), 1), ret_id);
}

static bool
read_template(struct wordpiece *tokenizer, const cJSON *processor)
{
    const cJSON *known = cJSON_GetObjectItemCaseSensitive(processor, "special_tokens"), *item;
    bool text_seen = false;

    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(processor, "single")) {
        const cJSON *special = cJSON_GetObjectItemCaseSensitive(item, "SpecialToken"), *number;

        if (cJSON_GetObjectItemCaseSensitive(item, "Sequence")) {
            if (text_seen)
                return false;
            text_seen = true;
            continue;
        }
        const char *label = string_of(special, "id");
        const cJSON *ids =
            cJSON_GetObjectItemCaseSensitive(label ? cJSON_GetObjectItemCaseSensitive(known, label) : NULL, "ids");
        if (!cJSON_IsArray(ids))
            return false;
        cJSON_ArrayForEach (number, ids) {
            uint32_t id;
            if (!id_of(number, &id))
                return false;
            if (!(text_seen ? special_add(tokenizer->after, &tokenizer->after_count, id)
                            : special_add(tokenizer->before, &tokenizer->before_count, id)))
                return false;
        }
    }
    return text_seen;
}

static enum rc
read_post_processor(struct wordpiece *tokenizer, const cJSON *root, const char *name, struct err *err)
{
    const cJSON *processor = cJSON_GetObjectItemCaseSensitive(root, "post_processor");
    const char *type = string_of(processor, "type");

    if (!processor || cJSON_IsNull(processor))
        return RC_OK;
    if (type && strcmp(type, "TemplateProcessing") == 0) {
        if (!read_template(tokenizer, processor))
            return refuse(err, name, "the template of the post_processor is not understood");
        return RC_OK;
    }
    if (type && (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)) {
        if (!pair_id(processor, "cls", &tokenizer->before[0]) || !pair_id(processor, "sep", &tokenizer->after[0]))
            return refuse(err, name, "the post_processor has no ids for \"cls\" and \"sep\"");
        tokenizer->before_count = tokenizer->after_count = 1;
        return RC_OK;
    }
    return err_set(err, RC_INVALID, ERR_USAGE,
                   "%s: the post_processor is of type %s, not TemplateProcessing, BertProcessing or RobertaProcessing",
                   name, type ? type : "?");
}

/* --- added tokens --- */

static size_t
decode(const char *text, uint32_t *codes, size_t capacity)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t left = strlen(text), count = 0;

    while (left > 0) {
        uint32_t code = 0xFFFD;
        size_t size = unicode_read(bytes, left, &code);
        size += size == 0;
        if (count < capacity)
            codes[count] = code;
        count++;
        bytes += size;
        left -= size;
    }
    return count;
}

static enum rc
pattern_add(struct pattern_list *list, const uint32_t *codes, size_t count, uint32_t id, struct err *err)
{
    struct pattern *items = realloc(list->items, (list->count + 1) * sizeof *items);
    uint32_t *copy = malloc(count * sizeof *copy);

    if (items)
        list->items = items;
    if (!items || !copy) {
        free(copy);
        return err_memory(err);
    }
    memcpy(copy, codes, count * sizeof *copy);
    items[list->count++] = (struct pattern){.codes = copy, .count = count, .id = id};
    if (codes[0] < 128)
        list->first[codes[0]] = true;
    else
        list->first_above = true;
    return RC_OK;
}

static enum rc
read_added_tokens(struct wordpiece *tokenizer, const cJSON *root, const char *name, struct err *err)
{
    const cJSON *token;

    cJSON_ArrayForEach (token, cJSON_GetObjectItemCaseSensitive(root, "added_tokens")) {
        const char *content = string_of(token, "content");
        bool normalized = flag_of(token, "normalized", !flag_of(token, "special", false));
        uint32_t codes[WORDPIECE_MAX_PATTERN], id;
        size_t count;

        if (!content || !id_of(cJSON_GetObjectItemCaseSensitive(token, "id"), &id))
            return refuse(err, name, "an entry of added_tokens has no content or no id");
        if (flag_of(token, "single_word", false))
            return err_set(err, RC_INVALID, ERR_USAGE,
                           "%s: the added token \"%.100s\" is a single_word one, which is not supported", name,
                           content);
        count = normalized ? wordpiece_normalize(tokenizer, content, strlen(content), codes, WORDPIECE_MAX_PATTERN)
                           : decode(content, codes, WORDPIECE_MAX_PATTERN);
        if (count > WORDPIECE_MAX_PATTERN)
            return err_set(err, RC_INVALID, ERR_USAGE, "%s: the added token \"%.100s...\" is longer than %d characters",
                           name, content, WORDPIECE_MAX_PATTERN);
        uint32_t node = trie_find(&tokenizer->vocabulary, content);
        if (node != TRIE_NONE && tokenizer->vocabulary.ids[node] != WORDPIECE_NO_ID)
            id = tokenizer->vocabulary.ids[node]; /* the reference goes by the vocabulary where the two differ */
        if (id > tokenizer->highest_id)
            tokenizer->highest_id = id;
        if (count == 0)
            continue;
        enum rc rc = pattern_add(normalized ? &tokenizer->normalized : &tokenizer->raw, codes, count, id, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* The pad token's id matters to models that count positions from the ids: named by the file's padding, else by the
 * usual names. */
static void
find_pad(struct wordpiece *tokenizer, const cJSON *root)
{
    static const char *const names[] = {"[PAD]", "<pad>"};
    const cJSON *token;

    if (id_of(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "padding"), "pad_id"),
              &tokenizer->pad_id))
        return;
    cJSON_ArrayForEach (token, cJSON_GetObjectItemCaseSensitive(root, "added_tokens")) {
        const char *content = string_of(token, "content");
        for (size_t i = 0; content && i < sizeof names / sizeof names[0]; i++) {
            if (strcmp(content, names[i]) == 0 &&
                id_of(cJSON_GetObjectItemCaseSensitive(token, "id"), &tokenizer->pad_id))
                return;
        }
    }
}

static void
fill_ascii(struct wordpiece *tokenizer)
{
    for (unsigned char c = 0; c < 128; c++) {
        uint8_t flags = tokenizer->classes[c];

        if (tokenizer->raw.first[c] || tokenizer->normalized.first[c])
            tokenizer->ascii_kind[c] = ASCII_SLOW;
        else if (tokenizer->clean_text && (flags & CODE_REMOVED))
            tokenizer->ascii_kind[c] = ASCII_REMOVED;
        else if (flags & CODE_SPACE)
            tokenizer->ascii_kind[c] = ASCII_SPACE;
        else if (flags & CODE_PUNCTUATION)
            tokenizer->ascii_kind[c] = ASCII_PUNCTUATION;
        else if (tokenizer->lowercase && tokenizer->normalized.first[unicode_lower(c)])
            tokenizer->ascii_kind[c] = ASCII_SLOW; /* becomes the first letter of an added token */
        else
            tokenizer->ascii_kind[c] = ASCII_WORD;
        tokenizer->ascii_lower[c] = (char)(tokenizer->lowercase ? unicode_lower(c) : c);
    }
}

enum rc
wordpiece_parse(const char *json, size_t length, const char *name, struct wordpiece **ret_tokenizer, struct err *err)
{
    struct wordpiece *tokenizer = NULL;
    enum rc rc = RC_INVALID;

    json_watch_memory();
    cJSON *root = cJSON_ParseWithLength(json, length);
    if (json_memory_failed()) {
        rc = err_memory(err);
        goto out;
    }
    if (!cJSON_IsObject(root)) {
        refuse(err, name, "this is no tokenizer file: it does not hold a JSON object");
        goto out;
    }
    tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer) {
        rc = err_memory(err);
        goto out;
    }
    unicode_classes_fill(tokenizer->classes);
    if ((rc = read_vocabulary(tokenizer, root, name, err)) != RC_OK ||
        (rc = read_normalizer(tokenizer, root, name, err)) != RC_OK ||
        (rc = read_post_processor(tokenizer, root, name, err)) != RC_OK ||
        (rc = read_added_tokens(tokenizer, root, name, err)) != RC_OK)
        goto out;
    find_pad(tokenizer, root);
    fill_ascii(tokenizer);
    *ret_tokenizer = tokenizer;
    tokenizer = NULL;
out:
    cJSON_Delete(root);
    wordpiece_free(tokenizer);
    return rc;
}

enum rc
wordpiece_load(const char *path, struct wordpiece **ret_tokenizer, struct err *err)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long size = 0;
    enum rc rc = RC_INVALID;

    if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) != 0) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
        err_hint(err,
                 "a model folder for the onnx provider holds the tokenizer.json that was published with the model");
        goto out;
    }
    if ((unsigned long)size > MAX_FILE_BYTES) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s is larger than any tokenizer file (%ld bytes)", path, size);
        goto out;
    }
    text = malloc((size_t)size + 1);
    if (!text) {
        rc = err_memory(err);
        goto out;
    }
    if (fread(text, 1, (size_t)size, file) != (size_t)size) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "cannot read %s: %s", path, ferror(file) ? strerror(errno) : "short");
        goto out;
    }
    rc = wordpiece_parse(text, (size_t)size, path, ret_tokenizer, err);
out:
    free(text);
    if (file)
        fclose(file);
    return rc;
}

static void
patterns_clear(struct pattern_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].codes);
    free(list->items);
}

struct wordpiece *
wordpiece_free(struct wordpiece *tokenizer)
{
    if (tokenizer) {
        trie_clear(&tokenizer->vocabulary);
        patterns_clear(&tokenizer->raw);
        patterns_clear(&tokenizer->normalized);
        free(tokenizer);
    }
    return NULL;
}
