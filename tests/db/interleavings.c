/* Interleavings that chance seldom hits, forced step by step, each on the product's own statements and on a mutant of
 * them. The oracle must find nothing with the product and something with the mutant: a case that both pass proves
 * nothing.
 *
 * Four documents, A1 to A4, one chunk. "The reader" reads the chunk and writes what it read when it likes; "the drainer"
 * settles changes. What the log still holds is not held against anybody. */
#include <criterion/criterion.h>
#include <string.h>

#include "db/internal.h"
#include "tests/db/steps.h"
#include "tests/db/support.h"

#define TABLE "reembed_data.docs__bge_base"

static struct worker worker;
static struct db *app;

static void
open_fixture(void)
{
    lab_open();
    documents(4);
    sql_run(lab, "update docs set body = 'A' || id");
    create("m", NULL);
    app = lab_connect(LAB_APPLICATION);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(interleavings, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
begin(const struct mutant *mutant)
{
    start("m");
    worker_open(&worker, lab, "m", mutant);
    cr_assert(cut(&worker, 100));
}

static void
write_document(int id, const char *body)
{
    sql_run(app, "update docs set body = '%s' where id = %d", body, id);
}

/* Wrong and orphaned vectors that nothing in the log will repair. */
static int64_t
bad(void)
{
    struct verdict found = check(&worker, "body", "true", true);
    return found.wrong + found.orphaned;
}

/* Both sides of a case: `scenario` returns how much is bad. */
#define CASE(scenario, mutant)                                                                                         \
    static int64_t scenario(void);                                                                                     \
    Test(interleavings, scenario)                                                                                      \
    {                                                                                                                  \
        begin(NULL);                                                                                                   \
        cr_assert_eq(scenario(), 0);                                                                                   \
    }                                                                                                                  \
    Test(interleavings, scenario##_mutant)                                                                             \
    {                                                                                                                  \
        begin(&(mutant));                                                                                              \
        cr_assert_geq(scenario(), 1, "'%s' was not noticed", (mutant).name);                                           \
    }                                                                                                                  \
    static int64_t scenario(void)

struct pass {
    struct drainer drainer;
    struct changes changes;
    struct reading reading;
};

static void
pass_list(struct pass *pass)
{
    cr_assert(drain_claim(&worker, TARGET, LEASE_MS, &pass->drainer));
    drain_list(&worker, TARGET, 100, &pass->changes);
}

static void
pass_read(struct pass *pass)
{
    drain_read(&worker, TARGET, &pass->changes, &pass->reading);
}

static void
pass_store(struct pass *pass)
{
    cr_assert(drain_write(&worker, TARGET, &pass->drainer, &pass->changes, &pass->reading, NULL));
    cr_assert(drain_same(&worker, TARGET, &pass->drainer, &pass->changes, &pass->reading, NULL));
}

static void
pass_end(struct pass *pass)
{
    drain_release(&worker, TARGET, &pass->drainer);
    reading_free(&pass->reading);
    changes_free(&pass->changes);
}

static void
whole_pass(void)
{
    struct pass pass;
    pass_list(&pass);
    pass_read(&pass);
    pass_store(&pass);
    pass_end(&pass);
}

/* The reader's two halves. */
struct reader {
    struct lease lease;
    struct reading reading;
};

static void
reader_reads(struct reader *reader, int64_t lease_ms)
{
    cr_assert(claim(&worker, lease_ms, &reader->lease));
    read_chunk(&worker, &reader->lease, 100, &reader->reading);
}

static bool
reader_writes(struct reader *reader)
{
    bool stored = write_chunk(&worker, &reader->lease, &reader->reading);
    reading_free(&reader->reading);
    lease_free(&reader->lease);
    return stored;
}

/* --- tokens --- */

CASE(an_edit_while_the_reader_is_out, mutant_no_token_guard)
{
    struct reader reader;
    reader_reads(&reader, LEASE_MS);
    write_document(1, "B1");
    whole_pass();
    reader_writes(&reader);
    return bad();
}

static void
insert_current_vector(void)
{
    sql_run(lab, "insert into " TABLE " values (1, 0, md5('A1')::uuid, oracle.vector_of('A1'))");
}

CASE(there_and_back_again_while_the_reader_is_out, mutant_same_leaves_token)
{
    struct reader reader;
    insert_current_vector();
    write_document(1, "B1");
    reader_reads(&reader, LEASE_MS);
    write_document(1, "A1");
    whole_pass(); /* sees A1, whose vector is there */
    reader_writes(&reader);
    return bad();
}

CASE(the_row_changes_between_the_drainers_read_and_its_raise, mutant_same_settles_all)
{
    struct reader reader;
    struct pass pass;
    insert_current_vector();
    write_document(1, "B1");
    reader_reads(&reader, LEASE_MS);
    write_document(1, "A1");
    pass_list(&pass);
    pass_read(&pass);
    reader_writes(&reader); /* B1 */
    pass_store(&pass);
    pass_end(&pass);
    return bad();
}

CASE(the_drainer_draws_its_token_after_its_list, mutant_list_without_token)
{
    struct reader reader;
    struct pass pass;
    sql_run(lab, "create table oracle_early as select nextval('reembed.token_seq') as read_token");
    reader_reads(&reader, LEASE_MS);
    write_document(1, "B1");
    pass_list(&pass);
    pass_read(&pass);
    pass_store(&pass);
    pass_end(&pass);
    reader_writes(&reader);
    return bad();
}

/* --- tombstones --- */

CASE(a_delete_while_the_reader_is_out, mutant_no_tombstone)
{
    struct reader reader;
    reader_reads(&reader, LEASE_MS);
    sql_run(app, "delete from docs where id = 1");
    whole_pass();
    reader_writes(&reader);
    return bad();
}

CASE(a_purge_while_a_lease_has_run_out_but_its_owner_still_writes, mutant_purge_by_clock)
{
    struct reader reader;
    struct pass pass;
    reader_reads(&reader, EXPIRED_MS);
    sql_run(app, "delete from docs where id = 1");
    pass_list(&pass);
    pass_read(&pass);
    pass_store(&pass);
    purge(&worker, &pass.drainer, 100);
    pass_end(&pass);
    reader_writes(&reader);
    return bad();
}

/* Tombstones do go: a lease that is newer than they are does not hold them. */
Test(interleavings, a_purge_with_newer_leases_only)
{
    struct reader old, new;
    struct pass pass;
    begin(NULL);
    reader_reads(&old, LEASE_MS);
    sql_run(app, "delete from docs where id = 1");
    pass_list(&pass);
    pass_read(&pass);
    pass_store(&pass);
    cr_assert_eq(purge(&worker, &pass.drainer, 100), 0, "an older lease is out");
    cr_assert(release(&worker, &old.lease));
    reader_reads(&new, LEASE_MS);
    cr_assert_eq(purge(&worker, &pass.drainer, 100), 1);
    pass_end(&pass);
    cr_assert_not(reader_writes(&old), "the old lease is fenced");
    cr_assert(reader_writes(&new));
    cr_assert_eq(bad(), 0);
    expect_current(&worker, "body", "true");
}

/* --- fences --- */

static int64_t
counted_too_often(void)
{
    return sql_int(lab, "select processed from reembed.progress") - 4;
}

CASE(two_readers_of_one_chunk, mutant_no_fence)
{
    struct reader slow, quick;
    reader_reads(&slow, EXPIRED_MS);
    reader_reads(&quick, LEASE_MS);
    cr_assert(reader_writes(&quick));
    reader_writes(&slow);
    return counted_too_often();
}

CASE(a_commit_whose_answer_was_lost_is_sent_again, mutant_cursor_not_checked)
{
    struct lease lease, again;
    struct reading reading;
    cr_assert(claim(&worker, LEASE_MS, &lease));
    read_chunk(&worker, &lease, 3, &reading);
    cr_assert_not(reading.last);
    again = lease;
    cr_assert(write_chunk(&worker, &lease, &reading));
    write_chunk(&worker, &again, &reading);
    reading_free(&reading);
    read_chunk(&worker, &lease, 100, &reading);
    cr_assert(write_chunk(&worker, &lease, &reading));
    reading_free(&reading);
    lease_free(&lease);
    return counted_too_often();
}

/* While a write has not committed, nobody can claim its chunk, however long ago the lease ran out. */
Test(interleavings, a_write_that_stalls_before_its_commit_keeps_its_chunk)
{
    struct reader slow;
    struct lease other;
    struct worker rival;
    struct err err = ERR_INIT;
    begin(NULL);
    worker_open(&rival, lab_connect(LAB_OWNER), "m", NULL);
    reader_reads(&slow, EXPIRED_MS);
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    slow.reading.last = false;
    cr_assert(write_chunk(&worker, &slow.lease, &slow.reading));
    cr_assert_not(claim(&rival, LEASE_MS, &other), "the chunk of an uncommitted write was claimed");
    cr_assert_eq(db_commit(lab, &err), RC_OK);
    cr_assert_not(claim(&rival, LEASE_MS, &other), "the write renewed its lease");
    reading_free(&slow.reading);
    lease_free(&slow.lease);
    worker_close(&rival);
}

Test(interleavings, a_claim_that_is_under_way_fences_the_owner_before)
{
    struct reader slow;
    struct lease other;
    struct worker rival;
    struct err err = ERR_INIT;
    begin(NULL);
    worker_open(&rival, lab_connect(LAB_OWNER), "m", NULL);
    reader_reads(&slow, EXPIRED_MS);
    cr_assert_eq(db_begin(rival.db, &err), RC_OK);
    cr_assert(claim(&rival, LEASE_MS, &other));
    cr_assert_eq(db_commit(rival.db, &err), RC_OK);
    cr_assert_not(renew(&worker, &slow.lease, LEASE_MS));
    cr_assert_not(release(&worker, &slow.lease));
    cr_assert_not(reader_writes(&slow));
    expect_rows(lab, "0", "select count(*) from " TABLE);
    lease_free(&other);
    worker_close(&rival);
}

/* A drainer that was taken over: its counters and its vectors are refused. */
CASE(two_drainers_of_one_space, mutant_no_drain_fence)
{
    struct pass slow, quick;
    write_document(1, "B1");
    cr_assert(drain_claim(&worker, TARGET, EXPIRED_MS, &slow.drainer));
    drain_list(&worker, TARGET, 100, &slow.changes);
    pass_read(&slow);
    pass_list(&quick);
    pass_read(&quick);
    pass_store(&quick);
    drain_write(&worker, TARGET, &slow.drainer, &slow.changes, &slow.reading, NULL);
    pass_end(&quick);
    pass_end(&slow);
    return sql_int(lab, "select changes_applied from reembed.progress") - 1;
}

Test(interleavings, a_drainers_lease_is_not_shared)
{
    struct drainer first, second;
    begin(NULL);
    cr_assert(drain_claim(&worker, TARGET, LEASE_MS, &first));
    cr_assert_not(drain_claim(&worker, TARGET, LEASE_MS, &second));
    drain_release(&worker, TARGET, &first);
    cr_assert(drain_claim(&worker, TARGET, EXPIRED_MS, &second));
    cr_assert(drain_claim(&worker, TARGET, LEASE_MS, &first));
}

/* --- the log --- */

CASE(a_smaller_number_becomes_visible_later, mutant_settles_up_to_last)
{
    struct pass pass;
    struct err err = ERR_INIT;
    struct db *late = lab_connect(LAB_APPLICATION);
    backfill(&worker, INT64_MAX);
    cr_assert_eq(db_begin(late, &err), RC_OK);
    sql_run(late, "update docs set body = 'B1' where id = 1");
    write_document(2, "B2");
    pass_list(&pass);
    cr_assert_eq(pass.changes.count, 1);
    pass_read(&pass);
    cr_assert_eq(db_commit(late, &err), RC_OK);
    pass_store(&pass);
    pass_end(&pass);
    return bad();
}

CASE(a_truncate_while_the_reader_is_out, mutant_no_kick)
{
    struct reader reader;
    struct pass pass;
    reader_reads(&reader, LEASE_MS);
    sql_run(app, "truncate docs");
    pass_list(&pass);
    cr_assert(pass.changes.truncated);
    truncate_kick(&worker);
    truncate_expand(&worker, TARGET, &pass.drainer, &pass.changes);
    changes_free(&pass.changes);
    drain_release(&worker, TARGET, &pass.drainer);
    whole_pass();
    reader_writes(&reader);
    return bad();
}

/* --- the order of steps: the protocol, not a statement, is what the mutant breaks --- */

#define PROTOCOL(name, right, broken)                                                                                  \
    Test(interleavings, name)                                                                                          \
    {                                                                                                                  \
        begin(NULL);                                                                                                   \
        cr_assert_eq(right, 0);                                                                                        \
    }                                                                                                                  \
    Test(interleavings, name##_mutant)                                                                                 \
    {                                                                                                                  \
        begin(NULL);                                                                                                   \
        cr_assert_geq(broken, 1);                                                                                      \
    }

/* Claim and read in one transaction: under READ COMMITTED each has a snapshot of its own, under REPEATABLE READ the read
 * is older than the token. */
static int64_t
claim_and_read_in_one_transaction(const char *level)
{
    struct reader reader;
    struct err err = ERR_INIT;
    struct db *other = lab_connect(LAB_OWNER);
    cr_assert_eq(db_run(lab, GROUP_BARE, lab_printf("begin isolation level %s", level), NULL, 1, 10000, NULL, &err),
                 RC_OK);
    sql_text(lab, "select count(*) from docs");
    write_document(1, "B1"); /* changed and settled by others meanwhile */
    sql_run(other,
            "insert into " TABLE " values (1, nextval('reembed.token_seq'), md5('B1')::uuid, oracle.vector_of('B1')); "
            "delete from reembed_data.docs_changes");
    reader_reads(&reader, LEASE_MS);
    cr_assert_eq(db_commit(lab, &err), RC_OK);
    reader_writes(&reader);
    return bad();
}

PROTOCOL(claim_and_read_each_have_their_own_snapshot, claim_and_read_in_one_transaction("read committed"),
         claim_and_read_in_one_transaction("repeatable read"))

static int64_t
token_drawn(bool after_the_read)
{
    struct reader reader;
    reader_reads(&reader, LEASE_MS);
    write_document(1, "B1");
    whole_pass();
    if (after_the_read)
        reader.lease.epoch =
            sql_int(lab, "update reembed.chunk set epoch = nextval('reembed.token_seq') returning epoch");
    reader_writes(&reader);
    return bad();
}

PROTOCOL(the_token_is_drawn_before_the_read, token_drawn(false), token_drawn(true))

/* --- capture --- */

static struct verdict
everything_after(void)
{
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
    return check(&worker, "body", "true", true);
}

Test(interleavings, changes_are_captured)
{
    struct reader reader;
    begin(NULL);
    reader_reads(&reader, LEASE_MS);
    sql_run(
        app,
        "update docs set body = 'B1' where id = 1; delete from docs where id = 2; insert into docs values (5, 'A5')");
    cr_assert(reader_writes(&reader));
    struct verdict found = everything_after();
    cr_assert(found.wrong == 0 && found.missing == 0 && found.orphaned == 0);
}

Test(interleavings, changes_are_captured_mutant)
{
    struct reader reader;
    begin(NULL);
    sql_run(lab, "alter table docs disable trigger user");
    reader_reads(&reader, LEASE_MS);
    sql_run(
        app,
        "update docs set body = 'B1' where id = 1; delete from docs where id = 2; insert into docs values (5, 'A5')");
    cr_assert(reader_writes(&reader));
    struct verdict found = everything_after();
    cr_assert(found.wrong == 1 && found.missing == 1 && found.orphaned == 1);
}

/* A document that is inserted after the bound was read and before the triggers stand is in neither. */
static int64_t
bound_read(bool before_capture)
{
    sql_text(lab, "select reembed.start('m')");
    if (before_capture) {
        sql_run(lab, "update reembed.collection set captured = array[(select target_space from reembed.migration)]");
        sql_text(lab, "select reembed.count_documents('m')");
        sql_run(lab, "update reembed.collection set captured = '{}'");
    }
    sql_run(app, "insert into docs values (5, 'A5')");
    capture("docs");
    sql_text(lab, "select reembed.count_documents('m')");
    worker_open(&worker, lab, "m", NULL);
    return everything_after().missing;
}

Test(interleavings, the_bound_is_read_after_capture_stands)
{
    cr_assert_eq(bound_read(false), 0);
}

Test(interleavings, the_bound_is_read_after_capture_stands_mutant)
{
    cr_assert_eq(bound_read(true), 1);
}

/* --- operations of people, while a reader is out --- */

static int64_t
skip_while_the_reader_is_out(void)
{
    struct reader reader;
    reader_reads(&reader, LEASE_MS);
    sql_text(lab, "select reembed.skip('m', '{3}', 'not needed')");
    reader_writes(&reader);
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
    return sql_int(
        lab, "select abs(processed - 3) + abs(skipped - 1) + abs(total - 4) + abs(pending) from reembed.progress");
}

Test(interleavings, a_skip_while_the_reader_is_out)
{
    begin(NULL);
    cr_assert_eq(skip_while_the_reader_is_out(), 0);
}

Test(interleavings, a_skip_while_the_reader_is_out_mutant)
{
    begin(NULL);
    mutate_function("reembed.skip", "UPDATE reembed.chunk k SET state = 0, owner = NULL, lease_until = NULL\n    WHERE",
                    "UPDATE reembed.chunk k SET state = k.state\n    WHERE false AND");
    cr_assert_geq(skip_while_the_reader_is_out(), 1);
}

/* An operation holds the migration's row and then wants failures; a drainer that takes a failed document off the books
 * wants both, too. In another order each would wait for the other. */
Test(interleavings, a_retry_while_the_drainer_settles_a_failed_document_that_is_gone)
{
    struct pass pass;
    struct err err = ERR_INIT;
    struct db *person = lab_connect(LAB_OWNER), *waiting = lab_connect(LAB_OWNER);
    struct worker other;
    sql_run(lab, "update docs set body = 'BAD' where id = 1");
    begin(NULL);
    backfill(&worker, INT64_MAX);
    sql_run(app, "delete from docs where id = 1");
    pass_list(&pass);
    pass_read(&pass);

    worker_open(&other, waiting, "m", NULL);
    cr_assert_eq(db_begin(person, &err), RC_OK);
    sql_text(person, "select (reembed.lock_migration('m')).number"); /* where every operation begins */
    drain_write_send(&other, &pass.drainer, &pass.changes, &pass.reading);
    sql_await_lock(waiting);
    sql_text(person,
             "select 1 from reembed.failure where doc_id = '1' for update"); /* and where retry and skip go on */
    cr_assert_eq(db_commit(person, &err), RC_OK);
    cr_assert_eq(sql_receive(waiting, &err), RC_OK, "%s", err.message);
    pass_end(&pass);
    expect_rows(lab, "3|3|0", "select total, processed, failed from reembed.progress");
    worker_close(&other);
}

/* A person skips a document while the drainer finds out that it can't be embedded: the person's word stands. */
Test(interleavings, a_skip_while_the_drainer_fails_the_document)
{
    struct pass pass;
    begin(NULL);
    backfill(&worker, INT64_MAX);
    write_document(1, "BAD");
    pass_list(&pass);
    pass_read(&pass);
    sql_text(lab, "select reembed.skip('m', '{1}', 'not needed')");
    pass_store(&pass);
    pass_end(&pass);
    expect_rows(lab, "1|skipped|manual_skip|not needed", "select doc_id, kind, reason, detail from reembed.failures");
    expect_rows(lab, "0", "select count(*) from reembed_data.docs_changes");
    cr_assert_eq(bad(), 0);
}

/* Documents that are tried again stand neither in failures nor in the target: it is not complete without them. */
Test(interleavings, a_retry_while_the_last_sweep_comes_to_its_end)
{
    sql_run(lab, "update docs set body = 'BAD' where id = 1");
    begin(NULL);
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
    sql_text(lab, "select reembed.cutover('m', true)");
    sql_text(lab, "select reembed.retry('m', null)");
    sql_run(lab, "update reembed.migration set sweep_clean = true"); /* the sweep's last word */
    expect_error(lab, "RE001", "invalid migration transition from in_progress to completed",
                 "select reembed.complete('m')");
    drain(&worker, TARGET);
    sql_text(lab, "select reembed.complete('m')");
    expect_rows(lab, "1|failed", "select doc_id, kind from reembed.failures");
}
