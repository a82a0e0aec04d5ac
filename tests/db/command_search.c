/* search: the model and the metric of the space that is searched, whatever the routing says next. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed/hashing.h"
#include "tests/db/command_lab.h"

#define TARGET "reembed_data.docs__hash_48"

static void
set_up(void)
{
    lab_open(true);
}

TestSuite(search, .init = set_up, .fini = lab_close, .timeout = 120);

static const cJSON *
hit(int rank)
{
    return cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(lab_report, "hits"), rank);
}

static const char *
hit_text(int rank, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(hit(rank), key);
    cr_assert(cJSON_IsString(item));
    return item->valuestring;
}

static double
hit_distance(int rank)
{
    return cJSON_GetObjectItemCaseSensitive(hit(rank), "distance")->valuedouble;
}

static int
hit_count(void)
{
    return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(lab_report, "hits"));
}

/* A document's own text is the nearest one to itself; the first hit has its distance. */
static void
expect_finds_itself(const char *id, const char *model)
{
    cr_assert_eq(hit_count(), 5);
    cr_assert_str_eq(lab_text("model"), model);
    cr_assert_str_eq(hit_text(0, "doc_id"), id);
    cr_assert_str_eq(hit_text(0, "model"), model);
    cr_assert(fabs(hit_distance(0)) < 1e-5, "%g", hit_distance(0));
    cr_assert_eq(strncmp(hit_text(0, "content"), "document ", 9), 0);
    for (int i = 1; i < hit_count(); i++)
        cr_assert_geq(hit_distance(i), hit_distance(i - 1));
}

static char *
body_of(int id)
{
    char sql[80];
    snprintf(sql, sizeof sql, "select body as v from public.docs where id = %d", id);
    return must_read_text(lab_db, sql);
}

Test(search, goes_where_the_routing_goes_with_the_model_of_that_space)
{
    char *body = body_of(17);

    lab_write_file("\"limits\": {}", "\"gates\": {\"auto_cutover\": false}");
    cr_assert_eq(lab_run(), EXIT_GATE, "%s", lab_err.message); /* all is done but the flip */
    /* the application's side has no vectors: it gets some, of the other model, so that a mix-up would show */
    must_run(lab_db, "update public.docs set embedding = (array_fill(0.5, array[31]) || (id / 300.0))::real[]::vector");
    cr_assert_eq(lab_search(body, SEARCH_ROUTED, 5), EXIT_DONE, "%s", lab_err.message);
    cr_assert_str_eq(lab_text("model"), "hash-32");
    cr_assert_eq(lab_search(body, SEARCH_TARGET, 5), EXIT_DONE, "%s", lab_err.message);
    expect_finds_itself("17", "hash-48");

    must_run(lab_db, "select reembed.cutover('docs-1', false)");
    cr_assert_eq(lab_search(body, SEARCH_ROUTED, 5), EXIT_DONE, "%s", lab_err.message);
    expect_finds_itself("17", "hash-48");
    cr_assert_eq(lab_search(body, SEARCH_SOURCE, 5), EXIT_DONE, "%s", lab_err.message);
    cr_assert_str_eq(lab_text("model"), "hash-32");
    free(body);
}

Test(search, speaks_the_metric_and_the_type_of_the_space)
{
    static const struct {
        const char *type, *metric, *operator;
    } cases[] = {{"vector", "l2", "<->"}, {"halfvec", "inner_product", "<#>"}, {"halfvec", "cosine", "<=>"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char replace[120], sql[600];
        if (i > 0) {
            lab_close();
            lab_open(true);
        }
        char *body = body_of(5);
        snprintf(replace, sizeof replace, "\"type\": \"%s\", \"metric\": \"%s\"", cases[i].type, cases[i].metric);
        lab_write_file("\"type\": \"vector\", \"metric\": \"cosine\"", replace);
        cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
        /* vectors of length one have the same neighbours by every metric */
        must_run(lab_db, "update " TARGET " set embedding = (select array_agg(x * (1 + doc_id % 7) order by n) from "
                         "unnest(embedding::vector::real[]) with ordinality as u(x, n))::real[]::vector");
        cr_assert_eq(lab_search(body, SEARCH_ROUTED, 7), EXIT_DONE, "%s", lab_err.message);
        snprintf(
            sql, sizeof sql,
            "select string_agg(doc_id::text, ',' order by n) as v from (select doc_id, row_number() over (order by "
            "embedding %s (select (select array_agg(x / 6 order by n) from unnest(embedding::vector::real[]) with "
            "ordinality as u(x, n))::real[]::vector::%s from " TARGET " where doc_id = 5), doc_id) as n from " TARGET
            ") x where n <= 7",
            cases[i].operator, cases[i].type);
        char *expected = must_read_text(lab_db, sql), found[200] = "";
        for (int h = 0; h < hit_count(); h++)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", h ? "," : "", hit_text(h, "doc_id"));
        cr_assert_str_eq(found, expected, "%s %s", cases[i].type, cases[i].metric);
        free(expected);
        free(body);
    }
}

Test(search, finds_as_many_as_asked_for_through_the_index)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db,
             "do $$ begin execute format('alter database %I set enable_seqscan = off', current_database()); end $$");
    must_run(lab_db, "delete from " TARGET " where doc_id = 1");
    cr_assert_eq(lab_search("document", SEARCH_ROUTED, 250), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(hit_count(), 250);
}

Test(search, shows_the_beginning_of_the_document_and_null_of_one_that_is_gone)
{
    must_run(lab_db, "update public.docs set body = repeat('é', 5000) where id = 3");
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "alter table public.docs disable trigger all");
    must_run(lab_db, "delete from public.docs where id = 4");
    cr_assert_eq(lab_search("anything", SEARCH_ROUTED, 300), EXIT_DONE, "%s", lab_err.message);
    bool long_one = false, gone_one = false;
    for (int i = 0; i < hit_count(); i++) {
        const cJSON *content = cJSON_GetObjectItemCaseSensitive(hit(i), "content");
        if (strcmp(hit_text(i, "doc_id"), "3") == 0)
            long_one = cJSON_IsString(content) && strlen(content->valuestring) == 400;
        if (strcmp(hit_text(i, "doc_id"), "4") == 0)
            gone_one = cJSON_IsNull(content);
    }
    cr_assert(long_one && gone_one);
}

Test(search, a_table_whose_name_is_used_in_our_statements_finds_its_own_documents)
{
    must_run(lab_db, "alter table public.docs rename to reembed_h");
    lab_write_file("\"documents\": { \"table\": \"public.docs\"", "\"documents\": { \"table\": \"public.reembed_h\"");
    cr_assert_eq(lab_run(), EXIT_USAGE, "the source is still in public.docs");
    must_run(lab_db, "alter table public.reembed_h rename to docs");
    must_run(lab_db, "create table public.h as table public.docs");
    must_run(lab_db, "alter table public.h add primary key (id)");
    lab_write_file("\"documents\": { \"table\": \"public.docs\"", "\"documents\": { \"table\": \"public.h\"");
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    char *body = body_of(9);
    cr_assert_eq(lab_search(body, SEARCH_TARGET, 5), EXIT_DONE, "%s", lab_err.message);
    expect_finds_itself("9", "hash-48");
    cr_assert_str_eq(hit_text(0, "content"), body);
    free(body);
}

Test(search, both_sides_at_once_while_documents_are_covered_in_part)
{
    char *body = body_of(17);

    lab_write_file("\"limits\": {}", "\"gates\": {\"auto_cutover\": false}");
    cr_assert_eq(lab_run(), EXIT_GATE, "%s", lab_err.message);
    must_run(lab_db, "update public.docs set embedding = (array_fill(0.5, array[31]) || (id / 300.0))::real[]::vector");
    must_run(lab_db, "delete from " TARGET " where doc_id > 150");
    cr_assert_eq(lab_search(body, SEARCH_FUSED, 300), EXIT_DONE, "%s", lab_err.message);
    cr_assert_str_eq(lab_text("model"), "fused");
    cr_assert_eq(hit_count(), LAB_DOCUMENTS);
    cr_assert_str_eq(hit_text(0, "doc_id"), "17");
    for (int i = 0; i < hit_count(); i++) {
        cr_assert(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(hit(i), "distance")));
        cr_assert_str_eq(hit_text(i, "model"), atoi(hit_text(i, "doc_id")) > 150 ? "hash-32" : "hash-48");
        cr_assert_eq(strncmp(hit_text(i, "content"), "document ", 9), 0);
    }
    free(body);
}

static int
search_with(const char *collection, const char *file, enum search_side side)
{
    const struct search_options options = {.common = {.database_url = lab_database.url},
                                           .collection = collection,
                                           .text = "text",
                                           .file = file,
                                           .limit = 5,
                                           .side = side};
    cJSON *report = NULL;
    lab_err = (struct err)ERR_INIT;
    int code = search_command(&options, &report, &lab_err);
    cr_assert_eq(code == EXIT_DONE, report != NULL);
    cJSON_Delete(report);
    return code;
}

Test(search, refuses_to_guess_a_model)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(search_with("nothing", lab_file, SEARCH_ROUTED), EXIT_USAGE);
    cr_assert_not_null(strstr(lab_err.message, "unknown collection"));
    cr_assert_eq(search_with("docs", NULL, SEARCH_ROUTED), EXIT_USAGE);
    cr_assert_not_null(strstr(lab_err.message, "hash-48"));
    lab_write_file("hash-48", "hash-49");
    cr_assert_eq(search_with("docs", lab_file, SEARCH_ROUTED), EXIT_USAGE);
    cr_assert_not_null(strstr(lab_err.message, "hash-48"));
    lab_write_file("\"collection\": \"docs\"", "\"collection\": \"others\"");
    cr_assert_eq(search_with("docs", lab_file, SEARCH_ROUTED), EXIT_USAGE);
}

Test(search, refuses_another_model_under_the_same_name)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    lab_write_file("48,", "48, \"table\": null,"); /* harmless: the same model */
    cr_assert_eq(lab_search("text", SEARCH_ROUTED, 5), EXIT_DONE, "%s", lab_err.message);
    must_run(
        lab_db,
        "update reembed.space set canary = (select array_agg(-c order by n) from unnest(canary) with ordinality as u(c, n)) "
        "where model = 'hash-48'");
    cr_assert_eq(lab_search("text", SEARCH_ROUTED, 5), EXIT_PROVIDER);
    cr_assert_not_null(strstr(lab_err.message, "another model"));
    must_run(lab_db, "update reembed.space set canary = null");
    lab_write_file("\"dimensions\": 48", "\"dimensions\": 64");
    cr_assert_neq(lab_search("text", SEARCH_TARGET, 5), EXIT_PROVIDER);
    cr_assert_eq((int)hit_count(), 5, "the space's dimensions decide");
}
