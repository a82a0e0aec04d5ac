#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed/http/dialect.h"
#include "embed/http/reply.h"
#include "tests/unit/http_random.h"

/* --- the scanner alone: what it reports, written down as text --- */

struct log {
    char text[8192];
    size_t used;
    enum { LAST_OTHER, LAST_TEXT } last;
};

__attribute__((format(printf, 2, 3))) static void
note(struct log *log, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start stands above; the analyzer loses it among many calls */
    log->used += (size_t)vsnprintf(log->text + log->used, sizeof log->text - log->used, format, args);
    va_end(args);
    cr_assert_lt(log->used, sizeof log->text);
    log->last = LAST_OTHER;
}

static bool
log_begin(void *context, unsigned selected, enum scan_type type)
{
    static const char *const names[] = {"null", "false", "true", "number", "string", "array", "object"};

    note(context, "<%u %s>", selected, names[type]);
    return true;
}

static bool
log_number(void *context, unsigned selected, float value, const struct number *number)
{
    (void)number;
    note(context, "<%u %.9g>", selected, (double)value);
    return true;
}

/* Pieces are joined: where a string is cut must not show. */
static bool
log_text(void *context, unsigned selected, const char *bytes, size_t length)
{
    struct log *log = context;

    if (log->last != LAST_TEXT)
        note(log, "<%u>", selected);
    note(log, "%.*s", (int)length, bytes);
    log->last = LAST_TEXT;
    return true;
}

static bool
log_end(void *context, unsigned selected, enum scan_type type)
{
    (void)type;
    note(context, "</%u>", selected);
    return true;
}

static const struct scan_events log_events = {log_begin, log_number, log_text, log_end};

/* cuts: 0 whole, 1 byte by byte, else at random */
static bool
scan(const struct scan_paths *paths, const char *text, size_t length, int cuts, uint64_t *random, struct log *log)
{
    struct scanner scanner;
    size_t at = 0;

    *log = (struct log){0};
    scanner_begin(&scanner, paths, &log_events, log);
    while (at < length) {
        size_t size = cuts == 0 ? length : cuts == 1 ? 1 : 1 + test_below(random, 9);
        size = size < length - at ? size : length - at;
        /* A copy of exactly this size: reading beyond the piece is then seen by the sanitizer. */
        char *piece = malloc(size);
        memcpy(piece, text + at, size);
        bool goes_on = scanner_feed(&scanner, piece, size);
        free(piece);
        if (!goes_on)
            return false;
        at += size;
    }
    return scanner_end(&scanner);
}

static struct scan_paths
some_paths(void)
{
    struct scan_paths paths = {0};

    cr_assert_eq(scan_paths_add(&paths, "data[].embedding"), 1);
    cr_assert_eq(scan_paths_add(&paths, "data[].embedding[]"), 2);
    cr_assert_eq(scan_paths_add(&paths, "data[]"), 4);
    cr_assert_eq(scan_paths_add(&paths, "model"), 8);
    cr_assert_eq(scan_paths_add(&paths, "usage.total"), 16);
    cr_assert_eq(scan_paths_add(&paths, "data[].index"), 32);
    return paths;
}

Test(scanner, reports_what_was_asked_for_and_nothing_else)
{
    struct scan_paths paths = some_paths();
    struct log log;
    const char *text =
        "{\"object\":\"li\\\"st\",\"data\":[{\"index\":1,\"x\":[[1,{\"embedding\":[9]}]],\"embedding\":[0.5,-1e2,"
        "null]},{\"embedding\":\"AB\\/C\\u0041\"}],\"model\":\"m\",\"usage\":{\"total\":7,\"more\":{\"total\":8}},"
        "\"data2\":[{\"embedding\":[3]}],\"embedding\":[4], \"total\" : 5}";

    cr_assert(scan(&paths, text, strlen(text), 0, NULL, &log));
    cr_assert_str_eq(log.text,
                     "<4 object><32 1><1 array><2 0.5><2 -100><2 null></1></4><4 object><1 string><1>AB/CA</1></4>"
                     "<8 string><8>m</8><16 7>");
}

Test(scanner, the_result_does_not_depend_on_where_the_text_is_cut)
{
    struct scan_paths paths = some_paths();
    uint64_t random = test_seed();
    struct log whole, cut;
    const char *text =
        " {\"data\" : [ {\"embedding\" : [ 1.25 , -0.5e-3,1e400 ,NaN,-Infinity, null ] , \"index\" : 12 },"
        "{\"embedding\":\"QUJD\\/+\\u002b==\"} ,{\"other\":{\"deep\":[[[],{}],\"\\\\\"]}}],\n\t\"model\":\"a"
        "\\u00e9b\" , \"usage\":{\"total\":123456}, \"x\":[true,false,null,0,-0.0E+5,\"\"]}\r\n";

    cr_assert(scan(&paths, text, strlen(text), 0, NULL, &whole));
    cr_assert(scan(&paths, text, strlen(text), 1, NULL, &cut));
    cr_assert_str_eq(cut.text, whole.text);
    for (int i = 0; i < 5000; i++) {
        cr_assert(scan(&paths, text, strlen(text), 2, &random, &cut));
        cr_assert_str_eq(cut.text, whole.text);
    }
}

Test(scanner, texts_that_are_JSON_and_texts_that_are_not)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       "0",
                                       "-1.5e3",
                                       "\"\"",
                                       "null",
                                       "true",
                                       "false",
                                       " [ ] ",
                                       "{\"\":{}}",
                                       "[[[[]]]]",
                                       "\"\\u12aB\\n\\t\\\"\\\\\\/\\b\\f\\r\"",
                                       "[1,2]",
                                       "{\"a\":1,\"a\":2}",
                                       "NaN",
                                       "[-Infinity,inf,nan,-NaN]",
                                       "[0]",
                                       "[0.0,0e0]",
                                       "\"\x7f\xc3\xa9\xff\""};
    static const char *const bad[] = {
        "",        "{",         "}",     "[",          "]",           "[1,]",     "[,1]",      "[1 2]",
        "{\"a\"}", "{\"a\":}",  "{a:1}", "{\"a\":1,}", "{,}",         "[1}",      "{\"a\":1]", "1 2",
        "[]]",     "nul",       "nulll", "True",       "[01]",        "[1.]",     "[+1]",      "[.5]",
        "[--1]",   "[-]",       "\"",    "\"\\x\"",    "\"\\u12g4\"", "\"a\nb\"", "[1]x",      "-null",
        "-true",   "{\"a\" 1}", "{1:2}", "[\"a\":1]",  "'a'",         "//x\n1",   "[1,,2]",    "\x01"};
    struct scan_paths paths = some_paths();
    uint64_t random = test_seed();
    struct log log;

    for (int cuts = 0; cuts < 3; cuts++) {
        for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
            cr_assert(scan(&paths, good[i], strlen(good[i]), cuts, &random, &log), "%s", good[i]);
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
            cr_assert_not(scan(&paths, bad[i], strlen(bad[i]), cuts, &random, &log), "%s", bad[i]);
    }
}

/* Strings are read eight bytes at a time: what ends a piece is seen at every place, and what only looks like it is not. */
Test(scanner, what_ends_a_piece_of_a_string_is_seen_wherever_it_stands)
{
    static const struct {
        const char *bytes, *read; /* read NULL: no JSON */
    } pieces[] = {
        {"\\n", "\n"},
        {"\\\"", "\""},
        {"\\\\", "\\"},
        {"\x1f", NULL},
        {"\x01", NULL},
        {"\"", NULL},
        {" ", " "},
        {"!#[]\x7f", "!#[]\x7f"},
        {"\xc3\xa2", "\xc3\xa2"},
        {"\xe2\x80\x9c", "\xe2\x80\x9c"},
    };
    static const char filling[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    struct scan_paths paths = {0};
    struct log log;
    char text[128], expected[128];

    cr_assert_eq(scan_paths_add(&paths, ""), 1);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        for (int before = 0; before < 20; before++) {
            for (int after = 0; after < 10; after++) {
                (void)snprintf(text, sizeof text, "\"%.*s%s%.*s\"", before, filling, pieces[i].bytes, after, filling);
                bool taken = scan(&paths, text, strlen(text), 0, NULL, &log);
                cr_assert_eq(taken, pieces[i].read != NULL, "%s", text);
                if (!taken)
                    continue;
                (void)snprintf(expected, sizeof expected, "<1 string><1>%.*s%s%.*s</1>", before, filling,
                               pieces[i].read, after, filling);
                cr_assert_str_eq(log.text, expected);
            }
        }
    }
}

Test(scanner, depth_is_limited)
{
    struct scan_paths paths = some_paths();
    char text[2 * SCAN_MAX_DEPTH + 3];
    struct log log;

    memset(text, '[', SCAN_MAX_DEPTH);
    memset(text + SCAN_MAX_DEPTH, ']', SCAN_MAX_DEPTH);
    cr_assert(scan(&paths, text, (size_t)2 * SCAN_MAX_DEPTH, 0, NULL, &log));
    memset(text, '[', SCAN_MAX_DEPTH + 1);
    memset(text + SCAN_MAX_DEPTH + 1, ']', SCAN_MAX_DEPTH + 1);
    cr_assert_not(scan(&paths, text, (size_t)2 * SCAN_MAX_DEPTH + 2, 0, NULL, &log));
}

Test(scanner, paths_that_do_not_fit_are_refused)
{
    struct scan_paths paths = {0};

    cr_assert_eq(scan_paths_add(&paths, "a.b.c.d.e.f.g.h.i"), 0);
    cr_assert_eq(scan_paths_add(&paths, "a..b"), 0);
    cr_assert_eq(scan_paths_add(&paths, "a_name_that_is_longer_than_thirty_two"), 0);
    for (int i = 0; i < SCAN_MAX_PATHS; i++)
        cr_assert_neq(scan_paths_add(&paths, "[].a"), 0);
    cr_assert_eq(scan_paths_add(&paths, "a"), 0);
}

/* --- replies --- */

enum { COUNT = 3, DIMENSIONS = 4 };

struct read_reply {
    enum reply_verdict verdict;
    const char *problem;
    float vectors[COUNT][DIMENSIONS];
    struct text_result results[COUNT];
    struct reply reply;
    struct arena *arena;
};

static void
read_text(struct read_reply *read, const char *dialect_name, const char *text, size_t length, uint64_t *random,
          const size_t *order)
{
    const struct dialect *dialect;
    struct reply_shape *shape = calloc(1, sizeof *shape);

    memset(read->vectors, 0, sizeof read->vectors);
    memset(read->results, 0, sizeof read->results);
    read->arena = arena_new(0);
    cr_assert_eq(dialect_find(dialect_name, &dialect, NULL), RC_OK);
    cr_assert(reply_shape_compile(&dialect->reply, shape));
    const struct reply_target target = {COUNT, DIMENSIONS, order, &read->vectors[0][0], read->results, read->arena};
    cr_assert(reply_begin(&read->reply, shape, &target));
    for (size_t at = 0; at < length;) {
        size_t size = random == NULL ? length : 1 + test_below(random, 17);
        size = size < length - at ? size : length - at;
        char *piece = malloc(size);
        memcpy(piece, text + at, size);
        bool goes_on = reply_feed(&read->reply, piece, size);
        free(piece);
        if (!goes_on)
            break;
        at += size;
    }
    read->verdict = reply_end(&read->reply, &read->problem);
    free(shape);
}

static void
done(struct read_reply *read)
{
    arena_free(read->arena);
}

static const char openai_reply[] =
    "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":2,\"embedding\":[9,10,11,12]},"
    "{\"index\":0,\"embedding\":\"AACAPwAAAEAAAEBAAACAQA==\"},{\"embedding\":[5,6,7,8.0],\"index\":1}],"
    "\"model\":\"m-1\",\"usage\":{\"prompt_tokens\":42,\"total_tokens\":43}}";

static void
has_all_vectors(const struct read_reply *read)
{
    cr_assert_eq(read->verdict, REPLY_VECTORS, "%s", read->problem);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(read->results[i].status, TEXT_EMBEDDED);
        for (int k = 0; k < DIMENSIONS; k++)
            cr_assert_eq(read->vectors[i][k], (float)(i * DIMENSIONS + k + 1));
    }
}

Test(reply, vectors_are_placed_by_index_whatever_their_encoding)
{
    struct read_reply read;
    uint64_t tokens;

    read_text(&read, "openai", openai_reply, strlen(openai_reply), NULL, NULL);
    has_all_vectors(&read);
    cr_assert_str_eq(read.reply.model, "m-1");
    cr_assert(reply_tokens(&read.reply, &tokens) && tokens == 42);
    cr_assert(read.reply.saw_base64 && read.reply.saw_floats);
    done(&read);
}

Test(reply, chunk_boundaries_make_no_difference)
{
    uint64_t random = test_seed();
    struct read_reply read;

    for (int i = 0; i < 3000; i++) {
        read_text(&read, "openai", openai_reply, strlen(openai_reply), &random, NULL);
        has_all_vectors(&read);
        done(&read);
    }
}

Test(reply, a_reply_cut_off_at_any_byte_is_malformed)
{
    uint64_t random = test_seed();
    struct read_reply read;

    for (size_t length = 0; length < strlen(openai_reply); length++) {
        read_text(&read, "openai", openai_reply, length, length % 2 ? &random : NULL, NULL);
        cr_assert_eq(read.verdict, REPLY_MALFORMED, "cut at %zu", length);
        cr_assert_not_null(read.problem);
        done(&read);
    }
}

Test(reply, the_order_of_a_part_is_undone)
{
    const size_t order[COUNT] = {1, 2, 0};
    struct read_reply read;
    const char *text = "[[5,6,7,8],[9,10,11,12],[1,2,3,4]]";

    read_text(&read, "tei", text, strlen(text), NULL, order);
    has_all_vectors(&read);
    done(&read);
}

Test(reply, shapes_of_all_kinds)
{
    static const struct {
        const char *dialect, *text;
        uint64_t tokens;
    } replies[] = {
        {"tei", "[[1,2,3,4],[5,6,7,8],[9,10,11,12]]", 0},
        {"ollama", "{\"model\":\"m\",\"embeddings\":[[1,2,3,4],[5,6,7,8],[9,10,11,12]],\"prompt_eval_count\":8}", 8},
        {"cohere",
         "{\"id\":\"x\",\"embeddings\":{\"float\":[[1,2,3,4],[5,6,7,8],[9,10,11,12]]},\"texts\":[\"a\"],"
         "\"meta\":{\"billed_units\":{\"input_tokens\":9}}}",
         9},
        {"cohere",
         "{\"embeddings\":{\"base64\":[\"AACAPwAAAEAAAEBAAACAQA==\",\"AACgQAAAwEAAAOBAAAAAQQ==\","
         "\"AAAQQQAAIEEAADBBAABAQQ==\"]}}",
         0},
        {"gemini",
         "{\"embeddings\":[{\"values\":[1,2,3,4]},{\"values\":[5,6,7,8]},{\"values\":[9,10,11,12]}],"
         "\"usageMetadata\":{\"promptTokenCount\":5}}",
         5},
        {"voyage",
         "{\"object\":\"list\",\"data\":[{\"embedding\":[1,2,3,4],\"index\":0},{\"embedding\":[5,6,7,8],"
         "\"index\":1},{\"embedding\":[9,10,11,12],\"index\":2}],\"model\":\"m\",\"usage\":{\"total_tokens\":6}}",
         6},
        {"openai", "{\"data\":[{\"embedding\":[1,2,3,4]},{\"embedding\":[5,6,7,8]},{\"embedding\":[9,10,11,12]}]}", 0},
    };

    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct read_reply read;
        uint64_t tokens = 0;
        read_text(&read, replies[i].dialect, replies[i].text, strlen(replies[i].text), NULL, NULL);
        has_all_vectors(&read);
        cr_assert_eq(reply_tokens(&read.reply, &tokens), replies[i].tokens != 0, "%s", replies[i].text);
        cr_assert_eq(tokens, replies[i].tokens);
        done(&read);
    }
}

Test(reply, what_is_wrong_with_one_vector_is_that_texts_trouble)
{
    static const char *const middles[] = {
        "null",
        "[5,6,NaN,8]",
        "[5,6,1e400,8]",
        "[5,6,-Infinity,8]",
        "[5,null,7,8]",
        "[0,0,0,0]",
        "[0,-0.0,0e5,0]",
        "[5,6,7]",
        "[5,6,7,8,9]",
        "[]",
        "\"\"",
        "\"AACAPwAAAEAAAEBA\"",
        "\"AADAfwAAAEAAAEBAAACAQA==\"",
        "\"AAAAAAAAAAAAAAAAAAAAAA==\"",
    };
    char text[512];

    for (size_t i = 0; i < sizeof middles / sizeof middles[0]; i++) {
        struct read_reply read;
        (void)snprintf(text, sizeof text,
                       "{\"data\":[{\"index\":0,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":%s},"
                       "{\"index\":2,\"embedding\":[9,10,11,12]}]}",
                       middles[i]);
        read_text(&read, "openai", text, strlen(text), NULL, NULL);
        cr_assert_eq(read.verdict, REPLY_VECTORS, "%s: %s", middles[i], read.problem);
        cr_assert_eq(read.results[0].status, TEXT_EMBEDDED);
        cr_assert_eq(read.results[1].status, TEXT_INVALID_VECTOR, "%s", middles[i]);
        cr_assert_not_null(read.results[1].detail);
        cr_assert_eq(read.results[2].status, TEXT_EMBEDDED);
        cr_assert(read.vectors[0][0] == 1 && read.vectors[2][3] == 12);
        done(&read);

        (void)snprintf(text, sizeof text, "[[1,2,3,4],%s,[9,10,11,12]]", middles[i]);
        read_text(&read, "tei", text, strlen(text), NULL, NULL);
        cr_assert_eq(read.verdict, REPLY_VECTORS, "%s: %s", middles[i], read.problem);
        cr_assert_eq(read.results[1].status, TEXT_INVALID_VECTOR, "%s", middles[i]);
        done(&read);
    }
}

Test(reply, what_is_wrong_with_the_whole_is_malformed)
{
    static const char *const texts[] = {
        "{\"data\":[]}",
        "{\"object\":\"list\"}",
        "null",
        "[]",
        "{\"data\":{\"embedding\":[1,2,3,4]}}",
        "{\"data\":\"AAAA\"}",
        "{\"data\":[1,2,3]}",
        "{\"data\":[\"a\",\"b\",\"c\"]}",
        "{\"data\":[[1,2,3,4],[1,2,3,4],[1,2,3,4]]}",
        /* two of three, four of three */
        "{\"data\":[{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        /* indexes: twice, too high, negative, a fraction, a string, null, only some */
        "{\"data\":[{\"index\":0,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":2,\"embedding\":[1,2,3,4]},{\"index\":3,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"index\":-1,\"embedding\":[1,2,3,4]},{\"index\":0,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"index\":0.5,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":2,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"index\":\"0\",\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":2,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"index\":null,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":2,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":2,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"index\":NaN,\"embedding\":[1,2,3,4]},{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":2,\"embedding\":[1,2,3,4]}]}",
        /* vectors of another type, or twice, or not at all */
        "{\"data\":[{\"embedding\":1},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":true},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":{\"0\":1}},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":[\"1\",\"2\"]},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":[[1,2,3,4]]},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":\"not base64!\"},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":\"AAA=\"},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":[1,2,3,4],\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"index\":0},{\"index\":1,\"embedding\":[1,2,3,4]},{\"index\":2,\"embedding\":[1,2,3,4]}]}",
        "{\"data\":[{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]},{\"embedding\":[1,2,3,4]}]}}",
        "<html>",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct read_reply read;
        read_text(&read, "openai", texts[i], strlen(texts[i]), NULL, NULL);
        cr_assert_eq(read.verdict, REPLY_MALFORMED, "%s", texts[i]);
        cr_assert_not_null(read.problem);
        done(&read);
    }
    struct read_reply read;
    read_text(&read, "tei", "[1,2,3]", 7, NULL, NULL);
    cr_assert_eq(read.verdict, REPLY_MALFORMED);
    done(&read);
    read_text(&read, "tei", "[[[1,2,3,4]],[[1,2,3,4]],[[1,2,3,4]]]", 38, NULL, NULL);
    cr_assert_eq(read.verdict, REPLY_MALFORMED);
    cr_assert_not_null(strstr(read.problem, "pool"));
    done(&read);
}

Test(reply, all_vectors_of_one_other_size_are_another_model)
{
    struct read_reply read;
    const char *text = "[[1,2,3],[4,5,6],[7,8,9]]", *mixed = "[[1,2,3],[4,5],[7,8,9]]";

    read_text(&read, "tei", text, strlen(text), NULL, NULL);
    cr_assert_eq(read.verdict, REPLY_OTHER_DIMENSIONS);
    cr_assert_eq(read.reply.other_size, 3);
    done(&read);
    read_text(&read, "tei", mixed, strlen(mixed), NULL, NULL);
    cr_assert_eq(read.verdict, REPLY_VECTORS);
    cr_assert_eq(read.results[0].status, TEXT_INVALID_VECTOR);
    done(&read);
}

Test(reply, an_error_object_instead_of_vectors_is_told_apart)
{
    struct read_reply read;
    const char *text = "{\"error\":{\"message\":\"no\"}}", *none = "{\"error\":null,\"data\":[]}";

    read_text(&read, "openai", text, strlen(text), NULL, NULL);
    cr_assert_eq(read.verdict, REPLY_ERROR);
    done(&read);
    read_text(&read, "openai", none, strlen(none), NULL, NULL);
    cr_assert_eq(read.verdict, REPLY_MALFORMED);
    done(&read);
}
