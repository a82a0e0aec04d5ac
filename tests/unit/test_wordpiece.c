#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "embed/unicode.h"
#include "embed/wordpiece.h"
#include "fixture.h"

enum { MAX_IDS = 16384 };

static struct wordpiece *
load(const char *model)
{
    struct wordpiece *tokenizer = NULL;
    struct err err = ERR_INIT;
    const char *folder = fixture_model(model, "tokenizer.json");
    char path[512];

    if (!folder)
        cr_skip_test("the model %s is not there: scripts/fetch-models", model);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    cr_assert_eq(wordpiece_load(path, &tokenizer, &err), RC_OK, "%s", err.message);
    return tokenizer;
}

static struct wordpiece *
parse(const char *json)
{
    struct wordpiece *tokenizer = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(wordpiece_parse(json, strlen(json), "test", &tokenizer, &err), RC_OK, "%s", err.message);
    return tokenizer;
}

static void
assert_ids(const struct wordpiece *tokenizer, const char *text, size_t length, size_t max_tokens,
           const double *expected, size_t count, const struct fixture *fixture)
{
    struct wordpiece_ids ids = {.ids = NULL};

    cr_assert_eq(wordpiece_encode(tokenizer, text, length, max_tokens, &ids), RC_OK);
    size_t line = fixture ? fixture->number : 0;
    cr_assert_eq(ids.count, count, "line %zu: %zu ids, not %zu: %.*s", line, ids.count, count, (int)length, text);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(ids.ids[i], (uint32_t)expected[i], "line %zu, id %zu: %u, not %u: %.*s", line, i, ids.ids[i],
                     (uint32_t)expected[i], (int)length, text);
    wordpiece_ids_free(&ids);
}

static size_t
assert_file(const struct wordpiece *tokenizer, const char *name)
{
    static double expected[MAX_IDS];
    struct fixture fixture;

    for (fixture_open(&fixture, name); fixture_next(&fixture);) {
        double max_tokens = 0;
        size_t length, count = fixture_numbers(&fixture, "ids", expected, MAX_IDS);
        const char *text = fixture_text(&fixture, "text", &length);

        if (strstr(fixture.line, "\"max_length\":"))
            fixture_numbers(&fixture, "max_length", &max_tokens, 1);
        assert_ids(tokenizer, text, length, (size_t)max_tokens, expected, count, &fixture);
    }
    size_t lines = fixture.number;
    fixture_close(&fixture);
    return lines;
}

Test(wordpiece, gives_the_reference_ids)
{
    struct wordpiece *tokenizer = load("all-MiniLM-L6-v2");
    cr_assert_eq(assert_file(tokenizer, "wordpiece_cases.jsonl"), 4611);
    cr_assert_eq(assert_file(tokenizer, "wordpiece_truncated.jsonl"), 166);
    cr_assert_eq(assert_file(tokenizer, "wordpiece_nul.jsonl"), 7);
    cr_assert_eq(wordpiece_pad_id(tokenizer), 0);
    cr_assert_eq(wordpiece_highest_id(tokenizer), 30521);
    cr_assert_eq(wordpiece_special_count(tokenizer), 2);
    wordpiece_free(tokenizer);
}

Test(wordpiece, gives_the_reference_ids_for_every_kind_of_tokenizer)
{
    static double expected[MAX_IDS];
    struct wordpiece *tokenizer = NULL;
    struct fixture fixture;
    size_t kinds = 0, texts = 0;

    for (fixture_open(&fixture, "wordpiece_variants.jsonl"); fixture_next(&fixture);) {
        size_t length;

        if (strncmp(fixture.line, "{\"tokenizer\":", 13) == 0) {
            wordpiece_free(tokenizer);
            tokenizer = parse(fixture_text(&fixture, "tokenizer", &length));
            kinds++;
            continue;
        }
        size_t count = fixture_numbers(&fixture, "ids", expected, MAX_IDS);
        const char *text = fixture_text(&fixture, "text", &length);
        assert_ids(tokenizer, text, length, 0, expected, count, &fixture);
        texts++;
    }
    fixture_close(&fixture);
    wordpiece_free(tokenizer);
    cr_assert_eq(kinds, 11);
    cr_assert_gt(texts, 2000);
}

/* mpnet's vocabulary is BERT's with four tokens in front and other special tokens. */
Test(wordpiece, gives_mpnet_ids_for_texts_without_special_tokens)
{
    static double expected[MAX_IDS];
    struct wordpiece *tokenizer = load("all-mpnet-base-v2");
    struct fixture fixture;
    size_t compared = 0;

    for (fixture_open(&fixture, "wordpiece_cases.jsonl"); fixture_next(&fixture);) {
        size_t length, count = fixture_numbers(&fixture, "ids", expected, MAX_IDS);
        const char *text = fixture_text(&fixture, "text", &length);

        if (memchr(text, '<', length) || memchr(text, '[', length))
            continue;
        for (size_t i = 1; i + 1 < count; i++)
            expected[i] += 4;
        expected[0] = 0;
        expected[count - 1] = 2;
        assert_ids(tokenizer, text, length, 0, expected, count, &fixture);
        compared++;
    }
    fixture_close(&fixture);
    cr_assert_gt(compared, 4000);
    cr_assert_eq(wordpiece_pad_id(tokenizer), 1);
    wordpiece_free(tokenizer);
}

Test(wordpiece, knows_the_special_tokens_of_mpnet)
{
    static const struct {
        const char *text;
        double ids[16];
        size_t count;
    } cases[] = {
        {"Hello, world!", {0, 7596, 1014, 2092, 1003, 2}, 6},
        {"x <mask>y", {0, 1064, 30526, 1065, 2}, 5},
        {"a  \t <mask>b", {0, 1041, 30526, 1042, 2}, 5},
        {"<UNK> <unk>", {0, 3, 3, 2}, 4}, /* matched after lower-casing */
        {"<u\u0301nk>", {0, 3, 2}, 3},
        {"[CLS] [SEP] [PAD] [UNK]", {0, 1035, 18860, 2019, 1037, 1035, 19806, 1037, 1035, 11691, 1037, 104, 2}, 13},
        {"</s><s><pad>", {0, 2, 0, 1, 2}, 5},
        {"<S> </S>", {0, 1030, 1059, 1032, 1030, 1017, 1059, 1032, 2}, 9},
        {"\u6F22 <Unk>", {0, 1908, 3, 2}, 4},
    };
    struct wordpiece *tokenizer = load("all-mpnet-base-v2");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_ids(tokenizer, cases[i].text, strlen(cases[i].text), 0, cases[i].ids, cases[i].count, NULL);
    wordpiece_free(tokenizer);
}

static const char small[] =
    "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"a\":1,\"##a\":2,\"c\":3,\"s\":4}},"
    "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"c\",3],\"sep\":[\"s\",4]}}";

Test(wordpiece, keeps_the_special_tokens_when_it_cuts)
{
    struct wordpiece *tokenizer = parse(small);
    struct wordpiece_ids ids = {.ids = NULL};
    static const struct {
        size_t max_tokens, count;
        bool truncated;
    } cases[] = {{0, 7, false}, {1, 2, true}, {2, 2, true}, {3, 3, true}, {6, 6, true}, {7, 7, false}, {8, 7, false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(wordpiece_encode(tokenizer, "aa aaa", 6, cases[i].max_tokens, &ids), RC_OK);
        cr_assert_eq(ids.count, cases[i].count, "max %zu", cases[i].max_tokens);
        cr_assert_eq(ids.truncated, cases[i].truncated, "max %zu", cases[i].max_tokens);
        cr_assert(ids.ids[0] == 3 && ids.ids[ids.count - 1] == 4);
    }
    wordpiece_ids_free(&ids);
    wordpiece_free(tokenizer);
}

/* Of the bytes that are said to be there only the first hundred are. */
Test(wordpiece, stops_reading_once_the_limit_is_passed)
{
    struct wordpiece *tokenizer = parse(small);
    struct wordpiece_ids ids = {.ids = NULL};
    static char text[100];

    memset(text, 'a', sizeof text);
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = ' ';
    cr_assert_eq(wordpiece_encode(tokenizer, text, SIZE_MAX / 2, 10, &ids), RC_OK);
    cr_assert_eq(ids.count, 10);
    cr_assert(ids.truncated);
    wordpiece_ids_free(&ids);
    wordpiece_free(tokenizer);
}

Test(wordpiece, takes_invalid_utf8_for_replacement_characters)
{
    struct wordpiece *tokenizer = parse(small);
    static const char *const texts[] = {"a\xFF"
                                        "a",
                                        "a\xC3",
                                        "a\xED\xA0\x80"
                                        "a",
                                        "a\xF4\x90\x80\x80"
                                        "a",
                                        "a\xC0\x80"
                                        "a"};
    const double two[] = {3, 1, 2, 4}, one[] = {3, 1, 4};

    for (size_t i = 0; i < 5; i++) /* removed, so that the letters around them join */
        assert_ids(tokenizer, texts[i], strlen(texts[i]), 0, i == 1 ? one : two, i == 1 ? 3 : 4, NULL);
    wordpiece_free(tokenizer);
}

Test(wordpiece, refuses_other_tokenizers_by_name)
{
    static const struct {
        const char *json, *message, *hint;
    } cases[] = {
        {"[]", "no tokenizer file", ""},
        {"{\"model\":{\"type\":\"Unigram\"}}", "of type Unigram", "HTTP provider"},
        {"{\"model\":{\"type\":\"BPE\"}}", "of type BPE", "HTTP provider"},
        {"{\"model\":{\"type\":\"WordPiece\"}}", "model.vocab is missing", ""},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":1}}}", "unk_token is not in the vocabulary", ""},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":-1}}}", "not a whole number", ""},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":1},\"max_input_chars_per_word\":0}}",
         "from 1 to 1000", ""},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":1}},\"normalizer\":{\"type\":\"Precompiled\"}}",
         "normalizer is of type Precompiled", "HTTP provider"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":1}},\"pre_tokenizer\":{\"type\":\"Metaspace\"}}",
         "pre_tokenizer is of type Metaspace", "HTTP provider"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":1}},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
         "\"post_processor\":{\"type\":\"ByteLevel\"}}",
         "post_processor is of type ByteLevel", ""},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[UNK]\":1}},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
         "\"added_tokens\":[{\"id\":2,\"content\":\"x\",\"single_word\":true}]}",
         "single_word", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wordpiece *tokenizer = NULL;
        struct err err = ERR_INIT;

        cr_assert_eq(wordpiece_parse(cases[i].json, strlen(cases[i].json), "test", &tokenizer, &err), RC_INVALID);
        cr_assert_not_null(strstr(err.message, cases[i].message), "%s", err.message);
        cr_assert_not_null(strstr(err.hint, cases[i].hint), "%s", err.hint);
        cr_assert_null(tokenizer);
    }
    struct wordpiece *tokenizer = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(wordpiece_load("/nowhere/tokenizer.json", &tokenizer, &err), RC_INVALID);
    cr_assert_not_null(strstr(err.message, "/nowhere/tokenizer.json"));
}

/* --- unicode.h --- */

static void
assert_flag(const struct fixture *fixture, const char *key, uint8_t any_of)
{
    const char *at = fixture->line ? strstr(fixture->line, key) : NULL;
    size_t ranges = 0;

    at = at ? strchr(at, '[') : NULL;
    if (!at)
        cr_assert_fail("no list %s", key);

    while (at && *at != ']') {
        char *end;
        unsigned long first = strtoul(at + 2, &end, 16), last = *end == '-' ? strtoul(end + 1, &end, 16) : first;
        for (unsigned long c = first; c <= last; c++)
            cr_assert(unicode_flags((uint32_t)c) & (any_of | CODE_DECOMPOSES), "%s U+%04lX", key, c);
        at = end + 1; /* behind the quote: a comma or the end */
        ranges++;
    }
    cr_assert_gt(ranges, 0);
}

Test(wordpiece, has_the_classes_of_the_reference)
{
    struct fixture fixture;
    char *whole = NULL;
    size_t length = 0, capacity = 0;

    /* The file is one object over many lines. */
    for (fixture_open(&fixture, "unicode_facts.json"); fixture_next(&fixture);) {
        size_t more = strcspn(fixture.line, "\n");
        if (length + more + 1 > capacity)
            whole = realloc(whole, capacity = 2 * (length + more + 1));
        cr_assert_not_null(whole);
        memcpy(whole + length, fixture.line, more);
        length += more;
        whole[length] = '\0';
    }
    free(fixture.line);
    fixture.line = whole;
    assert_flag(&fixture, "\"removed\"", CODE_REMOVED | CODE_MARK);
    assert_flag(&fixture, "\"becomes_space\"", CODE_SPACE);
    assert_flag(&fixture, "\"padded_with_spaces\"", CODE_IDEOGRAPH);
    assert_flag(&fixture, "\"punctuation\"", CODE_PUNCTUATION);
    fixture_close(&fixture);
    cr_assert_eq(unicode_flags(0x2B820) & CODE_IDEOGRAPH, 0);
    cr_assert_eq(unicode_flags(0x11938) & CODE_DECOMPOSES, 0);
}

Test(wordpiece, has_one_answer_in_table_and_search)
{
    static uint8_t classes[UNICODE_PLANE];

    unicode_classes_fill(classes);
    for (uint32_t c = 0; c < UNICODE_PLANE; c++)
        cr_assert_eq(classes[c], unicode_flags(c), "U+%04X", c);
}

Test(wordpiece, reads_what_it_writes)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char bytes[4] = {0};
        uint32_t again = 0;
        size_t length = unicode_write(c, bytes);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;

        cr_assert_eq(unicode_read((unsigned char *)bytes, length, &again), surrogate ? 0 : length);
        cr_assert(surrogate || again == c);
        cr_assert(length == 1 || unicode_read((unsigned char *)bytes, length - 1, &again) == 0);
    }
}
