/* The provider against the fake server: every dialect in its documented shape. */
#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "embed/http/dialect.h"
#include "tests/unit/http_server.h"

static const char *const five[] = {"one", "two \"quoted\" \\ line\nend", "trois \xC3\xA9t\xC3\xA9s",
                                   "four four four four", "five \xF0\x9F\x98\x80 \x01 control"};
enum { FIVE = 5 };

static struct asker asker; /* too large for the stack */

static void
set(const struct http_server *server, const char *dialect, const char *more)
{
    char settings[1024];

    (void)snprintf(settings, sizeof settings,
                   "{\"reset\":true,\"dialect\":\"%s\",\"model\":\"m\",\"dimensions\":16,\"faults\":[]%s%s}", dialect,
                   more[0] != '\0' ? "," : "", more);
    http_server_set(server, settings);
}

static void
all_right(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(asker.results[i].status, TEXT_EMBEDDED, "%zu: %s", i, asker.results[i].detail);
        cr_assert(asker_has_vector(&asker, i, texts[i], strlen(texts[i])), "vector %zu", i);
        cr_assert_not(asker.results[i].truncated);
    }
}

static uint64_t
tokens_of(const char *const *texts, size_t count)
{
    uint64_t tokens = 0;

    for (size_t i = 0; i < count; i++)
        tokens += (strlen(texts[i]) + 3) / 4;
    return tokens;
}

Test(provider, every_dialect_is_understood_with_every_encoding)
{
    static const char *const encodings[] = {"yes", "ignore", "refuse", "refuse_silently"};
    struct http_server server;
    char settings[128];

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        for (size_t e = 0; e < 4; e++) {
            bool asks_base64 = row->encoding_base64 != NULL;
            (void)snprintf(settings, sizeof settings, "\"base64\":\"%s\",\"key\":\"sk-0123456789\"", encodings[e]);
            set(&server, dialect, settings);
            asker_open(&asker, &server, dialect,
                       (struct provider_options){.send_dimensions = -1, .api_key = "sk-0123456789"});
            for (int round = 0; round < 3; round++) {
                cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK, "%s %s: %s", dialect, encodings[e],
                             asker.err.message);
                all_right(five, FIVE);
                /* What was learned of the encoding is not tried again. */
                cr_assert_eq(asker.outcome.usage.requests, round == 0 && e >= 2 && asks_base64 ? 2 : 1, "%s %s",
                             dialect, encodings[e]);
                cr_assert_eq(asker.outcome.usage.tokens, tokens_of(five, FIVE));
            }
            cr_assert_eq(embedder_dimensions(asker.embedder), 16);
            cr_assert_eq(http_server_counter(&server, "texts"), 3 * FIVE);
            asker_close(&asker);
        }
    }
    http_server_stop(&server);
}

Test(provider, usage_is_estimated_where_the_server_does_not_tell)
{
    struct http_server server;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        set(&server, dialect, "\"usage\":false");
        asker_open(&asker, &server, dialect, (struct provider_options){.send_dimensions = -1});
        cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK);
        cr_assert_eq(asker.outcome.usage.tokens, tokens_of(five, FIVE));
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, one_connection_serves_all_requests)
{
    struct http_server server;

    http_server_start(&server, "{}");
    set(&server, "openai", "");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    for (int i = 0; i < 50; i++)
        cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK);
    /* One of ours; the control's own make the rest: the reset before, the question now. */
    cr_assert_leq(http_server_counter(&server, "connections"), 2);
    cr_assert_eq(http_server_counter(&server, "requests"), 50);
    asker_close(&asker);
    http_server_stop(&server);
}

Test(provider, answers_may_be_packed_and_numbers_long)
{
    struct http_server server;

    http_server_start(&server, "{}");
    set(&server, "openai", "\"gzip\":true,\"float_digits\":17,\"base64\":\"ignore\",\"dimensions\":1536");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1, .dimensions = 1536});
    cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK, "%s", asker.err.message);
    all_right(five, FIVE);
    cr_assert_gt(http_server_counter(&server, "packed"), 0);
    asker_close(&asker);
    http_server_stop(&server);
}

Test(provider, too_many_texts_lower_the_limit_to_what_the_server_says)
{
    struct http_server server;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        struct embed_limits limits;
        /* Those servers do not say how many they would take, or take any number and only this test limits them. */
        bool silent = strcmp(dialect, "mistral") == 0 || strcmp(dialect, "jina") == 0;
        bool boundless = strcmp(dialect, "vllm") == 0 || strcmp(dialect, "ollama") == 0 ||
                         strcmp(dialect, "llama-server") == 0 || strcmp(dialect, "localai") == 0;

        if (boundless)
            continue;
        set(&server, dialect, "");
        asker_open(&asker, &server, dialect, (struct provider_options){.send_dimensions = -1});
        set(&server, dialect, "\"max_items\":3");
        cr_assert_neq(asker_ask(&asker, five, FIVE, NULL), RC_OK, "%s", dialect);
        cr_assert_eq(asker.outcome.failure, REQUEST_TOO_MANY, "%s: %s", dialect, asker.err.message);
        embedder_limits(asker.embedder, &limits);
        cr_assert_eq(limits.max_items, silent ? FIVE / 2 : 3, "%s: %zu", dialect, limits.max_items);
        cr_assert_eq(asker_ask(&asker, five, 2, NULL), RC_OK);
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, too_many_tokens_lower_the_limit)
{
    static const char *const with_limit[] = {"openai", "azure", "voyage", "mistral"};
    struct http_server server;

    http_server_start(&server, "{}");
    for (size_t d = 0; d < 4; d++) {
        struct embed_limits before, after;

        set(&server, with_limit[d], "\"max_request_tokens\":10");
        asker_open(&asker, &server, with_limit[d], (struct provider_options){.send_dimensions = -1});
        embedder_limits(asker.embedder, &before);
        cr_assert_neq(asker_ask(&asker, five, FIVE, NULL), RC_OK);
        cr_assert_eq(asker.outcome.failure, REQUEST_TOO_MANY, "%s: %s", with_limit[d], asker.err.message);
        embedder_limits(asker.embedder, &after);
        cr_assert_lt(after.max_request_tokens, tokens_of(five, FIVE));
        cr_assert_gt(after.max_request_tokens, 0);
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, the_users_limits_win_over_the_dialects)
{
    struct http_server server;
    struct embed_limits limits;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "cohere",
               (struct provider_options){.max_items = 7, .max_request_tokens = 8, .max_request_bytes = 9});
    embedder_limits(asker.embedder, &limits);
    cr_assert(limits.max_items == 7 && limits.max_request_tokens == 8 && limits.max_request_bytes == 9);
    cr_assert_not(limits.exact_tokens);
    asker_close(&asker);
    asker_open(&asker, &server, "cohere", (struct provider_options){0});
    embedder_limits(asker.embedder, &limits);
    cr_assert_eq(limits.max_items, 96);
    asker_close(&asker);
    http_server_stop(&server);
}

Test(provider, tei_tells_its_limits_itself)
{
    struct http_server server;
    struct embed_limits limits;

    http_server_start(&server, "{}");
    set(&server, "tei", "\"max_items\":11,\"max_text_tokens\":99");
    asker_open(&asker, &server, "tei", (struct provider_options){.send_dimensions = -1});
    embedder_limits(asker.embedder, &limits);
    cr_assert_eq(limits.max_items, 11);
    cr_assert_eq(limits.max_text_tokens, 99);
    asker_close(&asker);
    /* No such address: the dialect's own. */
    set(&server, "openai", "");
    asker_open(&asker, &server, "tei", (struct provider_options){.send_dimensions = -1});
    embedder_limits(asker.embedder, &limits);
    cr_assert_eq(limits.max_items, 32);
    asker_close(&asker);
    http_server_stop(&server);
}

/* --- texts that are too long --- */

static const char *const with_long[] = {
    "one", "a text that is much longer than the others and than eight tokens, by far", "two",
    /* accents: cut in the middle of a character, a text would be no UTF-8 */
    "another one éééééééééééééééé with words", "three"};

/* What of a text was embedded, to judge by the vector: the length of the prefix, 0 when none fits. */
static size_t
embedded_length(size_t i, const char *text)
{
    for (size_t length = strlen(text); length > 0; length--)
        if (asker_has_vector(&asker, i, text, length))
            return length;
    return 0;
}

static bool
is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static const char *const naming[] = {"openai", "voyage", "mistral", NULL};
static const char *const never_refusing[] = {"infinity", NULL};
static const char *const server_cuts[] = {"tei", "vllm", "ollama", "voyage", "cohere", "jina", NULL};

Test(provider, a_text_that_is_too_long_is_cut_by_the_server_and_counted_or_handed_back)
{
    struct http_server server;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        if (is_one_of(dialect, never_refusing))
            continue;
        set(&server, dialect, "\"max_text_tokens\":8");
        asker_open(&asker, &server, dialect,
                   (struct provider_options){.send_dimensions = -1, .on_too_long = POLICY_TRUNCATE});
        for (size_t i = 1; i < 5; i += 2) {
            cr_assert_eq(asker_ask(&asker, with_long + i, 1, NULL), RC_OK, "%s: %s", dialect, asker.err.message);
            if (!is_one_of(dialect, server_cuts)) {
                cr_assert_eq(asker.results[0].status, TEXT_TOO_LONG, "%s", dialect);
                continue;
            }
            cr_assert_eq(asker.results[0].status, TEXT_EMBEDDED, "%s", dialect);
            cr_assert(asker.results[0].truncated);
            size_t length = embedded_length(0, with_long[i]);
            cr_assert(length == 31 || length == 32, "%s: %zu", dialect, length);
        }
        cr_assert_eq(asker_ask(&asker, with_long, 1, NULL), RC_OK);
        cr_assert_not(asker.results[0].truncated);
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, among_several_texts_the_one_that_the_server_names_is_told)
{
    struct http_server server;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        bool cuts = is_one_of(dialect, server_cuts);
        if (is_one_of(dialect, never_refusing))
            continue;
        set(&server, dialect, "\"max_text_tokens\":8");
        asker_open(&asker, &server, dialect,
                   (struct provider_options){.send_dimensions = -1, .on_too_long = POLICY_TRUNCATE});
        if (!is_one_of(dialect, naming)) {
            /* Nobody says which one: left to bisection. */
            cr_assert_neq(asker_ask(&asker, with_long, 5, NULL), RC_OK, "%s", dialect);
            cr_assert_eq(asker.outcome.failure, REQUEST_REJECTED, "%s: %s", dialect, asker.err.message);
        } else {
            cr_assert_eq(asker_ask(&asker, with_long, 5, NULL), RC_OK, "%s: %s", dialect, asker.err.message);
            cr_assert_eq(asker.results[1].status, cuts ? TEXT_EMBEDDED : TEXT_TOO_LONG);
            cr_assert_eq(asker.results[1].truncated, cuts);
            cr_assert(!cuts || embedded_length(1, with_long[1]) == 32);
            for (size_t i = 0; i < 5; i += i == 0 ? 2 : 1)
                cr_assert_eq(asker.results[i].status, TEXT_UNTRIED, "%s %zu", dialect, i);
        }
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, a_text_refused_in_unknown_words_may_be_too_long_all_the_same)
{
    struct http_server server;
    char text[600];
    const char *const one[] = {text};

    memset(text, 'w', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    http_server_start(&server, "{}");
    for (const char *const *dialect = server_cuts; *dialect != NULL; dialect++) {
        set(&server, *dialect, "\"max_text_tokens\":8,\"too_long_message\":\"das ist zu viel\"");
        asker_open(&asker, &server, *dialect,
                   (struct provider_options){.send_dimensions = -1, .on_too_long = POLICY_TRUNCATE});
        cr_assert_eq(asker_ask(&asker, one, 1, NULL), RC_OK, "%s: %s", *dialect, asker.err.message);
        cr_assert(asker.results[0].status == TEXT_EMBEDDED && asker.results[0].truncated);
        cr_assert_eq(embedded_length(0, text), 32);
        cr_assert_eq(asker.outcome.failure, REQUEST_OK);
        /* One that is refused for itself stays refused. */
        memcpy(text, "POISON", 6);
        cr_assert_neq(asker_ask(&asker, one, 1, NULL), RC_OK);
        cr_assert_eq(asker.outcome.failure, REQUEST_REJECTED);
        memset(text, 'w', 6);
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, a_text_that_is_too_long_is_not_cut_where_the_policy_forbids_it)
{
    struct http_server server;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        struct embed_limits limits;
        if (is_one_of(dialect, never_refusing))
            continue;
        set(&server, dialect, "\"max_text_tokens\":8");
        asker_open(&asker, &server, dialect,
                   (struct provider_options){.send_dimensions = -1, .on_too_long = POLICY_SKIP});
        cr_assert_eq(asker_ask(&asker, with_long + 1, 1, NULL), RC_OK, "%s: %s", dialect, asker.err.message);
        cr_assert_eq(asker.results[0].status, TEXT_TOO_LONG, "%s", dialect);
        cr_assert_not_null(strstr(asker.results[0].detail, "too large"));
        cr_assert_geq(asker.results[0].http_status, 400);
        /* Some don't say how long it may be. */
        embedder_limits(asker.embedder, &limits);
        cr_assert_eq(limits.max_text_tokens,
                     is_one_of(dialect, (const char *[]){"ollama", "localai", "cohere", NULL}) ? 0 : 8, "%s", dialect);
        asker_close(&asker);
    }
    http_server_stop(&server);
}

/* --- what stops for good, what is waited for --- */

static void
fails(const char *dialect, const struct http_server *server, const char *settings, enum request_failure wanted)
{
    set(server, dialect, settings);
    enum rc rc = asker_ask(&asker, five, FIVE, NULL);
    cr_assert_neq(rc, RC_OK, "%s %s", dialect, settings);
    cr_assert_eq(asker.outcome.failure, wanted, "%s %s: failure %d, %s", dialect, settings, asker.outcome.failure,
                 asker.err.message);
    cr_assert_neq(asker.err.message[0], '\0');
    cr_assert_null(strchr(asker.err.message, '\n'));
}

Test(provider, refusals_of_every_dialect_have_their_class)
{
    struct http_server server;

    log_open(LOG_TEXT, LOG_ERROR);
    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        asker_open(&asker, &server, dialect,
                   (struct provider_options){.send_dimensions = -1, .api_key = "sk-secret-1"});
        fails(dialect, &server, "\"key\":\"another\"", REQUEST_HALT);
        cr_assert_eq(asker.err.class, ERR_PROVIDER);
        cr_assert_null(strstr(asker.err.message, "sk-secret-1"), "%s", asker.err.message);
        if (strncmp(dialect, "tei", 3) != 0 && strcmp(dialect, "llama-server") != 0)
            fails(dialect, &server, "\"model\":\"other\"", REQUEST_HALT);
        fails(dialect, &server, "\"quota_texts\":2", REQUEST_HALT);
        fails(dialect, &server, "\"poison\":\"four\"", REQUEST_REJECTED);
        fails(dialect, &server, "\"poison\":\"four\",\"poison_status\":500", REQUEST_SERVER);
        fails(dialect, &server, "\"poison\":\"four\",\"poison_status\":424", REQUEST_SERVER);
        set(&server, dialect, "\"requests_per_minute\":1");
        cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK);
        cr_assert_neq(asker_ask(&asker, five, FIVE, NULL), RC_OK);
        cr_assert_eq(asker.outcome.failure, REQUEST_OVERLOAD, "%s: %s", dialect, asker.err.message);
        cr_assert_gt(asker.outcome.retry_after_ms, 50000);
        cr_assert_leq(asker.outcome.retry_after_ms, 61000);
        set(&server, dialect, "");
        cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK, "%s: %s", dialect, asker.err.message);
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, a_wait_is_read_in_whatever_way_it_is_told)
{
    static const struct {
        const char *style;
        int64_t least, most;
    } styles[] = {
        {"seconds", 2000, 2000}, {"date", 1000, 3000}, {"ms", 1500, 1500}, {"reset", 1500, 1500}, {"none", 0, 0}};
    struct http_server server;
    char settings[256];

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
        for (int status = 429; status <= 503; status += 74) {
            (void)snprintf(settings, sizeof settings,
                           "\"fault\":{\"kind\":\"status\",\"status\":%d,\"retry\":\"%s\",\"retry_ms\":1500}", status,
                           styles[i].style);
            fails("openai", &server, settings, status == 503 && i == 4 ? REQUEST_SERVER : REQUEST_OVERLOAD);
            cr_assert(asker.outcome.retry_after_ms >= styles[i].least && asker.outcome.retry_after_ms <= styles[i].most,
                      "%s: %lld", styles[i].style, (long long)asker.outcome.retry_after_ms);
            cr_assert_eq(asker.err.http_status, status);
        }
    }
    asker_close(&asker);
    asker_open(&asker, &server, "gemini", (struct provider_options){.send_dimensions = -1});
    fails("gemini", &server, "\"fault\":{\"kind\":\"status\",\"status\":429,\"retry\":\"body\",\"retry_ms\":1500}",
          REQUEST_OVERLOAD);
    cr_assert_eq(asker.outcome.retry_after_ms, 1500);
    asker_close(&asker);
    http_server_stop(&server);
}

/* --- dimensions --- */

Test(provider, dimensions_are_asked_for_once_it_is_seen_that_they_must)
{
    struct http_server server;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        const char *dialect = row->name;
        bool can = strcmp(dialect, "llama-server") != 0 && strcmp(dialect, "localai") != 0;
        bool at_once = strcmp(dialect, "gemini") == 0;

        set(&server, dialect, "\"dimensions\":32");
        asker_open(&asker, &server, dialect, (struct provider_options){.send_dimensions = -1});
        if (can) {
            for (int round = 0; round < 2; round++) {
                cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK, "%s: %s", dialect, asker.err.message);
                all_right(five, FIVE);
                cr_assert_eq(asker.outcome.usage.requests, round == 0 && !at_once ? 2 : 1, "%s", dialect);
            }
        } else {
            fails(dialect, &server, "\"dimensions\":32", REQUEST_HALT);
            cr_assert_not_null(strstr(asker.err.message, "32"));
        }
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(provider, wrong_dimensions_stop_the_run_where_nothing_can_be_asked)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    fails("openai", &server, "\"dimensions\":32,\"takes_dimensions\":false", REQUEST_HALT);
    cr_assert_not_null(strstr(asker.err.message, "32 dimensions"));
    cr_assert_not_null(strstr(asker.err.message, "16"));
    asker_close(&asker);
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = 0});
    fails("openai", &server, "\"dimensions\":32", REQUEST_HALT);
    asker_close(&asker);
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = 1});
    set(&server, "openai", "\"dimensions\":32");
    cr_assert_eq(asker_ask(&asker, five, FIVE, NULL), RC_OK);
    cr_assert_eq(asker.outcome.usage.requests, 1);
    fails("openai", &server, "\"dimensions\":32,\"takes_dimensions\":false", REQUEST_HALT);
    asker_close(&asker);
    http_server_stop(&server);
}

/* --- opening --- */

Test(provider, what_the_user_must_change_is_said_before_anything_is_sent)
{
    static const struct {
        struct provider_options options;
        const char *word;
    } cases[] = {
        {{.url = "http://h/v1"}, "model"},
        {{.url = NULL, .model = "m"}, "url"},
        {{.url = "http://h/v1", .model = "m", .dialect = "opnai"}, "opnai"},
        {{.url = "http://h/v1", .model = "m", .api_key = "sk-12345"}, "plain http"},
        {{.url = "http://h/v1", .model = "m", .timeout_secs = -1}, "timeout"},
    };
    struct embedder *embedder = NULL;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = ERR_INIT;
        cr_assert_eq(embedder_open_provider(&http_provider, &cases[i].options, &embedder, &err), RC_INVALID);
        cr_assert_eq(err.class, ERR_USAGE);
        cr_assert_not_null(strstr(err.message, cases[i].word), "%s", err.message);
    }
}
