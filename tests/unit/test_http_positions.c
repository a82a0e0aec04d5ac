/* A reply that is spoiled at each of its positions in turn: no byte is special enough for a wrong vector. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/http_server.h"

static const char *const texts[] = {"zero", "one", "two"};
enum { COUNT = 3, DIMENSIONS = 4, ANSWER_MOST = 4096 };

/* One of each form of reply, where it can be asked for both encodings. */
static const struct form {
    const char *dialect;
    const char *base64;
} forms[] = {{"openai", "yes"}, {"openai", "ignore"}, {"tei", "yes"},     {"ollama", "yes"},
             {"cohere", "yes"}, {"cohere", "ignore"}, {"mistral", "yes"}, {"gemini", "yes"}};
enum { FORMS = sizeof forms / sizeof forms[0] };

static struct asker asker; /* too large for the stack */

static void
open_with(const struct http_server *server, const struct form *form, const char *more, const char *fault)
{
    char settings[512];

    (void)snprintf(settings, sizeof settings,
                   "{\"reset\":true,\"dialect\":\"%s\",\"model\":\"m\",\"dimensions\":%d,\"base64\":\"%s\"%s%s,"
                   "\"faults\":[%s]}",
                   form->dialect, DIMENSIONS, form->base64, more[0] != '\0' ? "," : "", more, fault);
    http_server_set(server, settings);
    asker_open(&asker, server, form->dialect,
               (struct provider_options){.send_dimensions = 0, .dimensions = DIMENSIONS});
}

static void
has_all_vectors(const struct form *form, const char *what)
{
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(asker.results[i].status, TEXT_EMBEDDED, "%s %s", form->dialect, what);
        cr_assert(asker_has_vector(&asker, i, texts[i], strlen(texts[i])), "%s %s: vector %zu", form->dialect, what, i);
    }
}

/* The same request until the answer is not cut any more. Returns how many were. */
static size_t
ask_until_whole(const struct form *form, const char *what)
{
    size_t cut = 0;

    for (; asker_ask(&asker, texts, COUNT, NULL) != RC_OK; cut++) {
        cr_assert_eq(asker.outcome.failure, REQUEST_TRANSPORT, "%s %s at byte %zu: failure %d, %s", form->dialect, what,
                     cut, asker.outcome.failure, asker.err.message);
        cr_assert_eq(asker.err.class, ERR_TRANSIENT);
        cr_assert_lt(cut, ANSWER_MOST, "%s %s: no end", form->dialect, what);
    }
    has_all_vectors(form, what);
    return cut;
}

Test(positions, an_answer_cut_at_any_byte_is_asked_for_again, .timeout = 120)
{
    static const struct {
        const char *fault, *settings;
        bool body_only;
    } cuts[] = {{"truncate", "", false},
                {"truncate", "\"gzip\":true", false},
                {"reset", "", false},
                {"cut_json", "", true},
                {"cut_json", "\"gzip\":true", true}};
    struct http_server server;
    char fault[128];

    http_server_start(&server, "{}");
    for (size_t f = 0; f < FORMS; f++) {
        for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
            (void)snprintf(fault, sizeof fault, "{\"kind\":\"%s\",\"bytes\":0,\"step\":1}", cuts[c].fault);
            open_with(&server, &forms[f], cuts[c].settings, fault);
            size_t cut = ask_until_whole(&forms[f], cuts[c].fault);
            /* Three vectors are no shorter than this in any form; a head has some hundred bytes more. */
            cr_assert_gt(cut, cuts[c].body_only ? 80 : 200, "%s %s: only %zu", forms[f].dialect, cuts[c].fault, cut);
            cr_assert_eq(http_server_counter(&server, "requests"), (double)cut + 1);
            asker_close(&asker);
        }
    }
    http_server_stop(&server);
}

Test(positions, a_bad_number_anywhere_is_that_texts_trouble_alone, .timeout = 60)
{
    static const char *const kinds[] = {"nan", "huge", "null_element", "null", "zeros", "wrong_dimensions"};
    struct http_server server;
    char fault[128];

    http_server_start(&server, "{}");
    for (size_t f = 0; f < FORMS; f++) {
        for (size_t at = 0; at < sizeof kinds / sizeof kinds[0] * COUNT * DIMENSIONS; at++) {
            const char *kind = kinds[at / (COUNT * DIMENSIONS)];
            size_t item = at / DIMENSIONS % COUNT, element = at % DIMENSIONS;

            (void)snprintf(fault, sizeof fault, "{\"kind\":\"%s\",\"item\":%zu,\"element\":%zu}", kind, item, element);
            open_with(&server, &forms[f], "", fault);
            cr_assert_eq(asker_ask(&asker, texts, COUNT, NULL), RC_OK, "%s %s: %s", forms[f].dialect, fault,
                         asker.err.message);
            for (size_t i = 0; i < COUNT; i++) {
                cr_assert_eq(asker.results[i].status, i == item ? TEXT_INVALID_VECTOR : TEXT_EMBEDDED,
                             "%s %s: text %zu", forms[f].dialect, fault, i);
                cr_assert(i == item || asker_has_vector(&asker, i, texts[i], strlen(texts[i])));
            }
            asker_close(&asker);
        }
    }
    http_server_stop(&server);
}
