#include "tests/db/mutants/mutants.h"

#include <stdlib.h>
#include <string.h>

#include "tests/db/support.h"

const struct mutant mutant_no_fence = {
    .name = "the write does not ask whose lease it is",
    .rule = "fence, vectors, counters and cursor are one statement",
    .statement = CHUNK_WRITE,
    .from =
        "WHERE migration = $1 AND no = $2 AND owner = $3 AND epoch = $4 AND state = 1 AND cursor IS NOT DISTINCT FROM "
        "($5::{id_type})::text",
    .to = "WHERE migration = $1 AND no = $2 AND $3::uuid IS NOT NULL AND $4::bigint IS NOT NULL AND ($5::{id_type} IS "
          "NULL OR true)",
};

const struct mutant mutant_cursor_not_checked = {
    .name = "the write does not ask where the cursor was",
    .rule = "a commit that is repeated must fail",
    .statement = CHUNK_WRITE,
    .from = "AND cursor IS NOT DISTINCT FROM ($5::{id_type})::text",
    .to = "AND ($5::{id_type} IS NULL OR true)",
};

const struct mutant mutant_no_token_guard = {
    .name = "the chunk's write takes the place of whatever is there",
    .rule = "the newer read wins",
    .statement = CHUNK_WRITE,
    .from = "WHERE t.read_token < excluded.read_token",
    .to = "WHERE true",
};

const struct mutant mutant_no_drain_fence = {
    .name = "the drainer does not ask whose lease it is",
    .rule = "one drainer a space",
    .statement = DRAIN_WRITE,
    .from = "WHERE space_id = $1 AND owner = $2 AND epoch = $3 AND",
    .to = "WHERE space_id = $1 AND $2::uuid IS NOT NULL AND $3::bigint IS NOT NULL AND",
};

const struct mutant mutant_no_tombstone = {
    .name = "the vector of a deleted document is deleted, nothing is left in its place",
    .rule = "a document that is gone leaves a tombstone",
    .statement = DRAIN_WRITE,
    .from =
        "w AS (\n"
        "  INSERT INTO {target} AS t (doc_id, read_token, content_hash, embedding)\n"
        "  SELECT u.id, $5, u.h, u.v FROM fence, unnest($7::{id_type}[], $8::uuid[], $9::{vector}[]) AS u(id, h, v) ORDER BY u.id",
    .to = "buried AS (DELETE FROM {target} t USING fence, unnest($7::{id_type}[], $8::uuid[]) AS u(id, h)\n"
          "  WHERE t.doc_id = u.id AND u.h IS NULL),\n"
          "settled AS (DELETE FROM {changes} c USING fence, unnest($7::{id_type}[], $8::uuid[]) AS u(id, h)\n"
          "  WHERE c.space_id = $1 AND c.seq = ANY ($6::bigint[]) AND c.doc_id = u.id AND u.h IS NULL),\n"
          "w AS (\n"
          "  INSERT INTO {target} AS t (doc_id, read_token, content_hash, embedding)\n"
          "  SELECT u.id, $5, u.h, u.v FROM fence, unnest($7::{id_type}[], $8::uuid[], $9::{vector}[]) AS u(id, h, v)\n"
          "  WHERE u.h IS NOT NULL ORDER BY u.id",
};

const struct mutant mutant_same_leaves_token = {
    .name = "an equal hash is settled without raising the token",
    .rule = "the newer read wins also when it saw the same",
    .statement = DRAIN_SAME,
    .from =
        "UPDATE {target} t SET read_token = $5 FROM lk\n"
        "  WHERE t.doc_id = ANY ($7::{id_type}[]) AND t.doc_id = lk.doc_id AND t.content_hash = lk.h AND t.read_token < $5 "
        "RETURNING t.doc_id",
    .to = "SELECT t.doc_id FROM {target} t JOIN lk USING (doc_id) WHERE t.content_hash = lk.h AND $5::bigint > 0",
};

const struct mutant mutant_same_settles_all = {
    .name = "a change is settled although its row changed in between",
    .rule = "changes are settled only for rows that this very statement raised",
    .statement = DRAIN_SAME,
    .from = "AND (c.doc_id IN (SELECT w.doc_id FROM w)) IS TRUE RETURNING 1)",
    .to = "AND c.doc_id = ANY ($7::{id_type}[]) AND EXISTS (SELECT 1 FROM fence) RETURNING 1)",
};

const struct mutant mutant_settles_up_to_last = {
    .name = "every change up to the last number is settled",
    .rule = "changes are settled by exact number: a smaller one may become visible later",
    .statement = DRAIN_WRITE,
    .from = "c.seq = ANY ($6::bigint[]) AND (c.doc_id IN (SELECT w.doc_id FROM w)) IS TRUE RETURNING 1)",
    .to = "c.seq <= (SELECT max(n) FROM unnest($6::bigint[]) n) AND EXISTS (SELECT 1 FROM w) RETURNING 1)",
};

const struct mutant mutant_list_without_token = {
    .name = "the drainer's token is the last one that anybody drew before the list",
    .rule = "the drainer's token is drawn after the snapshot of its list",
    .statement = DRAIN_LIST,
    .from = "(SELECT nextval('reembed.token_seq')) AS token",
    .to = "(SELECT min(read_token) FROM oracle_early) AS token",
};

const struct mutant mutant_purge_by_clock = {
    .name = "a lease that has run out does not hold tombstones back",
    .rule = "by state: an owner whose lease has run out may still write",
    .statement = PURGE,
    .from = "WHERE migration = $1 AND state = 1)",
    .to = "WHERE migration = $1 AND state = 1 AND lease_until > clock_timestamp())",
};

const struct mutant mutant_no_kick = {
    .name = "a TRUNCATE leaves the leases alone",
    .rule = "what was read before a TRUNCATE must not be written after it",
    .statement = TRUNCATE_KICK,
    .from = "WHERE migration = $1 AND state = 1",
    .to = "WHERE migration = $1 AND state = 1 AND false",
};

static char *
replace_once(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (at == NULL || strstr(at + 1, from) != NULL)
        return NULL;
    size_t before = (size_t)(at - text), removed = strlen(from), added = strlen(to);
    size_t length = strlen(text) - removed + added;
    char *edited = malloc(length + 1);
    if (edited == NULL)
        return NULL;
    memcpy(edited, text, before);
    memcpy(edited + before, to, added);
    memcpy(edited + before + added, at + removed, length - before - added + 1);
    return edited;
}

char *
mutant_apply(const struct mutant *mutant, enum statement statement, const char *text)
{
    if (mutant == NULL || mutant->statement != statement)
        return strdup(text);
    return replace_once(text, mutant->from, mutant->to);
}

void
mutate_function(const char *name, const char *from, const char *to)
{
    char *edited = replace_once(sql_text(lab, "select pg_get_functiondef('%s'::regproc)", name), from, to);
    if (edited == NULL)
        lab_fail("the mutant of %s does not apply any more: %s", name, from);
    sql_run(lab, "%s", edited);
    free(edited);
}
