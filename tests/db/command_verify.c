/* verify: what it calls wrong, what it queues, and what it leaves alone. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/db/command_lab.h"

#define TARGET "reembed_data.docs__hash_48"

static void
set_up(void)
{
    lab_open(true);
}

TestSuite(verify, .init = set_up, .fini = lab_close, .timeout = 120);

static void
expect_figures(int64_t current, int64_t missing, int64_t stale, int64_t orphaned, int64_t excused, int64_t queued)
{
    const struct {
        const char *key;
        int64_t value;
    } figures[] = {{"current", current},   {"missing", missing}, {"stale", stale},
                   {"orphaned", orphaned}, {"excused", excused}, {"queued", queued}};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        cr_assert_eq((int64_t)lab_number(figures[i].key), figures[i].value, "%s is %g, not %lld", figures[i].key,
                     lab_number(figures[i].key), (long long)figures[i].value);
    cr_assert_eq((int64_t)lab_number("documents"), current + missing + stale + excused);
}

Test(verify, holds_after_a_run_and_the_whole_sample_is_the_same)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_verify("docs-1", LAB_DOCUMENTS), EXIT_DONE, "%s", lab_err.message);
    expect_figures(LAB_DOCUMENTS, 0, 0, 0, 0, 0);
    cr_assert_eq((int)lab_number("sample.documents"), LAB_DOCUMENTS);
    cr_assert_eq((int)lab_number("sample.differing"), 0);
    cr_assert_geq(lab_number("sample.min_cosine"), 0.9999);
}

Test(verify, a_sample_is_as_large_as_asked_for)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_verify("docs-1", 17), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq((int)lab_number("sample.documents"), 17);
}

Test(verify, what_is_wrong_is_told_apart_queued_once_and_repaired_by_the_next_run)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "delete from " TARGET " where doc_id in (1, 2, 3)");
    must_run(lab_db, "update " TARGET " set content_hash = md5('other')::uuid where doc_id in (4, 5)");
    must_run(lab_db, "update " TARGET " set content_hash = null, embedding = null where doc_id = 6");
    must_run(lab_db, "insert into " TARGET " select 9000, read_token, content_hash, embedding from " TARGET
                     " where doc_id = 10");
    for (int round = 0; round < 2; round++) { /* the second one finds everything in the change log */
        cr_assert_eq(lab_verify("docs-1", 0), EXIT_GATE);
        expect_figures(LAB_DOCUMENTS - 6, 4, 2, 1, 0, 7);
        cr_assert_eq(must_read_int64(lab_db, "select count(*) as v from reembed_data.docs_changes"), 7);
    }
    cr_assert(lab_is_null("sample"));
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_verify("docs-1", LAB_DOCUMENTS), EXIT_DONE, "%s", lab_err.message);
    expect_figures(LAB_DOCUMENTS, 0, 0, 0, 0, 0);
}

Test(verify, another_vector_than_the_models_shows_in_the_sample_and_a_vector_without_direction_without_one)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "update " TARGET " set embedding = (select embedding from " TARGET
                     " where doc_id = 31) where doc_id = 30");
    cr_assert_eq(lab_verify("docs-1", 0), EXIT_DONE);
    cr_assert_eq(lab_verify("docs-1", LAB_DOCUMENTS), EXIT_GATE);
    cr_assert_eq((int)lab_number("sample.differing"), 1);
    cr_assert_lt(lab_number("sample.min_cosine"), 0.9999);

    must_run(lab_db, "update " TARGET " set embedding = array_fill(0, array[48])::real[]::vector where doc_id = 40");
    cr_assert_eq(lab_verify("docs-1", 0), EXIT_GATE);
    cr_assert_eq((int)lab_number("unusable"), 1);
}

Test(verify, failures_of_the_present_content_are_excused_those_of_an_older_one_are_not)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "delete from " TARGET " where doc_id in (7, 8, 9)");
    must_run(
        lab_db,
        "insert into reembed.failure (migration, space_id, doc_id, content_hash, kind, reason) "
        "select m.number, m.target_space, d.id::text, case when d.id = 9 then md5('older')::uuid else md5(d.body)::uuid end, "
        "case when d.id = 7 then 'skipped' else 'failed' end, 'permanent_api_error' "
        "from reembed.migration m, public.docs d where d.id in (7, 8, 9)");
    cr_assert_eq(lab_verify("docs-1", 0), EXIT_GATE);
    expect_figures(LAB_DOCUMENTS - 3, 1, 0, 0, 2, 1);
    must_run(lab_db, "update reembed.failure set content_hash = null where doc_id = '9'");
    must_run(lab_db, "delete from reembed_data.docs_changes");
    cr_assert_eq(lab_verify("docs-1", 0), EXIT_DONE, "%s", lab_err.message);
    expect_figures(LAB_DOCUMENTS - 3, 0, 0, 0, 3, 0);
}

/* Otherwise a look at a young backfill would put every document that is still to come into the change log. */
Test(verify, queues_nothing_before_the_backfill_is_over)
{
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "update reembed.migration set state = 'in_progress', cut_done = false");
    must_run(lab_db, "delete from " TARGET " where doc_id > 100");
    cr_assert_eq(lab_verify("docs-1", 0), EXIT_GATE);
    expect_figures(100, LAB_DOCUMENTS - 100, 0, 0, 0, 0);
    cr_assert_eq(must_read_int64(lab_db, "select count(*) as v from reembed_data.docs_changes"), 0);
    must_run(lab_db, "update reembed.migration set cut_done = true");
    cr_assert_eq(lab_verify("docs-1", 0), EXIT_GATE);
    expect_figures(100, LAB_DOCUMENTS - 100, 0, 0, 0, LAB_DOCUMENTS - 100);
}

Test(verify, refuses_unknown_ids_and_a_sample_without_the_targets_provider)
{
    cr_assert_eq(lab_verify("docs-1", 0), EXIT_USAGE, "no schema yet");
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    cr_assert_eq(lab_verify("docs-2", 0), EXIT_USAGE);
    cr_assert_not_null(strstr(lab_err.message, "docs-2"));

    struct verify_options options = {
        .common = {.database_url = lab_database.url}, .migration_id = "docs-1", .sample = 5};
    cJSON *report = NULL;
    cr_assert_eq(verify_command(&options, &report, &lab_err), EXIT_USAGE);
    cr_assert_not_null(strstr(lab_err.hint, "--file"));
    lab_write_file("hash-48", "hash-47");
    cr_assert_eq(lab_verify("docs-1", 5), EXIT_USAGE);
}

Test(verify, walks_more_than_one_window_of_text_ids)
{
    must_run(lab_db, "drop table public.docs");
    must_run(lab_db, "create table public.docs (id text primary key, body text, embedding vector(32))");
    must_run(lab_db, "insert into public.docs select md5(i::text), 'text ' || i from generate_series(1, 45000) i");
    cr_assert_eq(lab_run(), EXIT_DONE, "%s", lab_err.message);
    must_run(lab_db, "update " TARGET " set embedding = array_fill(0, array[48])::real[]::vector "
                     "where doc_id in ((select min(doc_id) from " TARGET "), (select max(doc_id) from " TARGET "))");
    cr_assert_eq(lab_verify("docs-1", 250), EXIT_GATE);
    cr_assert_eq((int)lab_number("unusable"), 2);
    cr_assert_eq((int)lab_number("documents"), 45000);
    cr_assert_eq((int)lab_number("sample.documents"), 250);
}
