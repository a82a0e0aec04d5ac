/* Who may do what: nothing is granted to PUBLIC, readers read, operators operate, and both keep their rights through
 * migrations that are made later. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/db/steps.h"
#include "tests/db/support.h"

static struct worker worker;

static void
open_fixture(void)
{
    lab_open();
    documents(10);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(rights, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
grant(const char *role, const char *kind)
{
    sql_text(lab, "select reembed.grant_role('%s', '%s') is null", role, kind);
}

static void
begin(void)
{
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
}

/* --- PUBLIC --- */

static void
expect_nothing_for_public(void)
{
    expect_rows(lab, "",
                "select p.oid::regprocedure from pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a "
                "where pronamespace in ('reembed'::regnamespace, 'reembed_data'::regnamespace) and a.grantee = 0");
    expect_rows(lab, "",
                "select c.oid::regclass from pg_class c, aclexplode(relacl) a "
                "where relnamespace in ('reembed'::regnamespace, 'reembed_data'::regnamespace) and a.grantee = 0");
    expect_rows(lab, "",
                "select nspname from pg_namespace n, aclexplode(nspacl) a where nspname in ('reembed', 'reembed_data') "
                "and a.grantee = 0");
    expect_rows(
        lab, "",
        "select c.oid::regclass || '.' || attname from pg_attribute t join pg_class c on c.oid = attrelid, aclexplode(attacl) a "
        "where relnamespace in ('reembed'::regnamespace, 'reembed_data'::regnamespace) and a.grantee = 0");
}

Test(rights, nothing_is_granted_to_public)
{
    sql_run(lab, "create table parts (id int primary key, body text) partition by hash (id);"
                 "create table parts_0 partition of parts for values with (modulus 1, remainder 0)");
    expect_nothing_for_public();
    begin();
    create("p", &(struct plan){.collection = "parts", .table = "public.parts", .source_column = ""});
    start("p");
    expect_nothing_for_public();
    complete(&worker);
    expect_nothing_for_public();
}

Test(rights, functions_with_the_owners_rights_pin_their_search_path)
{
    begin();
    expect_rows(
        lab, "",
        "select oid::regprocedure from pg_proc where pronamespace in ('reembed'::regnamespace, 'reembed_data'::regnamespace) "
        "and prosecdef and not exists (select from unnest(proconfig) s where s ~ '^search_path=pg_catalog, (.*, )?pg_temp$')");
}

Test(rights, a_stranger_can_do_nothing)
{
    static const char *const statements[] = {
        "select * from reembed.routing",
        "select * from reembed.progress",
        "select * from reembed_data.docs_current",
        "select reembed.state_json('m')",
        "select reembed.pause('m')",
        "select reembed.route_query('docs')",
        "select reembed.grant_role('conf_stranger', 'operator')",
        "select reembed.create_migration('x', '{}', false)",
        "create table reembed_data.mine (id int)",
    };
    struct db *stranger = lab_connect(LAB_STRANGER);
    begin();
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        expect_error(stranger, "42501", "permission denied", "%s", statements[i]);
}

/* --- readers --- */

static const char *const readable[] = {
    "select * from reembed.routing",
    "select * from reembed.progress",
    "select * from reembed.gates",
    "select * from reembed.failures",
    "select * from reembed.events",
    "select * from reembed.workers",
    "select reembed.state_json('m')",
    "select reembed.routing_json('docs')",
    "select reembed.route_query('docs')",
    "select reembed.route_request('docs', true)",
    "select * from reembed_data.docs_current",
    "select * from reembed_data.docs__bge_base",
    "select * from reembed.search('docs', '[1,2,3,4]', 3)",
    "select * from reembed.search_fused('docs', '[1,2,3,4]', '[1,2,3,4]', 3)",
};
static const char *const operations[] = {
    "select reembed.pause('m', 'x')",       "select reembed.resume('m')",        "select reembed.retry('m', '{}')",
    "select reembed.skip('m', '{3}', 'x')", "select reembed.cutover('m', true)", "select reembed.rollback('m', 'x')",
    "select reembed.cancel('m', 'x')",
};
static const char *const never[] = {
    "select * from reembed.worker",
    "select * from reembed.chunk",
    "select * from reembed.grantee",
    "select * from reembed_data.docs_changes",
    "update reembed.migration set state = 'completed'",
    "insert into reembed_data.docs_changes (space_id, doc_id) values (1, 1)",
    "delete from reembed_data.docs__bge_base",
    "select reembed.start('m')",
    "select reembed.fail('m', 'x')",
    "select reembed.complete('m')",
    "select reembed.record_error('m', 'x')",
    "select reembed.install_capture('docs')",
    "select reembed.count_documents('m')",
    "select reembed.grant_role('conf_stranger', 'operator')",
    "select reembed.create_migration('x', '{}', false)",
    "select reembed.record_event('m', 'x')",
    "select * from reembed.heartbeat('00000000-0000-0000-0000-000000000001', 'm', 'h', 1, 0, 0, 0, 0, null, false)",
    "select reembed_data.docs_capture_insert()",
    "select nextval('reembed.token_seq')",
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void
may_not(struct db *db, const char *const *statements, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_error(db, "42501", "permission denied", "%s", statements[i]);
}

static void
may(struct db *db, const char *const *statements, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sql_rows(db, "%s", statements[i]);
}

Test(rights, a_reader_reads_and_searches_and_does_nothing_else)
{
    struct db *reader = lab_connect(LAB_READER);
    begin();
    grant(LAB_READER, "reader");
    may(reader, readable, COUNT(readable));
    may_not(reader, operations, COUNT(operations));
    may_not(reader, never, COUNT(never));
    expect_error(reader, "42501", "permission denied for schema reembed_data",
                 "create table reembed_data.mine (id int)");
}

Test(rights, a_reader_of_before_may_read_what_is_made_later)
{
    struct db *reader = lab_connect(LAB_READER);
    grant(LAB_READER, "reader");
    begin();
    may(reader, readable, COUNT(readable));
    complete(&worker);
    may(reader, readable, COUNT(readable));
    expect_nothing_for_public();
}

/* --- operators --- */

Test(rights, an_operator_reads_operates_and_does_nothing_else)
{
    struct db *operator= lab_connect(LAB_OPERATOR);
    grant(LAB_OPERATOR, "operator");
    begin();
    may(operator, readable, COUNT(readable));
    may_not(operator, never, COUNT(never));
    may(operator, operations, COUNT(operations));
    cr_assert_str_eq(state_of("m"), "cancelled");
    expect_rows(
        lab, "t",
        "select bool_and(actor like 'conf_operator%%') from reembed.events where event in ('pause', 'cutover', 'cancel')");
}

Test(rights, an_operator_finalizes_and_drops_the_source)
{
    struct db *operator= lab_connect(LAB_OPERATOR);
    grant(LAB_OPERATOR, "operator");
    begin();
    complete(&worker);
    sql_text(operator, "select reembed.finalize('m', now => true, drop_source => true)");
    expect_rows(lab, "stable", "select phase from reembed.routing");
}

Test(rights, an_unknown_role_is_refused)
{
    expect_error(lab, "RE010", "there is no role \"No such role\"",
                 "select reembed.grant_role('No such role', 'reader')");
    expect_rows(lab, "0", "select count(*) from reembed.grantee");
}

Test(rights, granting_twice_is_the_same_as_once)
{
    grant(LAB_OPERATOR, "operator");
    const char *before = sql_text(
        lab,
        "select string_agg(proacl::text, ',' order by oid) from pg_proc where pronamespace = 'reembed'::regnamespace");
    grant(LAB_OPERATOR, "operator");
    cr_assert_str_eq(
        sql_text(
            lab,
            "select string_agg(proacl::text, ',' order by oid) from pg_proc where pronamespace = 'reembed'::regnamespace"),
        before);
}
