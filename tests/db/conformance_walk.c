/* A random walk over everything that workers, drainers, people and the application can do, in any order, with leases
 * that run out and processes that vanish. After each single step the figures add up; at the end everything is settled
 * and the oracle finds nothing.
 *
 * The seed is printed. REEMBED_TEST_SEED=n walks that seed alone; REEMBED_TEST_STEPS sets how far. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "tests/db/steps.h"
#include "tests/db/support.h"

enum { READERS = 3, DOCUMENTS = 90, MAX_ID = 1200, BOUND = 2 * DOCUMENTS, STEPS = 500 };

struct reader {
    bool leased;
    bool read;
    struct lease lease;
    struct reading reading;
};

static struct worker worker;
static struct reader readers[READERS];
static struct {
    bool claimed, listed, read;
    struct drainer drainer;
    struct changes changes;
    struct reading reading;
} drainer;

/* What the test knows of each document. */
static struct {
    bool exists;
    bool passed;
    bool failed; /* its chunk was written without a vector for it, and nothing has healed it since */
    bool listed; /* stands in reembed.failure */
} world[MAX_ID + 1];
static int64_t passed;  /* documents that chunk writes carried */
static bool may_delete; /* this walk deletes and inserts */
static uint64_t seed, state;
static int step;
static int last_skipped;
static const char *what = "";

static void
open_fixture(void)
{
    lab_open();
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(walk, .init = open_fixture, .fini = close_fixture, .timeout = 280);

static uint32_t
next(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 11) % below);
}

/* --- figures --- */

static void
check_figures(void)
{
    const char *rows = sql_rows(
        lab,
        "select total, processed, skipped, failed, pending, in_flight, effective_total, progress, effective_coverage "
        "from reembed.progress where not coalesce(total = processed + skipped + failed + pending and in_flight <= pending "
        "and processed >= 0 and skipped >= 0 and failed >= 0 and pending >= 0 and in_flight >= 0 "
        "and effective_total = total - skipped and progress between 0 and 1 and effective_coverage between 0 and 1, false)");
    cr_assert_str_eq(rows, "", "seed %" PRIu64 " step %d (%s): %s", seed, step, what, rows);
    if (!may_delete)
        cr_assert_eq(sql_int(lab, "select total from reembed.progress"), DOCUMENTS, "seed %" PRIu64 " step %d (%s)",
                     seed, step, what);
}

/* Failed and skipped documents count from the moment the backfill met them, or was told not to. */
static void
check_failures(void)
{
    PGresult *rows = NULL;
    struct err err = ERR_INIT;
    int64_t counted = 0;
    if (db_exec(lab, "select doc_id::int8 as id, seen, ahead, retrying from reembed.failure", NULL, &rows, &err) !=
        RC_OK)
        lab_fail("%s", err.message);
    for (int id = 0; id <= MAX_ID; id++)
        world[id].listed = false;
    for (int row = 0; row < result_rows(rows); row++) {
        int64_t id = result_int64(rows, row, "id");
        bool seen = result_bool(rows, row, "seen"), ahead = result_bool(rows, row, "ahead");
        world[id].listed = true;
        cr_assert_eq(seen, world[id].failed, "seed %" PRIu64 " step %d (%s): document %" PRId64 " was %smet", seed,
                     step, what, id, world[id].failed ? "" : "not ");
        cr_assert_not(ahead && world[id].passed,
                      "seed %" PRIu64 " step %d (%s): document %" PRId64 " is not ahead any more", seed, step, what,
                      id);
        counted += (seen || ahead) && !result_bool(rows, row, "retrying");
    }
    PQclear(rows);
    for (int id = 0; id <= MAX_ID; id++)
        world[id].failed = world[id].failed && world[id].listed;
    cr_assert_eq(sql_int(lab, "select skipped + failed from reembed.progress"), counted,
                 "seed %" PRIu64 " step %d (%s)", seed, step, what);
}

/* --- readers --- */

static void
forget_reading(struct reader *reader)
{
    if (reader->read)
        reading_free(&reader->reading);
    reader->read = false;
}

static void
forget_lease(struct reader *reader)
{
    forget_reading(reader);
    if (reader->leased)
        lease_free(&reader->lease);
    reader->leased = false;
}

static void
mark_passed(const struct reading *reading)
{
    for (int row = 0; row < reading->count; row++) {
        uint64_t wire;
        memcpy(&wire, PQgetvalue(reading->rows, row, PQfnumber(reading->rows, "id")), sizeof wire);
        int64_t id = (int64_t)__builtin_bswap64(wire);
        cr_assert_not(world[id].passed, "document %" PRId64 " was stored twice", id);
        world[id].passed = true;
        passed++;
        const char *body = result_string(reading->rows, row, "body");
        int64_t work = result_int64(reading->rows, row, "work");
        world[id].failed = (work == 2 && world[id].listed) ||
                           (work == 1 && (body == NULL || body[0] == '\0' || strstr(body, "BAD") != NULL));
    }
}

static void
reader_step(struct reader *reader)
{
    if (!reader->leased) {
        what = "claim";
        reader->leased = claim(&worker, next(4) == 0 ? EXPIRED_MS : LEASE_MS, &reader->lease);
        return;
    }
    switch (next(reader->read ? 8 : 4)) {
    case 0:
        what = "release";
        release(&worker, &reader->lease);
        forget_lease(reader);
        break;
    case 1:
        what = "renew";
        if (!renew(&worker, &reader->lease, next(3) == 0 ? EXPIRED_MS : LEASE_MS))
            forget_lease(reader);
        break;
    case 2:
        what = "a process vanishes";
        sql_run(lab,
                "update reembed.chunk set lease_until = clock_timestamp() - interval '1 second' where no = %" PRId64,
                reader->lease.no);
        forget_lease(reader);
        break;
    case 3:
        what = "read";
        forget_reading(reader);
        read_chunk(&worker, &reader->lease, 1 + (int)next(9), &reader->reading);
        reader->read = true;
        break;
    default:
        what = "write";
        if (!write_chunk(&worker, &reader->lease, &reader->reading)) {
            forget_lease(reader);
            break;
        }
        mark_passed(&reader->reading);
        if (reader->lease.finished)
            forget_lease(reader);
        else
            forget_reading(reader);
    }
}

/* --- the drainer --- */

static void
forget_pass(void)
{
    if (drainer.read)
        reading_free(&drainer.reading);
    if (drainer.listed)
        changes_free(&drainer.changes);
    drainer.read = drainer.listed = false;
}

static void
drainer_step(void)
{
    if (!drainer.claimed || next(12) == 0) {
        what = "drain: claim";
        forget_pass();
        sql_run(lab, "update reembed.drain set lease_until = clock_timestamp() - interval '1 second'");
        cr_assert(drain_claim(&worker, TARGET, LEASE_MS, &drainer.drainer));
        drainer.claimed = true;
    } else if (!drainer.listed) {
        what = "drain: list";
        drain_list(&worker, TARGET, 1 + (int)next(20), &drainer.changes);
        drainer.listed = true;
        if (drainer.changes.truncated) {
            truncate_kick(&worker);
            truncate_expand(&worker, TARGET, &drainer.drainer, &drainer.changes);
        }
    } else if (!drainer.read) {
        what = "drain: read";
        drain_read(&worker, TARGET, &drainer.changes, &drainer.reading);
        drainer.read = true;
    } else if (next(2) == 0) {
        what = "drain: write";
        drain_write(&worker, TARGET, &drainer.drainer, &drainer.changes, &drainer.reading, NULL);
        if (next(3) > 0)
            drain_same(&worker, TARGET, &drainer.drainer, &drainer.changes, &drainer.reading, NULL);
        forget_pass();
    } else {
        what = "drain: same";
        drain_same(&worker, TARGET, &drainer.drainer, &drainer.changes, &drainer.reading, NULL);
        forget_pass();
    }
}

/* --- the application --- */

static int
some_document(void)
{
    int id = 1 + (int)next(BOUND);
    for (int tries = 0; tries < BOUND && !world[id].exists; tries++)
        id = id % BOUND + 1;
    return id;
}

static int
unused_id(void)
{
    int id = 1 + (int)next(MAX_ID);
    static bool used[MAX_ID + 1];
    while (used[id] || (id <= BOUND && id % 2 == 0))
        id = id % MAX_ID + 1;
    used[id] = true;
    return id;
}

static const char *
some_body(void)
{
    static const char *const bodies[] = {"same", "BAD luck", "", "text", "another text"};
    return bodies[next(sizeof bodies / sizeof *bodies)];
}

static void
application_step(void)
{
    int id = last_skipped > 0 && world[last_skipped].exists && next(3) == 0 ? last_skipped : some_document(), other;
    switch (next(may_delete ? 8 : 4)) {
    case 0:
    case 1:
    case 2:
        what = "edit";
        sql_run(lab, "update docs set body = '%s' || %u where id = %d", some_body(), next(2) ? 0 : next(1000), id);
        break;
    case 3:
        what = "empty";
        sql_run(lab, "update docs set body = %s where id = %d", next(2) ? "null" : "''", id);
        break;
    case 4:
        what = "delete";
        sql_run(lab, "delete from docs where id = %d", id);
        world[id].exists = false;
        break;
    case 5:
        other = unused_id();
        what = "insert";
        sql_run(lab, "insert into docs values (%d, '%s')", other, some_body());
        world[other].exists = true;
        break;
    case 6:
        other = unused_id();
        what = "new key";
        sql_run(lab, "update docs set id = %d where id = %d", other, id);
        world[other].exists = world[id].exists;
        world[id].exists = false;
        break;
    default:
        what = "truncate";
        if (next(25) > 0)
            break;
        sql_run(lab, "truncate docs");
        for (int i = 0; i <= MAX_ID; i++)
            world[i].exists = false;
    }
}

/* --- people --- */

static void
people_step(void)
{
    switch (next(9)) {
    case 0:
    case 1:
    case 2:
        what = "skip";
        last_skipped = some_document();
        sql_text(lab, "select reembed.skip('m', '{%d,%d,%d}', 'not needed')", last_skipped, some_document(),
                 1 + (int)next(MAX_ID));
        break;
    case 3:
        what = "retry one";
        sql_text(lab, "select reembed.retry('m', '{%d}')", some_document());
        break;
    case 4:
        what = "retry all";
        sql_text(lab, "select reembed.retry('m', null)");
        break;
    case 5:
        what = "pause";
        sql_text(lab,
                 "select case when state = 'in_progress' then reembed.pause('m', 'lunch') else reembed.resume('m') end "
                 "from reembed.migration");
        break;
    case 6:
        what = "fail";
        sql_text(lab,
                 "select case when state = 'in_progress' then reembed.fail('m', 'x') else reembed.resume('m') end from "
                 "reembed.migration");
        break;
    default:
        what = "error";
        sql_text(lab, "select reembed.record_error('m', 'timeout')");
    }
}

static void
housekeeping_step(void)
{
    switch (next(5)) {
    case 0:
        what = "cut";
        cut(&worker, 1 + (int)next(15));
        break;
    case 1:
        what = "fold";
        sql_text(lab, "select reembed.fold_chunks(%" PRId64 ")", worker.number);
        break;
    case 2:
        what = "purge";
        if (drainer.claimed)
            purge(&worker, &drainer.drainer, 100);
        break;
    case 3:
        what = "kick";
        truncate_kick(&worker);
        break;
    default:
        what = "sweep";
        sweep(&worker);
    }
}

static void
finish(void)
{
    for (int i = 0; i < READERS; i++)
        forget_lease(&readers[i]);
    forget_pass();
    what = "the end";
    sql_text(lab,
             "select case when state = 'in_progress' then '{}' else reembed.resume('m') end from reembed.migration");
    sql_run(lab, "update reembed.chunk set lease_until = clock_timestamp() - interval '1 second' where state = 1");
    sql_run(lab, "update reembed.drain set lease_until = clock_timestamp() - interval '1 second'");
    for (int64_t left = 1; left > 0;) {
        struct reader *reader = &readers[0];
        while ((reader->leased = claim(&worker, LEASE_MS, &reader->lease)) || cut(&worker, 20)) {
            if (!reader->leased)
                continue;
            do {
                read_chunk(&worker, &reader->lease, 10, &reader->reading);
                cr_assert(write_chunk(&worker, &reader->lease, &reader->reading));
                mark_passed(&reader->reading);
                reading_free(&reader->reading);
                check_figures();
            } while (!reader->lease.finished);
            lease_free(&reader->lease);
        }
        drain(&worker, TARGET);
        left = sweep(&worker);
        check_figures();
    }
    expect_current(&worker, "body", "true");
    cr_assert_eq(sql_int(lab, "select pending from reembed.progress"), 0, "seed %" PRIu64, seed);
    cr_assert_eq(
        sql_int(lab, "select total + gone from reembed.progress p join reembed.migration m using (migration_id)"),
        passed, "seed %" PRIu64 ": what the chunks carried is not what was counted", seed);
    cr_assert_eq(
        sql_int(lab, "select count(*) from reembed.failure f where f.ahead and not f.seen and exists (select from docs "
                     "where id::text = doc_id) and doc_id::int %% 2 = 0"),
        0, "seed %" PRIu64 ": skipped ahead and never met", seed);
    sql_text(lab, "select reembed.cutover('m', true)");
    sql_text(lab, "select reembed.complete('m')");
    check_figures();
}

static void
walk(uint64_t number)
{
    const char *given = getenv("REEMBED_TEST_SEED"), *far = getenv("REEMBED_TEST_STEPS");
    int steps = far != NULL ? atoi(far) : STEPS;
    seed = given != NULL ? strtoull(given, NULL, 10) : number;
    state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    may_delete = seed % 3 != 0;
    cr_log_info("seed %" PRIu64, seed);

    documents(DOCUMENTS);
    sql_run(lab, "update docs set id = -2 * id; update docs set id = -id");
    sql_run(lab, "update docs set body = case id %% 14 when 2 then 'BAD' when 4 then '' else body end");
    for (int id = 2; id <= BOUND; id += 2)
        world[id].exists = true;
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    for (step = 1; step <= steps; step++) {
        uint32_t actor = next(20);
        if (actor < 8)
            reader_step(&readers[next(READERS)]);
        else if (actor < 12)
            drainer_step();
        else if (actor < 15)
            application_step();
        else if (actor < 17)
            people_step();
        else
            housekeeping_step();
        check_figures();
        check_failures();
    }
    finish();
}

#define WALK(number)                                                                                                   \
    Test(walk, seed_##number)                                                                                          \
    {                                                                                                                  \
        walk(number);                                                                                                  \
    }
WALK(1)
WALK(2)
WALK(3)
WALK(4)
WALK(5)
WALK(6)
WALK(7)
WALK(8)
WALK(12)
