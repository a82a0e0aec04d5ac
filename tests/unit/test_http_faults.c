/* The provider against a server that misbehaves, one fault after the other. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/http_random.h"
#include "tests/unit/http_server.h"

static const char *const texts[] = {"zero", "one", "two MARK", "three", "four"};
enum { COUNT = 5 };

static struct asker asker; /* too large for the stack */

static void
with_fault(const struct http_server *server, const char *dialect, const char *encoding, const char *fault)
{
    char settings[1024];

    (void)snprintf(
        settings, sizeof settings,
        "{\"reset\":true,\"dialect\":\"%s\",\"model\":\"m\",\"dimensions\":16,\"base64\":\"%s\",\"faults\":[%s]}",
        dialect, encoding, fault);
    http_server_set(server, settings);
}

static void
recovers(const struct http_server *server, const char *dialect, const char *encoding)
{
    with_fault(server, dialect, encoding, "");
    cr_assert_eq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s: %s", dialect, asker.err.message);
    for (size_t i = 0; i < COUNT; i++)
        cr_assert(asker_has_vector(&asker, i, texts[i], strlen(texts[i])));
}

Test(faults, of_the_whole_answer_are_retried_never_stored)
{
    static const char *const faults[] = {
        "{\"kind\":\"html\"}",
        "{\"kind\":\"garbage\"}",
        "{\"kind\":\"empty\"}",
        "{\"kind\":\"truncate\"}",
        "{\"kind\":\"truncate\",\"bytes\":0}",
        "{\"kind\":\"truncate\",\"bytes\":20}",
        "{\"kind\":\"truncate\",\"bytes\":300}",
        "{\"kind\":\"reset\",\"bytes\":0}",
        "{\"kind\":\"reset\",\"bytes\":200}",
        "{\"kind\":\"cut_json\"}",
        "{\"kind\":\"cut_json\",\"bytes\":1}",
        "{\"kind\":\"cut_json\",\"bytes\":100}",
        "{\"kind\":\"wrong_type\",\"variant\":0}",
        "{\"kind\":\"wrong_type\",\"variant\":1}",
        "{\"kind\":\"wrong_type\",\"variant\":2}",
        "{\"kind\":\"wrong_type\",\"variant\":3}",
        "{\"kind\":\"wrong_type\",\"variant\":4}",
        "{\"kind\":\"wrong_type\",\"variant\":5}",
        "{\"kind\":\"fewer\"}",
        "{\"kind\":\"more\"}",
        "{\"kind\":\"big_body\"}",
        "{\"kind\":\"gzip_bomb\"}",
    };
    static const char *const names[] = {"openai", "tei", "ollama", "cohere", "gemini"};
    struct http_server server;

    http_server_start(&server, "{}");
    for (size_t d = 0; d < 5; d++) {
        for (int base64 = 0; base64 < 2; base64++) {
            const char *encoding = base64 ? "yes" : "ignore";
            asker_open(&asker, &server, names[d], (struct provider_options){.send_dimensions = -1});
            for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
                with_fault(&server, names[d], encoding, faults[i]);
                int64_t begun = clock_now_ms();
                cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s %s", names[d], faults[i]);
                cr_assert_eq(asker.outcome.failure, REQUEST_TRANSPORT, "%s %s: failure %d, %s", names[d], faults[i],
                             asker.outcome.failure, asker.err.message);
                cr_assert_eq(asker.err.class, ERR_TRANSIENT);
                cr_assert_lt(clock_now_ms() - begun, 5000, "%s", faults[i]);
                recovers(&server, names[d], encoding);
            }
            asker_close(&asker);
        }
    }
    http_server_stop(&server);
}

Test(faults, a_request_is_never_sent_twice_unasked)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    for (int i = 0; i < 5; i++) {
        recovers(&server, "openai", "yes"); /* its connection is kept: it is the next one's that ends */
        with_fault(&server, "openai", "yes", "{\"kind\":\"reset\",\"bytes\":0,\"times\":1}");
        cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK);
        cr_assert_eq(asker.outcome.failure, REQUEST_TRANSPORT);
        cr_assert_eq(asker.outcome.usage.requests, 1);
        cr_assert_gt(asker.outcome.usage.tokens, 0); /* it may have been worked on */
        cr_assert_eq(http_server_counter(&server, "requests"), 1);
    }
    asker_close(&asker);
    http_server_stop(&server);
}

Test(faults, indexes_that_are_no_permutation_are_malformed)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    with_fault(&server, "openai", "yes", "{\"kind\":\"duplicate\"}");
    cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK);
    cr_assert_eq(asker.outcome.failure, REQUEST_TRANSPORT);
    cr_assert_not_null(strstr(asker.err.message, "index"), "%s", asker.err.message);
    asker_close(&asker);
    http_server_stop(&server);
}

Test(faults, another_order_and_no_index_do_no_harm)
{
    static const char *const faults[] = {"{\"kind\":\"reorder\"}", "{\"kind\":\"no_index\"}"};
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    for (size_t i = 0; i < 2; i++) {
        with_fault(&server, "openai", "yes", faults[i]);
        cr_assert_eq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s", asker.err.message);
        for (size_t k = 0; k < COUNT; k++)
            cr_assert(asker_has_vector(&asker, k, texts[k], strlen(texts[k])), "%s", faults[i]);
    }
    asker_close(&asker);
    http_server_stop(&server);
}

Test(faults, of_one_vector_are_that_texts_trouble_alone)
{
    static const char *const kinds[] = {"null", "null_element", "nan", "huge", "zeros", "wrong_dimensions"};
    static const char *const names[] = {"openai", "tei", "ollama", "cohere", "gemini"};
    struct http_server server;
    char fault[128];

    http_server_start(&server, "{}");
    for (size_t d = 0; d < 5; d++) {
        for (int base64 = 0; base64 < 2; base64++) {
            const char *encoding = base64 ? "yes" : "ignore";
            asker_open(&asker, &server, names[d], (struct provider_options){.send_dimensions = -1});
            for (size_t k = 0; k < 6; k++) {
                (void)snprintf(fault, sizeof fault, "{\"kind\":\"%s\",\"marker\":\"MARK\"}", kinds[k]);
                with_fault(&server, names[d], encoding, fault);
                cr_assert_eq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s %s: %s", names[d], kinds[k],
                             asker.err.message);
                for (size_t i = 0; i < COUNT; i++) {
                    cr_assert_eq(asker.results[i].status, i == 2 ? TEXT_INVALID_VECTOR : TEXT_EMBEDDED, "%s %s %zu",
                                 names[d], kinds[k], i);
                    if (i != 2)
                        cr_assert(asker_has_vector(&asker, i, texts[i], strlen(texts[i])));
                }
                cr_assert_not_null(asker.results[2].detail);
                /* Alone, too: the server has shown that it can. */
                cr_assert_eq(asker_ask(&asker, texts + 2, 1, NULL), RC_OK, "%s %s: %s", names[d], kinds[k],
                             asker.err.message);
                cr_assert_eq(asker.results[0].status, TEXT_INVALID_VECTOR);
            }
            asker_close(&asker);
        }
    }
    http_server_stop(&server);
}

Test(faults, another_model_behind_the_name_stops_the_run)
{
    static const char *const told[] = {"openai", "vllm", "ollama", "infinity", "voyage", "jina", "mistral"};
    static const char *const untold[] = {"azure", "tei-openai", "llama-server", "localai", "tei", "cohere", "gemini"};
    struct http_server server;

    http_server_start(&server, "{}");
    for (size_t i = 0; i < 7; i++) {
        asker_open(&asker, &server, told[i], (struct provider_options){.send_dimensions = -1});
        with_fault(&server, told[i], "yes", "{\"kind\":\"wrong_model\"}");
        cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s", told[i]);
        cr_assert_eq(asker.outcome.failure, REQUEST_HALT);
        cr_assert_not_null(strstr(asker.err.message, "another-model"));
        asker_close(&asker);
        asker_open(&asker, &server, untold[i], (struct provider_options){.send_dimensions = -1});
        with_fault(&server, untold[i], "yes", "{\"kind\":\"wrong_model\"}");
        cr_assert_eq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s: %s", untold[i], asker.err.message);
        asker_close(&asker);
    }
    http_server_stop(&server);
}

Test(faults, another_size_of_all_vectors_stops_the_run_even_later)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "ollama", (struct provider_options){.send_dimensions = 0});
    recovers(&server, "ollama", "yes");
    with_fault(&server, "ollama", "yes", "{\"kind\":\"wrong_dimensions\",\"item\":-1,\"dimensions\":24}");
    cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK);
    cr_assert_eq(asker.outcome.failure, REQUEST_HALT);
    cr_assert_not_null(strstr(asker.err.message, "24"));
    asker_close(&asker);
    http_server_stop(&server);
}

Test(faults, an_error_under_200_counts_by_what_it_says)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    with_fault(&server, "openai", "yes", "{\"kind\":\"error_200\"}");
    cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK);
    cr_assert_eq(asker.outcome.failure, REQUEST_SERVER);
    cr_assert_not_null(strstr(asker.err.message, "upstream failed"));
    asker_close(&asker);
    http_server_stop(&server);
}

Test(faults, a_redirect_is_not_followed)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1, .api_key = "sk-secret-1"});
    with_fault(&server, "openai", "yes", "{\"kind\":\"redirect\"}");
    cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK);
    cr_assert_eq(asker.outcome.failure, REQUEST_HALT);
    cr_assert_not_null(strstr(asker.err.message, "http://127.0.0.1:1/elsewhere"), "%s", asker.err.message);
    cr_assert_null(strstr(asker.err.message, "key=1"));
    asker_close(&asker);
    http_server_stop(&server);
}

Test(faults, a_slow_answer_is_waited_for_a_silent_one_not_for_ever)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1, .timeout_secs = 0.6});
    with_fault(&server, "openai", "yes", "{\"kind\":\"drip\",\"bytes\":300,\"ms\":20}");
    cr_assert_eq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s", asker.err.message);
    cr_assert(asker_has_vector(&asker, 4, texts[4], strlen(texts[4])));

    static const char *const silent[] = {"{\"kind\":\"hang\"}", "{\"kind\":\"drip\",\"bytes\":1,\"ms\":50}"};
    for (size_t i = 0; i < 2; i++) {
        with_fault(&server, "openai", "yes", silent[i]);
        int64_t begun = clock_now_ms();
        cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK);
        cr_assert_eq(asker.outcome.failure, REQUEST_TRANSPORT);
        int64_t took = clock_now_ms() - begun;
        cr_assert(took >= 590 && took < 2000, "%lld ms", (long long)took);
        /* It may have been worked on: counted. */
        cr_assert_eq(asker.outcome.usage.requests, 1);
        cr_assert_gt(asker.outcome.usage.tokens, 0);
    }
    asker_close(&asker);
    http_server_stop(&server);
}

struct later {
    atomic_bool cancel;
    int64_t at;
};

static void *
cancel_later(void *context)
{
    struct later *later = context;

    (void)usleep(150000);
    later->at = clock_now_ms();
    atomic_store(&later->cancel, true);
    return NULL;
}

Test(faults, a_cancel_is_obeyed_within_200_ms)
{
    static const char *const waiting[] = {"{\"kind\":\"hang\"}", "{\"kind\":\"drip\",\"bytes\":1,\"ms\":50}"};
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    for (size_t i = 0; i < 2; i++) {
        struct later later = {.cancel = false};
        pthread_t thread;

        with_fault(&server, "openai", "yes", waiting[i]);
        cr_assert_eq(pthread_create(&thread, NULL, cancel_later, &later), 0);
        cr_assert_eq(asker_ask(&asker, texts, COUNT, &later.cancel), RC_CLOSED);
        int64_t now = clock_now_ms();
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert_eq(asker.outcome.failure, REQUEST_CANCELLED);
        cr_assert_lt(now - later.at, 200);
    }
    recovers(&server, "openai", "yes");
    asker_close(&asker);
    http_server_stop(&server);
}

Test(faults, a_server_that_is_not_there_is_a_passing_trouble)
{
    struct http_server server;

    http_server_start(&server, "{}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    recovers(&server, "openai", "yes");
    http_server_stop(&server);
    cr_assert_neq(asker_ask(&asker, texts, COUNT, NULL), RC_OK);
    cr_assert_eq(asker.outcome.failure, REQUEST_TRANSPORT);
    cr_assert_eq(asker.outcome.usage.requests, 0);
    cr_assert_eq(asker.outcome.usage.tokens, 0);
    asker_close(&asker);
}

/* Random faults in random order: whatever comes, a vector that is reported is the right one. */
Test(faults, no_wrong_vector_ever, .timeout = 60)
{
    static const char *const names[] = {"openai", "tei", "voyage", "cohere", "gemini"};
    uint64_t random = test_seed();
    struct http_server server;
    char settings[4096];

    http_server_start(&server, "{}");
    for (size_t d = 0; d < 5; d++) {
        int answered = 0;
        (void)snprintf(
            settings, sizeof settings,
            "{\"reset\":true,\"dialect\":\"%s\",\"model\":\"m\",\"dimensions\":16,\"seed\":%llu,\"faults\":["
            "{\"kind\":\"reset\",\"bytes\":400,\"probability\":0.1},{\"kind\":\"cut_json\",\"probability\":0.1},"
            "{\"kind\":\"fewer\",\"probability\":0.1},{\"kind\":\"reorder\",\"probability\":0.2},"
            "{\"kind\":\"status\",\"status\":500,\"probability\":0.1},{\"kind\":\"nan\",\"item\":1,\"probability\":0.1},"
            "{\"kind\":\"zeros\",\"item\":3,\"probability\":0.1},{\"kind\":\"wrong_dimensions\",\"probability\":0.1},"
            "{\"kind\":\"status\",\"status\":429,\"probability\":0.1},{\"kind\":\"html\",\"probability\":0.1}]}",
            names[d], (unsigned long long)(test_random(&random) >> 20));
        asker_open(&asker, &server, names[d], (struct provider_options){.send_dimensions = -1});
        recovers(&server, names[d], "yes");
        http_server_set(&server, settings);
        for (int i = 0; i < 400; i++) {
            if (asker_ask(&asker, texts, COUNT, NULL) != RC_OK) {
                cr_assert_neq(asker.outcome.failure, REQUEST_OK);
                cr_assert_neq(asker.outcome.failure, REQUEST_HALT, "%s", asker.err.message);
                continue;
            }
            answered++;
            for (size_t k = 0; k < COUNT; k++) {
                if (asker.results[k].status != TEXT_EMBEDDED)
                    continue;
                /* Without an index another order can't be told from the right one: not a fault of ours. */
                bool ordered = strcmp(names[d], "openai") == 0 || strcmp(names[d], "voyage") == 0;
                cr_assert(!ordered || asker_has_vector(&asker, k, texts[k], strlen(texts[k])));
            }
        }
        cr_assert_gt(answered, 20);
        asker_close(&asker);
    }
    http_server_stop(&server);
}
