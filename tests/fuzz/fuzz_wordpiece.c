/* Any bytes as a text for tokenizers of every kind, and any bytes as a tokenizer file.
 *
 * The first byte chooses the tokenizer (255: the rest is a file, then a text of its own after a NUL), the second is
 * max_tokens. Beside the sanitizers' findings: ids are those of the tokenizer, cutting gives the beginning of the
 * whole, and `truncated` says exactly whether something was left out. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "embed/wordpiece.h"

#define VOCABULARY                                                                                                     \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"max_input_chars_per_word\":20,\"vocab\":{"            \
    "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"a\":4,\"##a\":5,\"b\":6,\"##b\":7,\"ab\":8,\"##ab\":9,"         \
    "\"aba\":10,\"e\":11,\"##e\":12,\"\\u00e9\":13,\"##\\u00e9\":14,\"\\u4e2d\":15,\"!\":16,\"-\":17,\"the\":18,"      \
    "\"##he\":19,\"t\":20,\"##t\":21,\"##\\u0301\":22,\"\\u1100\":23,\"##\\u1161\":24,\"i\":25,\"##\\u302e\":26}}"
#define TOKENS                                                                                                         \
    "\"added_tokens\":[{\"id\":2,\"content\":\"[CLS]\",\"special\":true,\"normalized\":false},"                        \
    "{\"id\":27,\"content\":\"<mask>\",\"special\":true,\"normalized\":false,\"lstrip\":true},"                        \
    "{\"id\":28,\"content\":\"a b\",\"normalized\":true},{\"id\":29,\"content\":\"a bc\",\"normalized\":true},"        \
    "{\"id\":30,\"content\":\"\\u00c9\",\"normalized\":true},{\"id\":31,\"content\":\"\\u4e2d\",\"normalized\":false}],"
#define AROUND "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",2],\"sep\":[\"[SEP]\",3]},"
#define PRE    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
#define NORMALIZER(clean, ideographs, accents, lower)                                                                  \
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":" clean ",\"handle_chinese_chars\":" ideographs        \
    ",\"strip_accents\":" accents ",\"lowercase\":" lower "},"

static const char *const files[] = {
    "{" NORMALIZER("true", "true", "null", "true") PRE AROUND TOKENS VOCABULARY "}",
    "{" NORMALIZER("true", "true", "null", "true") PRE AROUND VOCABULARY "}",
    "{" NORMALIZER("false", "false", "true", "false") PRE TOKENS VOCABULARY "}",
    "{" NORMALIZER("false", "true", "false", "true") PRE AROUND TOKENS VOCABULARY "}",
    "{" PRE TOKENS VOCABULARY "}",
};
enum { FILES = sizeof files / sizeof files[0] };

static void
require(int holds)
{
    if (!holds)
        abort();
}

static void
encode(const struct wordpiece *tokenizer, const char *text, size_t length, size_t max_tokens)
{
    static struct wordpiece_ids whole, cut;
    size_t special = wordpiece_special_count(tokenizer);

    require(wordpiece_encode(tokenizer, text, length, 0, &whole) == RC_OK && !whole.truncated);
    require(whole.count >= special);
    for (size_t i = 0; i < whole.count; i++)
        require(whole.ids[i] <= wordpiece_highest_id(tokenizer));

    require(wordpiece_encode(tokenizer, text, length, max_tokens, &cut) == RC_OK);
    require(max_tokens == 0 || cut.count <= (max_tokens > special ? max_tokens : special));
    require(cut.truncated == (cut.count < whole.count));
    size_t body = cut.count - (special > 0); /* of the tokenizers here one special token stands at the end */
    require(body <= whole.count && memcmp(cut.ids, whole.ids, body * sizeof *cut.ids) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wordpiece *tokenizers[FILES];
    struct err err = ERR_INIT;

    if (size < 2)
        return 0;
    const char *rest = (const char *)data + 2;
    size -= 2;
    if (data[0] == 255) {
        const char *end = memchr(rest, '\0', size);
        size_t length = end ? (size_t)(end - rest) : size;
        struct wordpiece *tokenizer = NULL;
        struct wordpiece_ids ids = {.ids = NULL};

        if (wordpiece_parse(rest, length, "input", &tokenizer, &err) == RC_OK)
            require(wordpiece_encode(tokenizer, rest, size, data[1], &ids) == RC_OK);
        wordpiece_ids_free(&ids);
        wordpiece_free(tokenizer);
        return 0;
    }
    size_t which = data[0] % FILES;
    if (!tokenizers[which])
        require(wordpiece_parse(files[which], strlen(files[which]), "built in", &tokenizers[which], &err) == RC_OK);
    encode(tokenizers[which], rest, size, data[1]);
    return 0;
}
