/* What the migration file may not hold: missing and unknown keys, ranges, lines in messages. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/migration_file_text.h"

static void
assert_refused(const char *path, const char *json, const char *part)
{
    const char *text = refusal_of(path, json);
    cr_assert_not_null(strstr(text, part), "%s = %s is refused with\n  %s\nand not with\n  %s", path, json, text, part);
}

static void
assert_taken(const char *path, const char *json)
{
    struct err err = ERR_INIT;
    struct migration_file *file = parse_with(path, json, &err);
    cr_assert_not_null(file, "%s = %s: %s", path, json, err.message);
    migration_file_free(file);
}

/* The message for a whole text. */
static const char *
refusal_of_text(const char *text, size_t length)
{
    static struct err err;
    struct migration_file *file = NULL;
    cr_assert_eq(migration_file_parse("some.json", text, length, &file, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    return err.message;
}

/* --- ranges --- */

struct range {
    const char *path;
    const char *taken[4];
    const char *refused[6];
    const char *said; /* after "must be " */
};

static const struct range ranges[] = {
    {"backfill.batch_size", {"1", "10000"}, {"0", "-1", "10001", "1.5", "\"1\""}, "a whole number from 1 to 10000"},
    {"backfill.max_concurrent", {"1", "512"}, {"0", "513", "true"}, "a whole number from 1 to 512"},
    {"backfill.target_query_threshold", {"0", "0.8", "1"}, {"-0.01", "1.01", "[]"}, "a number from 0 to 1"},
    {"backfill.rollback_window_secs", {"0", "0.5", "86400"}, {"-1", "1e300"}, "a number from 0 to 315360000"},
    {"backfill.dual_write", {"true", "false"}, {"1", "\"yes\""}, "true or false"},
    {"gates.auto_cutover", {"false"}, {"0"}, "true or false"},
    {"gates.max_failed", {"0", "1000000"}, {"-1", "0.5"}, "a whole number, 0 or more"},
    {"gates.max_change_lag_secs", {"0", "0.25"}, {"-1"}, "a number, 0 or more"},
    {"gates.min_overlap_at_10", {"0", "1", "null"}, {"1.1", "-0.1", "\"0.5\""}, "a number from 0 to 1"},
    {"gates.min_recall_change", {"-1", "0.1", "null"}, {"-1.1", "1.1"}, "a number from -1 to 1"},
    {"gates.min_index_recall", {"0.95", "null"}, {"2"}, "a number from 0 to 1"},
    {"limits.requests_per_minute", {"0.5", "null"}, {"0", "-1"}, "a number above 0"},
    {"limits.tokens_per_minute", {"1000000", "null"}, {"0"}, "a number above 0"},
    {"limits.max_tokens", {"0", "1e12", "null"}, {"0.5", "-1", "1e17"}, "a whole number, 0 or more"},
    {"limits.price_per_million_tokens", {"0", "0.02"}, {"-0.02"}, "a number, 0 or more"},
    {"limits.max_documents_per_second", {"0.1", "null"}, {"0"}, "a number above 0"},
    {"limits.max_replica_lag_secs", {"0", "null"}, {"-1"}, "a number, 0 or more"},
    {"limits.max_wal_bytes_per_second", {"1e7", "null"}, {"0", "-1", "true"}, "a number above 0"},
    {"limits.max_waiting_locks", {"0", "5", "null"}, {"-1", "0.5"}, "a whole number, 0 or more"},
    {"database.lease_secs", {"0.02", "60"}, {"0.019", "0", "86401"}, "a number from 0.02 to 86400"},
    {"database.statement_timeout_secs", {"0.01", "30"}, {"0", "-1"}, "a number from 0.01 to 86400"},
    {"database.lock_timeout_secs", {"0.05", "2"}, {"0", "3601"}, "a number from 0.01 to 3600"},
    {"database.writers", {"1", "8"}, {"0", "9", "1.5"}, "a whole number from 1 to 8"},
    {"target.dimensions", {"1", "4000"}, {"0", "16001", "1.5", "\"768\""}, "a whole number from 1 to 16000"},
    {"target.index.m", {"2", "100"}, {"1", "101"}, "a whole number from 2 to 100"},
    {"target.index.ef_construction", {"32", "1000"}, {"3", "1001"}, "a whole number from 4 to 1000"},
    {"target.provider.max_tokens", {"1"}, {"0", "-5"}, "a whole number from 1 to 1048576"},
};

Test(migration_file_limits, each_number_has_its_range_and_says_it)
{
    char expected[200];
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const struct range *range = &ranges[i];
        for (size_t k = 0; k < 4 && range->taken[k] != NULL; k++)
            assert_taken(range->path, range->taken[k]);
        for (size_t k = 0; k < 6 && range->refused[k] != NULL; k++) {
            (void)snprintf(expected, sizeof expected, "%s must be %s", range->path, range->said);
            assert_refused(range->path, range->refused[k], expected);
        }
    }
}

Test(migration_file_limits, an_offending_number_is_repeated)
{
    assert_refused("backfill.batch_size", "0",
                   "some.json:20: backfill.batch_size must be a whole number from 1 to 10000, not 0");
    assert_refused("backfill.target_query_threshold", "1.01", "not 1.01");
}

Test(migration_file_limits, not_a_number_is_no_json)
{
    static const char text[] = "{\n\"id\": \"m\",\n\"backfill\": { \"target_query_threshold\": NaN }\n}";
    cr_assert_not_null(strstr(refusal_of_text(text, strlen(text)), "some.json:3:"));
}

Test(migration_file_limits, a_number_that_overflows_is_refused)
{
    static const char text[] = "{\"id\":\"m\",\"collection\":\"c\","
                               "\"documents\":{\"table\":\"t\",\"id\":\"i\",\"content\":\"c\"},\n"
                               "\"target\":{\"model\":\"m\",\"dimensions\":8,\"provider\":{\"kind\":\"hashing\"}},\n"
                               "\"gates\":{\"max_change_lag_secs\":1e999}}";
    cr_assert_str_eq(refusal_of_text(text, strlen(text)),
                     "some.json:3: gates.max_change_lag_secs must be a number, 0 or more, not inf");
}

Test(migration_file_limits, a_budget_in_money_needs_a_price)
{
    assert_refused("limits", "{\"max_cost\": 10}", "limits.max_cost needs price_per_million_tokens");
    assert_taken("limits", "{\"max_cost\": 10, \"price_per_million_tokens\": 0.02}");
}

Test(migration_file_limits, active_hours_are_two_times_of_the_day_and_a_zone)
{
    static const char *const taken[] = {"null", "\"22:00-06:00\"", "\"00:00-24:00 Europe/Berlin\"",
                                        "\"09:30-17:45 +02\""};
    static const char *const refused[] = {
        "\"\"",
        "22",
        "\"22:00\"",
        "\"22:00-6:00\"",
        "\"24:00-06:00\"",
        "\"22:60-06:00\"",
        "\"always\"",
        "\"2:00-06:00\"",
        "\"22:00-06:00 \"",
        "\"22:00 06:00\"",
        "\"22:00-06:00UTC\"",
        "\"-1:00-06:00\"",
        "\"07:00-07:00\"",
        "\"22:00-24:01\"",
        "\"22:00-06:00  UTC\"",
    };
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        assert_taken("limits.active_hours", taken[i]);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_refused("limits.active_hours", refused[i], "limits.active_hours must");
}

/* --- words --- */

Test(migration_file_limits, words_are_one_of_a_list_and_the_nearest_is_offered)
{
    assert_refused("target.type", "\"halfvector\"", "target.type must be one of vector, halfvec, not \"halfvector\"");
    assert_refused("target.metric", "\"cosin\"",
                   "must be one of cosine, inner_product, l2, not \"cosin\" did you mean \"cosine\"?");
    assert_refused("target.metric", "2", "target.metric must be one of cosine, inner_product, l2");
    assert_refused("target.placement", "\"row\"", "must be one of side, column, not \"row\"");
    assert_refused("target.provider.on_too_long", "\"cut\"", "must be one of truncate, skip, fail, not \"cut\"");
    assert_refused("target.provider.on_empty", "\"truncate\"", "must be one of skip, fail, not \"truncate\"");
    assert_refused("target.provider.on_empty", "\"\"", "must be one of skip, fail");
}

/* --- keys --- */

Test(migration_file_limits, what_must_be_there_is_named_when_it_is_missing)
{
    static const char *const required[] = {"id",           "collection",        "documents",      "documents.table",
                                           "documents.id", "documents.content", "source.model",   "source.column",
                                           "target",       "target.model",      "target.provider"};
    char expected[100];
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        (void)snprintf(expected, sizeof expected, "%s is missing", required[i]);
        assert_refused(required[i], NULL, expected);
        assert_refused(required[i], "null", expected);
    }
}

Test(migration_file_limits, texts_must_be_texts_and_not_empty)
{
    static const char *const texts[] = {"id",           "collection",        "documents.table", "documents.id",
                                        "source.model", "documents.content", "documents.where", "source.column",
                                        "target.model", "target.table",      "source.table"};
    char expected[100];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        (void)snprintf(expected, sizeof expected, "%s must not be empty", texts[i]);
        assert_refused(texts[i], "\" \"", expected);
        (void)snprintf(expected, sizeof expected, "%s must be a text in quotes", texts[i]);
        assert_refused(texts[i], "5", expected);
    }
}

Test(migration_file_limits, sections_must_be_objects)
{
    static const char *const sections[] = {"documents", "source", "target", "backfill", "gates", "limits", "database"};
    char expected[100];
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        (void)snprintf(expected, sizeof expected, "%s must be an object", sections[i]);
        assert_refused(sections[i], "[]", expected);
    }
    cr_assert_not_null(strstr(refusal_of_text("[]", 2), "must be an object"));
}

Test(migration_file_limits, an_unknown_key_is_named_with_its_nearest_neighbour_in_every_section)
{
    static const struct {
        const char *path;
        const char *nearest;
    } typos[] = {
        {"colection", "collection"},
        {"documents.tabel", "table"},
        {"source.colum", "column"},
        {"target.dimension", "dimensions"},
        {"target.index.ef_constructor", "ef_construction"},
        {"target.provider.on_to_long", "on_too_long"},
        {"backfill.batchsize", "batch_size"},
        {"gates.max_fail", "max_failed"},
        {"limits.request_per_minute", "requests_per_minute"},
        {"database.lease_sec", "lease_secs"},
    };
    char expected[100];
    for (size_t i = 0; i < sizeof typos / sizeof typos[0]; i++) {
        (void)snprintf(expected, sizeof expected, "%s is no setting of", typos[i].path);
        assert_refused(typos[i].path, "1", expected);
        (void)snprintf(expected, sizeof expected, "did you mean \"%s\"?", typos[i].nearest);
        assert_refused(typos[i].path, "1", expected);
    }
}

Test(migration_file_limits, a_key_in_the_wrong_section_is_sent_home)
{
    assert_refused("batch_size", "10", "batch_size is no setting of the file; it belongs in \"backfill\"");
    assert_refused("backfill.lease_secs", "10", "it belongs in \"database\"");
    assert_refused("target.collection", "\"x\"", "it belongs at the top of the file");
    cr_assert_null(strstr(refusal_of("backfill.model", "1"), "belongs"), "several sections have a model");
    assert_refused("gates.quux", "1", "gates has: auto_cutover, max_failed, max_change_lag_secs");
}

Test(migration_file_limits, keys_of_several_columns_are_refused)
{
    assert_refused("documents.id", "[\"a\", \"b\"]", "documents.id is a composite key");
    assert_refused("documents.id", "\"tenant, id\"", "documents.id is a composite key");
    assert_refused("source.id", "[\"a\"]", "source.id is a composite key");
    assert_taken("documents.id", "\"\\\"a,b\\\"\"");
}

Test(migration_file_limits, names_fit_where_they_are_used)
{
    char name[300];
    (void)snprintf(name, sizeof name, "\"%055d\"", 1);
    assert_taken("collection", name);
    (void)snprintf(name, sizeof name, "\"%056d\"", 1);
    assert_refused("collection", name, "collection is 56 bytes long, the most is 55");
    (void)snprintf(name, sizeof name, "\"%0201d\"", 1);
    assert_refused("id", name, "id is 201 bytes long");
    assert_refused("id", "\"--all\"", "id must not begin with \"-\"");
    assert_refused("id", "\"a\\nb\"", "id must not hold control characters");
    assert_taken("id", "\"docs: märz\"");
}

Test(migration_file_limits, spaces_do_not_share_a_table)
{
    assert_refused("target.table", "\"public.docs\"", "target.table is the documents' own table");
    assert_refused("source.table", "\"public.vectors\"",
                   "source.id is missing: the column of public.vectors that holds");
    assert_taken("source", "{\"model\":\"m\",\"table\":\"public.vectors\",\"id\":\"doc_id\",\"column\":\"v\"}");
}

/* --- lines --- */

Test(migration_file_limits, the_line_is_the_line_of_the_key_and_not_of_its_namesake)
{
    static const char text[] =
        "// \"backfill\": { \"batch_size\": 1 }\n"
        "{\n"
        "  \"id\": \"m\", /* \"backfill\": {\n"
        "  */ \"collection\": \"{ \\\" [\",\n"
        "  \"documents\": { \"table\": \"backfill\", \"id\": \"batch_size\", \"content\": \"c\" },\n"
        "  \"target\": { \"model\": \"bge-small-en-v1.5\",\n"
        "    \"provider\": { \"kind\": \"openai\", \"url\": \"http://h\",\n"
        "      \"extra\": { \"backfill\": [ { \"batch_size\": 1 } ] } } },\n"
        "  \"backfill\"\n"
        "    :\n"
        "    {\n"
        "      \"max_concurrent\": 1,\n"
        "      \"batch_size\": 0\n"
        "    }\n"
        "}\n";
    const char *message = refusal_of_text(text, strlen(text));
    cr_assert_str_eq(message, "some.json:13: backfill.batch_size must be a whole number from 1 to 10000, not 0");
}

Test(migration_file_limits, keys_of_other_sections_are_not_mistaken_for_it)
{
    static const char text[] = "{\n"
                               "  \"documents\": { \"table\": \"t\", \"id\": \"i\", \"content\": \"c\" },\n"
                               "  \"collection\": \"c\",\n"
                               "  \"id\": \" \"\n"
                               "}\n";
    cr_assert_str_eq(refusal_of_text(text, strlen(text)), "some.json:4: id must not be empty");

    static const char missing[] = "{\n"
                                  "  \"id\": \"m\", \"collection\": \"c\",\n"
                                  "  \"documents\": { \"id\": \"i\", \"content\": \"c\" },\n"
                                  "  \"source\": { \"table\": \"t\" }\n"
                                  "}\n";
    cr_assert_str_eq(refusal_of_text(missing, strlen(missing)), "some.json:3: documents.table is missing");
}

Test(migration_file_limits, a_missing_key_has_the_line_of_its_section)
{
    static const char text[] =
        "{\n  \"id\": \"m\",\n  \"collection\": \"c\",\n  \"documents\": {\n    \"table\": \"t\"\n  }\n}\n";
    cr_assert_str_eq(refusal_of_text(text, strlen(text)), "some.json:4: documents.id is missing");
}

Test(migration_file_limits, bytes_that_postgres_cannot_hold_have_a_line)
{
    static const char latin[] = "{\n\"id\": \"m\xe4rz\"}";
    cr_assert_str_eq(refusal_of_text(latin, strlen(latin)), "some.json:2: this is not UTF-8");
    static const char nul[] = "{\n\n\"id\": \"a\\u0000b\"}";
    cr_assert_str_eq(refusal_of_text(nul, strlen(nul)), "some.json:3: \\u0000 can't be stored in Postgres");
    assert_taken("documents.where", "\"x = '\\\\\\\\u0000'\"");
}

Test(migration_file_limits, a_syntax_error_has_a_line)
{
    static const char text[] = "{\n  \"id\": \"m\",\n  \"collection\" \"c\"\n}";
    cr_assert_not_null(strstr(refusal_of_text(text, strlen(text)), "some.json:3:"));
    static const char twice[] = "{\n  \"id\": \"m\",\n  \"id\": \"n\"\n}";
    cr_assert_not_null(strstr(refusal_of_text(twice, strlen(twice)), "given twice"));
}

Test(migration_file_limits, a_file_that_cannot_be_read_is_refused_by_name)
{
    struct migration_file *file = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(migration_file_read("/nowhere/m.json", &file, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_str_eq(err.message, "can't read the migration file /nowhere/m.json: No such file or directory");
    cr_assert_eq(migration_file_read("/tmp", &file, &err), RC_INVALID);
    cr_assert_not_null(strstr(err.message, "/tmp"));
}
