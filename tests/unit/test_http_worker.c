/* Provider and worker together against the fake server: whatever the dialect, each document gets its own outcome. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed/hashing.h"
#include "embed/http/dialect.h"
#include "tests/unit/http_server.h"
#include "worker/embed.h"

enum { COUNT = 60, DIMENSIONS = 16, MAX_TOKENS = 32 };

static struct asker asker; /* too large for the stack */
static char contents[COUNT][512];

/* 7, 40: too long; 13, 41: poison; 20: a vector of zeros; 33: empty; 50: the same as 10. */
static void
write_contents(struct document *documents)
{
    for (size_t i = 0; i < COUNT; i++) {
        int length = snprintf(contents[i], sizeof contents[i], "document %zu %s", i,
                              i == 13 || i == 41 ? "POISON"
                              : i == 20          ? "ZERODOC"
                                                 : "and its words");
        if (i == 7 || i == 40) {
            memset(contents[i] + length, 'x', 300);
            contents[i][length + 300] = '\0';
        }
        if (i == 33)
            contents[i][0] = '\0';
        if (i == 50)
            memcpy(contents[i], contents[10], sizeof contents[i]);
        documents[i] = (struct document){.bytes = contents[i], .length = strlen(contents[i])};
    }
}

static bool
has_vector_of(const float *vectors, size_t i, size_t length)
{
    float wanted[DIMENSIONS];

    hashing_vector(hashing_xxh64("m", 1, 0), contents[i], length, DIMENSIONS, wanted);
    return memcmp(wanted, vectors + i * DIMENSIONS, sizeof wanted) == 0;
}

static void
embed_all(const struct http_server *server, const char *dialect, const char *settings, bool can_be_too_long)
{
    static struct document documents[COUNT];
    static struct document_result results[COUNT];
    static float vectors[COUNT * DIMENSIONS];
    char all[1024];
    struct embed_usage usage = {0};
    struct err err = ERR_INIT;
    struct embed_policy policy = {
        .retry = {.attempts = 8, .first_ms = 1, .cap_ms = 5}, .canary = "canary", .canary_length = 6};

    (void)snprintf(all, sizeof all,
                   "{\"reset\":true,\"dialect\":\"%s\",\"model\":\"m\",\"dimensions\":%d,\"max_text_tokens\":%d,"
                   "\"max_items\":25,\"faults\":[%s{\"kind\":\"zeros\",\"marker\":\"ZERODOC\"}]}",
                   dialect, DIMENSIONS, MAX_TOKENS, settings);
    http_server_set(server, all);
    asker_open(
        &asker, server, dialect,
        (struct provider_options){.send_dimensions = -1, .on_too_long = POLICY_TRUNCATE, .dimensions = DIMENSIONS});
    write_contents(documents);
    memset(results, 0, sizeof results);
    enum rc rc = embed_documents(asker.session, &policy, documents, COUNT, DIMENSIONS, vectors, results, &usage,
                                 asker.arena, &err);
    cr_assert_eq(rc, RC_OK, "%s: %s", dialect, err.message);
    for (size_t i = 0; i < COUNT; i++) {
        const struct document_result *result = &results[i];
        const char *detail = result->detail != NULL ? result->detail : "";

        if (i == 13 || i == 41) {
            cr_assert_eq(result->status, DOCUMENT_FAILED, "%s %zu", dialect, i);
            cr_assert_eq(result->reason, REASON_PERMANENT_API_ERROR, "%s %zu: %s", dialect, i, detail);
        } else if (i == 20) {
            cr_assert_eq(result->status, DOCUMENT_FAILED, "%s %zu", dialect, i);
            cr_assert_eq(result->reason, REASON_INVALID_VECTOR, "%s %zu: %s", dialect, i, detail);
        } else if (i == 33) {
            cr_assert_eq(result->reason, REASON_EMPTY_CONTENT);
        } else {
            bool is_long = i == 7 || i == 40;
            size_t length = strlen(contents[i]);

            cr_assert_eq(result->status, DOCUMENT_EMBEDDED, "%s %zu: %s", dialect, i, detail);
            if (is_long && can_be_too_long) {
                cr_assert(result->truncated, "%s %zu", dialect, i);
                while (length > 0 && !has_vector_of(vectors, i, length))
                    length--;
                /* A cut by the server is exact, ours is near. */
                cr_assert(length <= MAX_TOKENS * 4 && length >= MAX_TOKENS * 4 / 2, "%s %zu: %zu", dialect, i, length);
            } else if (!is_long) {
                cr_assert_not(result->truncated);
                cr_assert(has_vector_of(vectors, i, length), "%s %zu", dialect, i);
            }
        }
    }
    cr_assert_eq(usage.requests, (uint64_t)http_server_counter(server, "requests"), "%s", dialect);
    cr_assert_eq(usage.tokens, (uint64_t)http_server_counter(server, "tokens"), "%s", dialect);
    asker_close(&asker);
}

Test(worker, every_document_gets_its_own_outcome_in_every_dialect, .timeout = 60)
{
    struct http_server server;

    http_server_start(&server, "{}");
    for (const struct dialect *row = dialects; row->name != NULL; row++)
        embed_all(&server, row->name, "", strcmp(row->name, "infinity") != 0);
    http_server_stop(&server);
}

Test(worker, passing_trouble_changes_no_outcome, .timeout = 60)
{
    static const char trouble[] = "{\"kind\":\"status\",\"status\":429,\"retry\":\"ms\",\"retry_ms\":3,\"every\":5},"
                                  "{\"kind\":\"status\",\"status\":502,\"every\":7},";
    struct http_server server;

    http_server_start(&server, "{\"grace_ms\":0}");
    for (const struct dialect *row = dialects; row->name != NULL; row++) {
        embed_all(&server, row->name, trouble, strcmp(row->name, "infinity") != 0);
        cr_assert_eq(http_server_counter(&server, "violations"), 0, "%s", row->name);
    }
    http_server_stop(&server);
}
