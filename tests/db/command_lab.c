#include "tests/db/command_lab.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fresh_database lab_database;
struct db *lab_db;
struct err lab_err;
char lab_file[64];
cJSON *lab_report;

static const char file_text[] =
    "{ \"id\": \"docs-1\", \"collection\": \"docs\",\n"
    "  \"documents\": { \"table\": \"public.docs\", \"id\": \"id\", \"content\": \"body\" },\n"
    "  \"source\": { \"model\": \"hash-32\", \"table\": \"public.docs\", \"id\": \"id\", \"column\": \"embedding\",\n"
    "              \"provider\": { \"kind\": \"hashing\" } },\n"
    "  \"target\": { \"model\": \"hash-48\", \"dimensions\": 48, \"type\": \"vector\", \"metric\": \"cosine\",\n"
    "              \"provider\": { \"kind\": \"hashing\" } },\n"
    "  \"limits\": {} }\n";

void
lab_write_file(const char *what, const char *replace)
{
    const char *place = what ? strstr(file_text, what) : file_text;
    cr_assert_not_null(place, "the file does not say %s", what);
    FILE *file = fopen(lab_file, "w");
    cr_assert_not_null(file);
    if (what)
        fprintf(file, "%.*s%s%s", (int)(place - file_text), file_text, replace, place + strlen(what));
    else
        fputs(file_text, file);
    cr_assert_eq(fclose(file), 0);
}

void
lab_open(bool with_vector)
{
    snprintf(lab_file, sizeof lab_file, "/tmp/reembed-test-XXXXXX");
    int fd = mkstemp(lab_file);
    cr_assert_geq(fd, 0);
    close(fd);
    lab_write_file(NULL, NULL);

    fresh_database_create(&lab_database, with_vector);
    lab_db = fresh_database_connect(&lab_database, (struct db_options){0});
    if (!with_vector)
        return;
    must_run(lab_db,
             "create table public.docs (id bigint primary key generated always as identity, body text, kind text, "
             "embedding vector(32))");
    char sql[256];
    snprintf(
        sql, sizeof sql,
        "insert into public.docs (body, kind) select 'document ' || i || ' ' || md5(i::text), case when i %% 3 = 0 then "
        "'a' else 'b' end from generate_series(1, %d) i",
        LAB_DOCUMENTS);
    must_run(lab_db, sql);
}

void
lab_close(void)
{
    cJSON_Delete(lab_report);
    lab_report = NULL;
    lab_db = db_close(lab_db);
    fresh_database_drop(&lab_database);
    unlink(lab_file);
}

/* --- commands --- */

static struct common_options
common(void)
{
    return (struct common_options){.database_url = lab_database.url, .yes = true};
}

static void
begin(void)
{
    cJSON_Delete(lab_report);
    lab_report = NULL;
    lab_err = (struct err)ERR_INIT;
}

int
lab_run(void)
{
    char id[256];
    const struct run_options options = {.common = common(), .file = lab_file, .shutdown_grace_secs = 5};

    begin();
    return run_command(&options, id, &lab_err);
}

int
lab_plan(bool probe)
{
    const struct plan_options options = {.common = common(), .file = lab_file, .probe = probe};

    begin();
    return plan_command(&options, &lab_report, &lab_err);
}

int
lab_verify(const char *id, int64_t sample)
{
    const struct verify_options options = {
        .common = common(), .migration_id = id, .file = sample > 0 ? lab_file : NULL, .sample = sample};

    begin();
    return verify_command(&options, &lab_report, &lab_err);
}

int
lab_search(const char *text, enum search_side side, int64_t limit)
{
    const struct search_options options = {
        .common = common(), .collection = "docs", .text = text, .file = lab_file, .limit = limit, .side = side};

    begin();
    return search_command(&options, &lab_report, &lab_err);
}

/* --- reports --- */

static const cJSON *
member(const char *path)
{
    char key[64];
    const cJSON *item = lab_report;

    cr_assert_not_null(lab_report, "no report: %s", lab_err.message);
    while (item && *path) {
        size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        item = cJSON_GetObjectItemCaseSensitive(item, key);
        path += length + (path[length] == '.');
    }
    return item;
}

double
lab_number(const char *path)
{
    const cJSON *item = member(path);
    cr_assert(cJSON_IsNumber(item), "%s is no number", path);
    return item->valuedouble;
}

const char *
lab_text(const char *path)
{
    const cJSON *item = member(path);
    cr_assert(cJSON_IsString(item), "%s is no text", path);
    return item->valuestring;
}

bool
lab_is_null(const char *path)
{
    return cJSON_IsNull(member(path));
}

const cJSON *
lab_check(const char *check)
{
    const cJSON *row = NULL;
    cJSON_ArrayForEach (row, member("checks")) {
        if (strcmp(cJSON_GetObjectItemCaseSensitive(row, "check")->valuestring, check) == 0)
            return row;
    }
    return NULL;
}

bool
lab_check_ok(const char *check)
{
    const cJSON *row = lab_check(check);
    return row && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row, "ok"));
}
