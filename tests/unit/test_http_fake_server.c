/* The fake server itself, where other tests believe what it says. */
#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "embed/hashing.h"
#include "tests/unit/http_server.h"

static const char *const texts[] = {"one", "two", "three"};

static struct asker asker; /* too large for the stack */

Test(fake_server, requests_in_spite_of_a_wait_are_counted)
{
    struct http_server server;

    http_server_start(&server, "{\"dimensions\":16,\"grace_ms\":0,\"faults\":[{\"kind\":\"status\",\"status\":429,"
                               "\"retry_ms\":60000,\"times\":1}]}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    cr_assert_neq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_eq(http_server_counter(&server, "violations"), 0);
    (void)usleep(5000); /* its clock counts milliseconds */
    cr_assert_eq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_eq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_eq(http_server_counter(&server, "violations"), 2);
    asker_close(&asker);
    http_server_stop(&server);
}

Test(fake_server, texts_that_come_again_are_counted)
{
    struct http_server server;

    http_server_start(&server, "{\"dimensions\":16}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    cr_assert_eq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_eq(asker_ask(&asker, texts, 2, NULL), RC_OK);
    cr_assert_eq(http_server_counter(&server, "texts"), 5);
    cr_assert_eq(http_server_counter(&server, "unique_texts"), 3);
    cr_assert_eq(http_server_counter(&server, "repeated_texts"), 2);
    asker_close(&asker);
    http_server_stop(&server);
}

Test(fake_server, a_minute_of_requests_is_a_limit_that_passes)
{
    struct http_server server;

    http_server_start(&server, "{\"dimensions\":16,\"requests_per_minute\":2,\"minute_ms\":400,\"retry\":\"ms\"}");
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    cr_assert_eq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_eq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_neq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_eq(asker.outcome.failure, REQUEST_OVERLOAD);
    cr_assert(asker.outcome.retry_after_ms > 0 && asker.outcome.retry_after_ms <= 400);
    (void)usleep((useconds_t)asker.outcome.retry_after_ms * 1000);
    cr_assert_eq(asker_ask(&asker, texts, 3, NULL), RC_OK, "%s", asker.err.message);
    cr_assert_eq(http_server_counter(&server, "violations"), 0);
    asker_close(&asker);
    http_server_stop(&server);
}

Test(fake_server, the_journal_has_a_line_for_each_request)
{
    struct http_server server;
    char path[] = "/tmp/reembed-journal-XXXXXX", line[1024], hash[32];
    static const char *const outcomes[] = {"ok", "status", "poison"};
    const char *const poisoned[] = {"a POISON text"};
    int file = mkstemp(path);

    cr_assert_geq(file, 0);
    http_server_start_journal(&server, "{\"dimensions\":16,\"faults\":[{\"kind\":\"status\",\"at\":2}]}", path);
    asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
    cr_assert_eq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_neq(asker_ask(&asker, texts, 3, NULL), RC_OK);
    cr_assert_neq(asker_ask(&asker, poisoned, 1, NULL), RC_OK);
    asker_close(&asker);
    http_server_stop(&server);

    FILE *journal = fdopen(file, "r");
    cr_assert_not_null(journal);
    for (int i = 0; i < 3; i++) {
        cr_assert_not_null(fgets(line, sizeof line, journal));
        cJSON *entry = cJSON_Parse(line);
        cr_assert_not_null(entry, "%s", line);
        cr_assert_eq(cJSON_GetObjectItem(entry, "request")->valueint, i + 1);
        cr_assert_eq(cJSON_GetObjectItem(entry, "texts")->valueint, i == 2 ? 1 : 3);
        cr_assert_eq(cJSON_GetObjectItem(entry, "status")->valueint, i == 0 ? 200 : i == 1 ? 503 : 400);
        cr_assert_str_eq(cJSON_GetObjectItem(entry, "outcome")->valuestring, outcomes[i]);
        const char *text = i == 2 ? poisoned[0] : texts[0];
        (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)hashing_xxh64(text, strlen(text), 0));
        cr_assert_str_eq(cJSON_GetArrayItem(cJSON_GetObjectItem(entry, "hashes"), 0)->valuestring, hash);
        cJSON_Delete(entry);
    }
    cr_assert_null(fgets(line, sizeof line, journal));
    (void)fclose(journal);
    (void)unlink(path);
}

Test(fake_server, the_same_seed_gives_the_same_faults)
{
    struct http_server server;
    char first[100], second[100];

    http_server_start(&server, "{}");
    for (int run = 0; run < 2; run++) {
        char *pattern = run == 0 ? first : second;
        http_server_set(&server, "{\"reset\":true}");
        http_server_set(&server, "{\"dimensions\":16,\"seed\":77,\"faults\":[{\"kind\":\"status\",\"status\":500,"
                                 "\"probability\":0.5}]}");
        asker_open(&asker, &server, "openai", (struct provider_options){.send_dimensions = -1});
        for (int i = 0; i < 99; i++)
            pattern[i] = asker_ask(&asker, texts, 3, NULL) == RC_OK ? '.' : 'x';
        pattern[99] = '\0';
        asker_close(&asker);
    }
    cr_assert_str_eq(first, second);
    cr_assert_not_null(strchr(first, 'x'));
    cr_assert_not_null(strchr(first, '.'));
    http_server_stop(&server);
}
