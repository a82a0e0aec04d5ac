/* The commands as people and scripts call them, against a server: what they print, how they end. */
#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/db/fresh_database.h"
#include "tests/unit/cli_call.h"

static struct fresh_database database;
static struct db *db;
static char folder[] = "/tmp/cli_commands_XXXXXX";
static char file[64];

static const char migration[] =
    "{ \"id\": \"docs-a-to-b\", \"collection\": \"docs\",\n"
    "  \"documents\": { \"table\": \"public.docs\", \"id\": \"id\", \"content\": \"body\" },\n"
    "  \"source\": { \"model\": \"a\", \"column\": \"embedding\", \"provider\": { \"kind\": \"hashing\" } },\n"
    "  \"target\": { \"model\": \"b\", \"dimensions\": 16, \"index\": \"none\", \"provider\": { \"kind\": \"hashing\" } },\n"
    "  \"database\": { \"lease_secs\": 5 } }\n";

static void
set_up(void)
{
    fresh_database_create(&database, true);
    db = fresh_database_connect(&database, (struct db_options){0});
    must_run(db,
             "create table docs (id bigint primary key, body text, embedding vector(8));"
             "insert into docs select i, 'text ' || i, array_fill(i, array[8])::vector from generate_series(1, 50) i");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(file, sizeof file, "%s/docs.json", folder);
    FILE *stream = fopen(file, "we");
    (void)fputs(migration, stream);
    (void)fclose(stream);
}

static void
tear_down(void)
{
    db = db_close(db);
    fresh_database_drop(&database);
    (void)unlink(file);
    (void)rmdir(folder);
}

TestSuite(cli_commands, .init = set_up, .fini = tear_down, .timeout = 120);

#define REEMBED(...) CALL("--database-url", database.url, "--no-progress", __VA_ARGS__)

/* Calls, checks the exit code, returns standard output. */
#define OK(...) expect(0, REEMBED(__VA_ARGS__))

static const char *
expect(int code, const struct outcome *outcome)
{
    cr_assert_eq(outcome->code, code, "exit %d, not %d\n%s\n%s", outcome->code, code, outcome->out, outcome->errors);
    return outcome->out;
}

static void
has(const char *text, const char *part)
{
    cr_assert_not_null(strstr(text, part), "not in it: %s\n%s", part, text);
}

static cJSON *
json_of(const char *text)
{
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithOpts(text, &end, 0);
    cr_assert_not_null(root, "%s", text);
    cr_assert_eq(end[strspn(end, " \n")], '\0', "more than one document: %s", text);
    return root;
}

/* A migration that has begun and that no worker runs. */
static void
begin(void)
{
    (void)OK("init");
    must_run(db, "select reembed.create_migration('docs-a-to-b', '{\"collection\":\"docs\","
                 "\"documents\":{\"table\":\"public.docs\",\"id\":\"id\",\"content\":\"body\",\"where\":null},"
                 "\"source\":{\"model\":\"a\",\"table\":\"public.docs\",\"id\":\"id\",\"column\":\"embedding\"},"
                 "\"target\":{\"model\":\"b\",\"dimensions\":16,\"type\":\"vector\",\"metric\":\"cosine\","
                 "\"placement\":\"side\",\"index\":{\"method\":\"none\"}}}', true);"
                 "select reembed.start('docs-a-to-b'); select reembed.install_capture('docs');"
                 "select reembed.count_documents('docs-a-to-b')");
}

Test(cli_commands, a_database_without_the_schema_says_how_to_install_it)
{
    const struct outcome *outcome = REEMBED("status");
    cr_assert_eq(outcome->code, 2, "%s", outcome->errors);
    has(outcome->errors, "the schema reembed is missing");
    has(outcome->errors, "reembed init");
}

Test(cli_commands, init_installs_once_and_grants)
{
    must_run(db, "drop role if exists \"cli reader\"; create role \"cli reader\"");
    has(OK("init"), "The schema reembed is installed");
    has(OK("init", "--reader", "cli reader"), "is there already");
    cr_assert_eq(
        must_read_int64(db, "select has_table_privilege('cli reader', 'reembed.progress', 'select')::int as v"), 1);
    cr_assert_eq(must_read_int64(db,
                                 "select has_function_privilege('cli reader', 'reembed.resume(text)', 'execute')::int "
                                 "as v"),
                 0);
    const struct outcome *outcome = REEMBED("init", "--operator", "nobody-at-all");
    cr_assert_eq(outcome->code, 2, "%s", outcome->errors);
    has(outcome->errors, "nobody-at-all");
    must_run(db, "drop owned by \"cli reader\"; drop role \"cli reader\"");
}

Test(cli_commands, init_print_writes_sql_and_touches_nothing)
{
    const char *sql = OK("init", "--print", "--reader", "o'reilly");
    has(sql, "reembed.progress");
    has(sql, "SELECT reembed.grant_role('o''reilly', 'reader');");
    cr_assert_eq(must_read_int64(db, "select count(*) as v from pg_namespace where nspname = 'reembed'"), 0);
}

Test(cli_commands, an_empty_database_is_said_to_be_empty)
{
    (void)OK("init");
    has(OK("list"), "There is no migration");
    cr_assert_str_eq(OK("list", "--json"), "[]\n");
    const struct outcome *outcome = REEMBED("status");
    cr_assert_eq(outcome->code, 2);
    has(outcome->errors, "there is no migration in this database yet");
}

Test(cli_commands, status_json_is_one_object_with_the_columns_and_the_lists)
{
    begin();
    must_run(db, "select reembed.heartbeat(gen_random_uuid(), 'docs-a-to-b', 'host', 1, 5, 7, 9, 1, null, false)");
    cJSON *status = json_of(OK("status", "docs-a-to-b", "--json"));
    char *columns = must_read_text(db, "select string_agg(attname, ' ' order by attnum) as v from pg_attribute "
                                       "where attrelid = 'reembed.progress'::regclass and attnum > 0");
    char *rest = columns;
    for (char *column = NULL; (column = strsep(&rest, " ")) != NULL;)
        cr_expect_not_null(cJSON_GetObjectItemCaseSensitive(status, column), "%s", column);
    cr_assert(cJSON_IsObject(cJSON_GetObjectItem(status, "routing")) != 0);
    cr_assert_eq(cJSON_GetArraySize(cJSON_GetObjectItem(status, "gates")), 6);
    cr_assert_eq(cJSON_GetArraySize(cJSON_GetObjectItem(status, "workers")), 1);
    cr_assert_eq(cJSON_GetObjectItem(status, "total")->valueint, 50);
    size_t workers = 0;
    for (const cJSON *member = status->child; member != NULL; member = member->next)
        workers += strcmp(member->string, "workers") == 0;
    cr_assert_eq(workers, 1, "a key stands once");
    free(columns);
    cJSON_Delete(status);
}

Test(cli_commands, an_unknown_id_ends_in_2_and_names_what_there_is)
{
    begin();
    static const char *const commands[] = {"status", "failures", "pause",    "resume",
                                           "cancel", "cutover",  "rollback", "finalize"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct outcome *outcome = REEMBED(commands[i], "docs-a-to-c");
        cr_assert_eq(outcome->code, 2, "%s: %d %s", commands[i], outcome->code, outcome->errors);
        has(outcome->errors, "docs-a-to-b");
    }
}

Test(cli_commands, operations_do_what_they_say_and_tell_what_is_next)
{
    begin();
    has(OK("pause", "docs-a-to-b", "--reason", "weekend"),
        "docs-a-to-b is paused: weekend\n0 of 50 documents embedded");
    has(OK("status"), "next: go on: reembed resume docs-a-to-b");
    const struct outcome *outcome = REEMBED("pause", "docs-a-to-b");
    cr_assert_eq(outcome->code, 6);
    has(outcome->errors, "invalid migration transition from paused to paused");
    has(OK("resume", "docs-a-to-b"), "is in progress (backfill)");

    outcome = REEMBED("cutover", "docs-a-to-b");
    cr_assert_eq(outcome->code, 7, "%s", outcome->errors);
    has(outcome->out, "coverage");
    has(outcome->out, "80.00 % are required");
    has(outcome->errors, "is held back by");
    has(OK("cutover", "docs-a-to-b", "--force"), "queries go to b, the target");
    has(OK("rollback", "docs-a-to-b", "--reason", "worse"), "queries go to a, the source");
    expect(6, REEMBED("finalize", "docs-a-to-b"));
    has(OK("cancel", "docs-a-to-b"), "docs-a-to-b is cancelled");
    expect(6, REEMBED("resume", "docs-a-to-b"));
}

Test(cli_commands, documents_are_skipped_shown_and_tried_again)
{
    begin();
    has(OK("failures", "docs-a-to-b"), "No document of docs-a-to-b failed or was skipped.");
    has(OK("skip", "docs-a-to-b", "7", "8", "4711", "--reason", "private"), "2 documents skipped");
    has(OK("skip", "docs-a-to-b", "4711", "--reason", "private"), "None of these was skipped");
    const char *text = OK("failures", "docs-a-to-b");
    has(text, "manual_skip");
    has(text, "private");
    cJSON *rows = json_of(OK("failures", "docs-a-to-b", "--json"));
    cr_assert_eq(cJSON_GetArraySize(rows), 2);
    cr_assert_str_eq(cJSON_GetObjectItem(rows->child, "reason")->valuestring, "manual_skip");
    cJSON_Delete(rows);
    has(OK("retry", "docs-a-to-b", "8"), "1 document will be tried again");
    has(OK("retry", "docs-a-to-b"), "1 document will be tried again");
    has(OK("retry", "docs-a-to-b"), "nothing to retry");
}

Test(cli_commands, a_run_from_the_file_to_the_end_is_shown_by_all_that_read)
{
    const char *text = OK("run", file);
    has(text, "docs-a-to-b is completed\n50 of 50 documents embedded\nqueries go to b, the target\n");
    has(text, "next: bad results: reembed rollback docs-a-to-b; ");
    text = OK("status");
    has(text, "docs-a-to-b  completed");
    has(text, "100 %  50 of 50 documents");
    has(text, "window     a rollback is possible for another");
    text = OK("list");
    has(text, "docs-a-to-b  docs        completed  100 %");
    cJSON *list = json_of(OK("list", "--json"));
    cr_assert_eq(cJSON_GetArraySize(list), 1);
    cr_assert_str_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(list->child, "routing"), "query_model")->valuestring, "b");
    cJSON_Delete(list);
    text = OK("search", "docs", "text 7", "--file", file, "-k", "3", "--json");
    cJSON *hits = json_of(text);
    cr_assert_eq(cJSON_GetArraySize(cJSON_GetObjectItem(hits, "hits")), 3);
    cJSON_Delete(hits);
    has(OK("status", "--watch"), "docs-a-to-b  completed");
    has(OK("finalize", "docs-a-to-b", "--now", "--drop-source"), "next: nothing; it is over");
    cr_assert_eq(must_read_int64(db, "select count(*) as v from pg_attribute where attrelid = 'docs'::regclass and "
                                     "attname = 'embedding' and not attisdropped"),
                 0);
}
