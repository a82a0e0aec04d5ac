#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"
#include "db/template.h"
#include "tests/db/steps_internal.h"
#include "tests/db/support.h"

enum { VALUES = 13 };

static const char *
template_of(enum statement statement, bool side, bool in_documents)
{
    switch (statement) {
    case CHUNK_CUT:
        return sql_chunk_cut;
    case CHUNK_CLAIM:
        return sql_chunk_claim;
    case CHUNK_READ:
        return sql_chunk_read;
    case CHUNK_WRITE:
        return sql_chunk_write;
    case CHUNK_RENEW:
        return sql_chunk_renew;
    case CHUNK_RELEASE:
        return sql_chunk_release;
    case DRAIN_CLAIM:
        return sql_drain_claim;
    case DRAIN_LIST:
        return sql_drain_list;
    case DRAIN_READ:
        return sql_drain_read;
    case DRAIN_SAME:
        return sql_drain_same;
    case DRAIN_WRITE:
        return sql_drain_write;
    case DRAIN_RELEASE:
        return sql_drain_release;
    case PLAIN_READ:
        return sql_plain_read;
    case PLAIN_WRITE:
        return in_documents ? sql_plain_write_column : sql_plain_write_table;
    case TRUNCATE_KICK:
        return sql_truncate_kick;
    case TRUNCATE_EXPAND:
        return side ? sql_truncate_expand : in_documents ? sql_plain_truncate_column : sql_plain_truncate_table;
    case PURGE:
        return sql_purge;
    case SWEEP_BOUND:
        return sql_sweep_bound;
    case SWEEP_WINDOW:
        return sql_sweep_window;
    case STATEMENTS:
        break;
    }
    lab_fail("no such statement");
}

static bool
is_plain(enum statement statement)
{
    return statement == PLAIN_READ || statement == PLAIN_WRITE;
}

static void
render(struct worker *worker, const struct template_value *values, int space, bool in_documents,
       const struct mutant *mutant)
{
    struct err err = ERR_INIT;
    for (int i = 0; i < STATEMENTS; i++) {
        bool side = worker->spaces[space].side;
        if (side && is_plain((enum statement)i))
            continue;
        char *text = mutant_apply(mutant, (enum statement)i, template_of((enum statement)i, side, in_documents));
        if (text == NULL)
            lab_fail("mutant '%s' does not apply to its statement any more", mutant->name);
        if (template_render(text, values, VALUES, &worker->sql[i][space], &err) != RC_OK)
            lab_fail("%s", err.message);
        free(text);
    }
}

static const char *
fact(const PGresult *facts, const char *name)
{
    return result_is_null(facts, 0, name) ? NULL : lab_printf("%s", result_string(facts, 0, name));
}

void
worker_open(struct worker *worker, struct db *db, const char *migration_id, const struct mutant *mutant)
{
    struct params params = PARAMS_INIT;
    PGresult *facts = NULL;
    struct err err = ERR_INIT;

    *worker = (struct worker){.db = db, .id = lab_printf("%s", migration_id)};
    params_add_text(&params, migration_id);
    if (schema_vector_types(db, &worker->types, &err) != RC_OK ||
        db_exec(db, sql_collection_facts, &params, &facts, &err) != RC_OK || result_rows(facts) != 1)
        lab_fail("facts of %s: %s", migration_id, err.message);
    params_clear(&params);

    worker->number = result_int64(facts, 0, "number");
    worker->id_type = (Oid)result_int64(facts, 0, "id_oid");
    worker->spaces[TARGET].side = true;
    worker->spaces[TARGET].id = result_int64(facts, 0, "target_space");
    bool halves[SPACES] = {strcmp(fact(facts, "target_type"), "halfvec") == 0, false};
    bool has_source = !result_is_null(facts, 0, "source_space");
    if (has_source) {
        worker->spaces[SOURCE].id = result_int64(facts, 0, "source_space");
        worker->spaces[SOURCE].side = result_bool(facts, 0, "source_side");
        halves[SOURCE] = strcmp(fact(facts, "source_type"), "halfvec") == 0;
    }
    for (int space = TARGET; space <= (has_source ? SOURCE : TARGET); space++) {
        worker->spaces[space].kind = halves[space] ? VECTOR_HALF : VECTOR_FLOAT4;
        struct template_value values[VALUES] = {
            {"docs", fact(facts, "docs_table")},
            {"alias", fact(facts, "docs_alias")},
            {"id", fact(facts, "id_column")},
            {"id_type", fact(facts, "id_type")},
            {"content", fact(facts, "content")},
            {"filter", fact(facts, "filter")},
            {"target", fact(facts, space == TARGET ? "target_table" : "source_table")},
            {"changes", fact(facts, "changes_table")},
            {"vector", lab_printf("\"%s\".%s", worker->types.schema, halves[space] ? "halfvec" : "vector")},
            {"source", fact(facts, "source_table")},
            {"source_id", fact(facts, "source_id")},
            {"source_column", fact(facts, "source_column")},
            {"source_not_null", result_bool(facts, 0, "source_not_null") ? "true" : "false"},
        };
        render(worker, values, space, has_source && result_bool(facts, 0, "source_in_documents"), mutant);
    }
    PQclear(facts);
}

void
worker_close(struct worker *worker)
{
    if (worker->leased)
        lease_free(&worker->lease);
    for (int i = 0; i < STATEMENTS; i++)
        for (int space = 0; space < SPACES; space++)
            free(worker->sql[i][space]);
    *worker = (struct worker){0};
}

PGresult *
step_execute(struct worker *worker, enum statement statement, int space, struct params *params)
{
    PGresult *result = NULL;
    struct err err = ERR_INIT;
    if (worker->sql[statement][space] == NULL)
        lab_fail("statement %d is none of space %d", (int)statement, space);
    if (db_exec(worker->db, worker->sql[statement][space], params, &result, &err) != RC_OK)
        lab_fail("%.150s...\n%s (%s)", worker->sql[statement][space], err.message, err.sqlstate);
    params_clear(params);
    return result;
}
