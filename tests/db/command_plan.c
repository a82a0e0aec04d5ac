/* plan: says what `run` would say, and leaves nothing behind. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/db/command_lab.h"

#define NOTHING_INSTALLED                                                                                              \
    "select (to_regnamespace('reembed') is null and to_regnamespace('reembed_data') is null)::int::int8 as v"

static void
set_up(void)
{
    lab_open(true);
}

TestSuite(plan, .init = set_up, .fini = lab_close, .timeout = 120);

/* Each statement of the report on a line of its own. Caller frees. */
static char *
statements(void)
{
    char *text = calloc(1, 65536);
    const cJSON *item = NULL;

    cr_assert_not_null(text);
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(lab_report, "sql"))
        snprintf(text + strlen(text), 65536 - strlen(text), "%s\n", item->valuestring);
    return text;
}

static void
expect_check(const char *check, bool ok, const char *says)
{
    const cJSON *row = lab_check(check);

    cr_assert_not_null(row, "no check %s", check);
    cr_assert_eq(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row, "ok")), ok, "%s: %s", check,
                 cJSON_GetObjectItemCaseSensitive(row, "text")->valuestring);
    cr_assert_not_null(strstr(cJSON_GetObjectItemCaseSensitive(row, "text")->valuestring, says), "%s: %s", check,
                       cJSON_GetObjectItemCaseSensitive(row, "text")->valuestring);
}

Test(plan, writes_nothing)
{
    cr_assert_eq(lab_plan(true), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(must_read_int64(lab_db, NOTHING_INSTALLED), 1);
    cr_assert_eq(must_read_int64(lab_db,
                                 "select count(*) as v from pg_trigger where not tgisinternal and tgrelid not in "
                                 "(select oid from pg_class where relnamespace = to_regnamespace('reembed'))"),
                 0);
    cr_assert_eq((int)lab_number("probe.documents"), 16);
    cr_assert_eq((int)lab_number("estimate.documents"), LAB_DOCUMENTS);

    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "create table before as select count(*) as events, max(xmin::text) as x from reembed.event");
    lab_write_file("\"limits\": {}", "\"backfill\": {\"batch_size\": 7}");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(must_read_int64(lab_db,
                                 "select count(*) as v from (table before except select count(*), max(xmin::text) "
                                 "from reembed.event) x"),
                 0);
}

Test(plan, never_waits_for_the_application_nor_makes_it_wait)
{
    struct db *application = fresh_database_connect(&lab_database, (struct db_options){0});

    cr_assert_eq(db_begin(application, &lab_err), RC_OK);
    cr_assert_eq(db_exec(application, "update public.docs set body = 'edited' where id = 1", NULL, NULL, &lab_err),
                 RC_OK);
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    db_rollback(application);
    db_close(application);
}

/* The statements of a plan are those of the run that follows it. */
Test(plan, shows_the_sql_that_run_executes)
{
    char *sql, *triggers, *before, *after;
    const char *created[] = {"CREATE TABLE reembed_data.docs_changes (", "CREATE TABLE reembed_data.docs__hash_48 (",
                             "LOCK TABLE public.docs IN SHARE ROW EXCLUSIVE MODE",
                             "CREATE INDEX CONCURRENTLY docs__hash_48_hnsw ON reembed_data.docs__hash_48 USING hnsw",
                             "-- schema reembed, version"};

    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    sql = statements();
    for (size_t i = 0; i < sizeof created / sizeof created[0]; i++)
        cr_assert_not_null(strstr(sql, created[i]), "%s is missing in\n%s", created[i], sql);
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);

    triggers = must_read_text(lab_db, "select string_agg(replace(pg_get_triggerdef(oid), 'CREATE TRIGGER', "
                                      "'CREATE OR REPLACE TRIGGER'), E'\\n' order by tgname) as v "
                                      "from pg_trigger where tgrelid = 'public.docs'::regclass and not tgisinternal");
    int count = 0;
    for (char *line = strtok_r(triggers, "\n", &after); line; line = strtok_r(NULL, "\n", &after), count++)
        cr_assert_not_null(strstr(sql, line), "%s is missing in\n%s", line, sql);
    cr_assert_eq(count, 4);
    for (const char *at = sql; (at = strstr(at, "CREATE OR REPLACE TRIGGER")); at++)
        count--;
    cr_assert_eq(count, 0, "the plan has triggers that were not made");

    /* the last view is the one that the flip has made */
    char *view = sql;
    for (char *at = sql; (at = strstr(at, "CREATE OR REPLACE VIEW")); at++)
        view = at;
    view[strcspn(view, "\n")] = '\0';
    before = must_read_text(lab_db, "select pg_get_viewdef('reembed_data.docs_current') as v");
    must_run(lab_db, view);
    after = must_read_text(lab_db, "select pg_get_viewdef('reembed_data.docs_current') as v");
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
    free(triggers);
    free(sql);

    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    sql = statements();
    cr_assert_str_eq(sql, "", "nothing is left to do");
    free(sql);
}

Test(plan, partitioned_documents_have_row_triggers_and_one_for_truncate_on_each_partition)
{
    char *sql, *triggers, *rest = NULL;

    must_run(lab_db, "drop table public.docs");
    must_run(
        lab_db,
        "create table public.docs (id bigint primary key, body text, embedding vector(32)) partition by range (id)");
    must_run(lab_db, "create table public.docs_low partition of public.docs for values from (0) to (100)");
    must_run(lab_db, "create table public.docs_high partition of public.docs for values from (100) to (1000)");
    must_run(lab_db, "insert into public.docs select i, 'text ' || i from generate_series(1, 300) i");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    sql = statements();
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    triggers = must_read_text(
        lab_db,
        "select string_agg(replace(replace(pg_get_triggerdef(oid), 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER'), "
        "'INSERT OR DELETE OR UPDATE', 'INSERT OR UPDATE OR DELETE'), E'\\n') as v "
        "from pg_trigger where not tgisinternal and tgparentid = 0 and tgrelid not in "
        "(select oid from pg_class where relnamespace = to_regnamespace('reembed'))");
    int count = 0;
    for (char *line = strtok_r(triggers, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), count++)
        cr_assert_not_null(strstr(sql, line), "%s is missing in\n%s", line, sql);
    cr_assert_eq(count, 4);
    free(triggers);
    free(sql);
}

Test(plan, estimates_follow_from_documents_batches_limits_and_price)
{
    lab_write_file("\"limits\": {}",
                   "\"backfill\": {\"batch_size\": 64}, \"limits\": {\"price_per_million_tokens\": 2.5, "
                   "\"requests_per_minute\": 30}");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    /* `hashing` counts a token for four bytes and has no limits: one request a batch */
    double tokens =
        (double)must_read_int64(lab_db, "select sum((octet_length(body) + 3) / 4)::int8 as v from public.docs");
    cr_assert_eq((int)lab_number("estimate.documents"), LAB_DOCUMENTS);
    cr_assert_eq(lab_number("estimate.tokens"), tokens);
    cr_assert_eq(lab_number("estimate.requests"), 5);
    cr_assert(fabs(lab_number("estimate.cost") - tokens * 2.5 / 1e6) < 1e-9);
    cr_assert(fabs(lab_number("estimate.seconds") - 10) < 1e-9);
    cr_assert(lab_is_null("probe"));

    lab_write_file("\"content\": \"body\"",
                   "\"content\": \"repeat(kind, 36) || lpad(id::text, 4, '0')\", \"where\": \"kind = 'a'\"");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_number("estimate.documents"), 100);
    cr_assert_eq(lab_number("estimate.tokens"), 1000);
    cr_assert_str_eq(lab_text("estimate.tokens_basis"), "counted");
    cr_assert(lab_is_null("estimate.cost"));
    cr_assert(lab_is_null("estimate.seconds"));
}

Test(plan, a_text_longer_than_the_model_takes_counts_by_the_policy)
{
    must_run(lab_db, "update public.docs set body = id || repeat('x', 4000)");
    lab_write_file(
        "\"dimensions\": 48, \"type\": \"vector\", \"metric\": \"cosine\",\n              \"provider\": { \"kind\": \"hashing\" }",
        "\"dimensions\": 48, \"provider\": {\"kind\": \"hashing\", \"max_tokens\": 100}");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_number("estimate.tokens"), 100 * LAB_DOCUMENTS);
    lab_write_file(
        "\"dimensions\": 48, \"type\": \"vector\", \"metric\": \"cosine\",\n              \"provider\": { \"kind\": \"hashing\" }",
        "\"dimensions\": 48, \"provider\": {\"kind\": \"hashing\", \"max_tokens\": 100, \"on_too_long\": \"skip\"}");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_number("estimate.tokens"), 0);
    cr_assert_eq(lab_number("estimate.requests"), 0);
}

/* As the worker does it: of equal texts in one batch only the first is sent. */
Test(plan, equal_texts_of_a_batch_are_paid_once)
{
    must_run(lab_db, "update public.docs set body = repeat('x', 400)");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_number("estimate.tokens"), 100 * 3); /* three batches */
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(must_read_int64(lab_db, "select tokens as v from reembed.progress"), 100 * 3);
}

Test(plan, what_a_former_migration_left_is_not_paid_again)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "select reembed.rollback('docs-1'); update reembed.migration set finalized_at = now();"
                     "update reembed.space set index_name = null");
    lab_write_file("docs-1", "docs-2");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_number("estimate.tokens"), 0);
    cr_assert_eq(lab_number("estimate.requests"), 0);
}

Test(plan, a_budget_that_will_not_do_is_said_before)
{
    lab_write_file("\"limits\": {}", "\"limits\": {\"max_tokens\": 100}");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    expect_check("budget", true, "the run will pause");
}

/* Nothing is begun that can't be paid to its end. */
Test(plan, a_cost_above_max_cost_is_refused_by_plan_and_by_run_before_anything_is_sent)
{
    lab_write_file("\"limits\": {}", "\"limits\": {\"price_per_million_tokens\": 1000, \"max_cost\": 0.1}");
    cr_assert_eq(lab_plan(false), EXIT_PAUSED);
    expect_check("budget", false, "limits.max_cost is 0.1");
    cr_assert_eq(lab_run(), EXIT_PAUSED);
    cr_assert_not_null(strstr(lab_err.message, "limits.max_cost is 0.1"), "%s", lab_err.message);
    cr_assert_eq(must_read_int64(lab_db, "select count(*) as v from reembed.migration where state = 'planned'"), 1);
    cr_assert_eq(must_read_int64(lab_db,
                                 "select count(*) as v from pg_trigger where not tgisinternal and tgrelid not in "
                                 "(select oid from pg_class where relnamespace = to_regnamespace('reembed'))"),
                 0);

    lab_write_file("\"limits\": {}", "\"limits\": {\"price_per_million_tokens\": 1000, \"max_cost\": 100}");
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
}

/* What was said before it began is kept, and stands beside what it took. */
Test(plan, run_keeps_the_forecast_and_the_outcome_as_events)
{
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    int64_t tokens = (int64_t)lab_number("estimate.tokens"), requests = (int64_t)lab_number("estimate.requests");
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(must_read_int64(lab_db, "select count(*) as v from reembed.events where event = 'forecast'"), 1);
    cr_assert_eq(must_read_int64(lab_db, "select count(*) as v from reembed.events where event = 'outcome'"), 1);
    for (int of = 0; of < 2; of++) {
        const char *side = of == 0 ? "forecast" : "actual";
        char sql[200];
        snprintf(sql, sizeof sql,
                 "select (detail#>>'{%s,tokens}')::int8 as v from reembed.events where event = 'outcome'", side);
        cr_assert_eq(must_read_int64(lab_db, sql), tokens);
        snprintf(sql, sizeof sql,
                 "select (detail#>>'{%s,requests}')::int8 as v from reembed.events where event = 'outcome'", side);
        cr_assert_eq(must_read_int64(lab_db, sql), requests);
    }
}

/* What is wrong does not keep the other checks from being made, and the code is that of `run`. */
Test(plan, a_wrong_configuration_is_one_row_among_the_others)
{
    static const struct {
        const char *what, *replace, *check, *says;
    } cases[] = {
        {"\"table\": \"public.docs\", \"id\": \"id\", \"content\"",
         "\"table\": \"public.dogs\", \"id\": \"id\", \"content\"", "documents", "no table public.dogs"},
        {"\"content\": \"body\"", "\"content\": \"bodi\"", "content", "bodi"},
        {"\"id\": \"id\", \"content\"", "\"id\": \"kind\", \"content\"", "documents", "no key"},
        {"\"column\": \"embedding\"", "\"column\": \"body\"", "source", "of type text"},
        {"\"metric\": \"cosine\"", "\"table\": \"public.taken\"", "target", "was not made by reembed"},
    };
    must_run(lab_db, "create table public.taken (id int)");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lab_write_file(cases[i].what, cases[i].replace);
        cr_assert_eq(lab_run(), EXIT_USAGE, "%s", cases[i].replace);
        struct err of_run = lab_err;
        must_run(lab_db, "drop schema if exists reembed, reembed_data cascade");
        cr_assert_eq(lab_plan(false), EXIT_USAGE, "%s", cases[i].replace);
        cr_assert_str_eq(lab_err.message, of_run.message);
        expect_check(cases[i].check, false, cases[i].says);
        cr_assert(lab_check_ok("database"));
        cr_assert(lab_check_ok("pgvector"));
        cr_assert(lab_check_ok("provider"));
        cr_assert(lab_check_ok("text"));
        cr_assert_eq(must_read_int64(lab_db, NOTHING_INSTALLED), 1);
    }
}

Test(plan, a_missing_extension_and_missing_rights_are_named)
{
    char url[1024];

    must_run(lab_db, "drop extension vector cascade");
    must_run(lab_db,
             "do $$ begin if to_regrole('plan_stranger') is null then create role plan_stranger login; end if; end $$");
    must_run(lab_db, "grant select on public.docs to plan_stranger");
    fresh_database_url(url, sizeof url, lab_database.name, "plan_stranger", NULL);
    snprintf(lab_database.url, sizeof lab_database.url, "%s", url);
    cr_assert_eq(lab_plan(false), EXIT_USAGE);
    expect_check("pgvector", false, "extension vector is missing");
    cr_assert(lab_check_ok("provider"));

    must_run(lab_db, "create extension vector");
    cr_assert_eq(lab_plan(false), EXIT_UNREACHABLE);
    expect_check("schema", false, "permission denied");

    must_run(lab_db,
             "do $$ begin execute format('grant create on database %I to plan_stranger', current_database()); end $$");
    cr_assert_eq(lab_plan(false), EXIT_USAGE);
    expect_check("documents", false, "create triggers");

    must_run(lab_db, "grant trigger on public.docs to plan_stranger");
    must_run(lab_db, "alter table public.docs add column if not exists embedding vector(32)");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    expect_check("privileges", true, "does not own");
    must_run(lab_db, "alter table public.docs enable row level security");
    cr_assert_eq(lab_plan(false), EXIT_USAGE);
    expect_check("documents", false, "row security");
}

Test(plan, an_unreachable_database_leaves_the_provider_to_be_checked)
{
    char url[1024];

    fresh_database_url(url, sizeof url, "there_is_no_such_database", NULL, NULL);
    snprintf(lab_database.url, sizeof lab_database.url, "%s", url);
    int code = lab_plan(false);
    cr_assert_eq(code, EXIT_UNREACHABLE, "%d", code);
    cr_assert_not(lab_check_ok("database"));
    cr_assert(lab_check_ok("provider"));
    cr_assert(lab_is_null("estimate"));
    fresh_database_url(lab_database.url, sizeof lab_database.url, lab_database.name, NULL, NULL);
}

Test(plan, ends_as_run_would_in_every_state)
{
    static const struct {
        const char *sql;
        int code;
        const char *says;
    } states[] = {
        {"update reembed.migration set state = 'paused', reason = 'at night'", EXIT_PAUSED, "at night"},
        {"update reembed.migration set state = 'cancelled'", EXIT_STATE, "cancelled"},
        {"update reembed.migration set state = 'rolled_back'", EXIT_STATE, "rolled back"},
        {"update reembed.migration set state = 'failed', error = 'no key'", EXIT_DONE, "no key"},
        {"update reembed.migration set state = 'completed'", EXIT_DONE, "is completed: 300 of 300"},
    };

    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        must_run(lab_db, states[i].sql);
        int code = lab_plan(false);
        cr_assert_eq(code, states[i].code, "%s: %d %s", states[i].sql, code, lab_err.message);
        expect_check("migration", code == EXIT_DONE, states[i].says);
        cr_assert_eq(lab_number("estimate.tokens"), 0, "nothing is left to embed");
    }
    lab_write_file("docs-1", "docs-2"); /* the window of docs-1 is open */
    cr_assert_eq(lab_plan(false), EXIT_STATE);
    expect_check("migration", false, "docs-1");
    cr_assert(lab_check_ok("source"));
}

Test(plan, another_model_under_the_same_name_ends_with_the_providers_code)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(
        lab_db,
        "update reembed.space set canary = (select array_agg(-c order by n) from unnest(canary) with ordinality as "
        "u(c, n)) where model = 'hash-48'");
    cr_assert_eq(lab_plan(false), EXIT_PROVIDER);
    expect_check("provider", false, "another model");
}

/* Installing the schema pins the search path of its transaction. */
Test(plan, names_in_the_file_are_meant_as_the_caller_would_write_them)
{
    lab_write_file("\"documents\": { \"table\": \"public.docs\"", "\"documents\": { \"table\": \"docs\"");
    cr_assert_eq(lab_plan(false), EXIT_DONE, "%s", lab_err.message);
    expect_check("documents", true, "public.docs");
}

Test(plan, a_broken_file_gives_no_report)
{
    lab_write_file("\"limits\"", "\"limitz\"");
    cr_assert_eq(lab_plan(false), EXIT_USAGE);
    cr_assert_null(lab_report);
    cr_assert_not_null(strstr(lab_err.message, "limitz"));
}
