#include "coordinator/migration.h"

#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"
#include "db/template.h"

#define VALUES 17

/* A value that must be there: the facts come from our own tables. */
static const char *
copy_fact(struct arena *arena, const PGresult *result, const char *name)
{
    struct db_text text = result_text(result, 0, name);
    return text.bytes ? arena_copy(arena, text.bytes, text.length) : NULL;
}

static const char *
render(struct arena *arena, const char *text, const struct template_value *values, struct err *err)
{
    char *sql = NULL;
    const char *copy = NULL;

    if (template_render(text, values, VALUES, &sql, err) == RC_OK) {
        copy = arena_copy(arena, sql, strlen(sql));
        if (!copy)
            err_memory(err);
    }
    free(sql);
    return copy;
}

static void
read_space(struct arena *arena, const PGresult *result, const char *side, struct space *space)
{
    char name[32];

#define FACT(suffix) (snprintf(name, sizeof name, "%s_" suffix, side), name)
    if (result_is_null(result, 0, FACT("space")))
        return;
    space->id = result_int64(result, 0, FACT("space"));
    space->model = copy_fact(arena, result, FACT("model"));
    space->table = copy_fact(arena, result, FACT("table"));
    space->column = copy_fact(arena, result, FACT("column"));
    space->side = result_bool(result, 0, FACT("side"));
    space->captured = result_bool(result, 0, FACT("captured"));
    space->in_documents = result_bool(result, 0, FACT("in_documents"));
    space->kind = strcmp(result_string(result, 0, FACT("type")), "halfvec") == 0 ? VECTOR_HALF : VECTOR_FLOAT4;
    if (!result_is_null(result, 0, FACT("dimensions")))
        space->dimensions = (size_t)result_int64(result, 0, FACT("dimensions"));
#undef FACT
}

/* The names of a plain space, for the statements that write it. */
static void
name_plain(struct arena *arena, const PGresult *facts, const char *side, const struct space *space,
           struct template_value *values)
{
    char name[32];

    values[9].sql = space->table;
    (void)snprintf(name, sizeof name, "%s_id", side);
    values[10].sql = copy_fact(arena, facts, name);
    values[11].sql = space->column;
    values[12].sql = space->not_null ? "true" : "false";
}

static bool
render_column(struct migration *m, const PGresult *facts, struct template_value *values, struct err *err)
{
    struct arena *arena = m->arena;

    if (result_is_null(facts, 0, "column_space"))
        return true;
    m->column.space_id = result_int64(facts, 0, "column_space");
    m->column.name = copy_fact(arena, facts, "placed_column");
    values[15].sql = m->column.name;
    values[16].sql = copy_fact(arena, facts, "column_log");
    return (m->column.copy = render(arena, sql_column_copy, values, err)) &&
           (m->column.follow = render(arena, sql_column_follow, values, err)) &&
           (m->column.check = render(arena, sql_column_check, values, err)) &&
           (m->column.log = render(arena, sql_column_log, values, err));
}

static bool
render_space(struct arena *arena, struct space *space, struct template_value *values, const char *vector,
             struct err *err)
{
    values[6].sql = space->table; /* {target} */
    values[8].sql = vector;
    if (!(space->canary_check = render(arena, sql_canary_check, values, err)))
        return false;
    if (space->side)
        return (space->list = render(arena, sql_drain_list, values, err)) &&
               (space->read = render(arena, sql_drain_read, values, err)) &&
               (space->same = render(arena, sql_drain_same, values, err)) &&
               (space->write = render(arena, sql_drain_write, values, err)) &&
               (space->truncate_expand = render(arena, sql_truncate_expand, values, err)) &&
               (space->purge = render(arena, sql_purge, values, err));
    return (space->list = render(arena, sql_drain_list, values, err)) &&
           (space->read = render(arena, sql_plain_read, values, err)) &&
           (space->write =
                render(arena, space->in_documents ? sql_plain_write_column : sql_plain_write_table, values, err)) &&
           (space->truncate_expand =
                render(arena, space->in_documents ? sql_plain_truncate_column : sql_plain_truncate_table, values, err));
}

static bool
render_all(struct migration *m, const PGresult *facts, struct err *err)
{
    struct arena *arena = m->arena;
    const char *schema = m->types.schema;
    const char *vector[2] = {arena_printf(arena, "\"%s\".vector", schema),
                             arena_printf(arena, "\"%s\".halfvec", schema)};
    struct template_value values[VALUES] = {
        {"docs", m->docs_table},
        {"alias", copy_fact(arena, facts, "docs_alias")},
        {"id", copy_fact(arena, facts, "id_column")},
        {"id_type", copy_fact(arena, facts, "id_type")},
        {"content", copy_fact(arena, facts, "content")},
        {"filter", copy_fact(arena, facts, "filter")},
        {"target", m->target.table},
        {"changes", copy_fact(arena, facts, "changes_table")},
        {"vector", vector[m->target.kind == VECTOR_HALF]},
        {"source", NULL},
        {"source_id", NULL},
        {"source_column", NULL},
        {"source_not_null", NULL},
        {"vector_schema", arena_printf(arena, "\"%s\"", schema)},
        {"vector_type", vector[0]},
        {"column", NULL},
        {"log", NULL},
    };

    for (size_t i = 0; i < 9; i++) {
        if (!values[i].sql && !(i == 6 && m->target.id == 0)) {
            err_memory(err);
            return false;
        }
    }
    name_plain(arena, facts, "source", &m->source, values);
    if (m->source.id && !render_space(arena, &m->source, values, vector[m->source.kind == VECTOR_HALF], err))
        return false;
    if (m->target.id == 0)
        return true;
    name_plain(arena, facts, "target", &m->target, values);
    return render_space(arena, &m->target, values, vector[m->target.kind == VECTOR_HALF], err) &&
           render_column(m, facts, values, err) && (m->chunk_cut = render(arena, sql_chunk_cut, values, err)) &&
           (m->chunk_claim = render(arena, sql_chunk_claim, values, err)) &&
           (m->chunk_read = render(arena, sql_chunk_read, values, err)) &&
           (m->chunk_write = render(arena, sql_chunk_write, values, err)) &&
           (m->chunk_fence = render(arena, sql_chunk_fence, values, err)) &&
           (m->changes_highest = render(arena, sql_changes_highest, values, err)) &&
           (m->changes_older = render(arena, sql_changes_older, values, err)) &&
           (m->sweep_bound = render(arena, sql_sweep_bound, values, err)) &&
           (m->sweep_window = render(arena, sql_sweep_window, values, err)) &&
           (m->verify_vectors = render(arena, sql_verify_vectors, values, err)) &&
           (m->verify_pick = render(arena, sql_verify_pick, values, err)) &&
           (m->verify_read = render(arena, sql_verify_read, values, err)) &&
           (m->verify_mark = render(arena, sql_verify_mark, values, err));
}

enum rc
migration_load(struct db *db, const char *id, struct migration **ret_migration, struct err *err)
{
    enum rc rc;
    PGresult *facts = NULL;
    struct params params = PARAMS_INIT;
    struct migration *m = calloc(1, sizeof *m);

    if (!m || !(m->arena = arena_new(0))) {
        rc = err_memory(err);
        goto out;
    }
    if ((rc = schema_vector_types(db, &m->types, err)) != RC_OK)
        goto out;
    params_add_text(&params, id);
    if ((rc = db_exec(db, sql_collection_facts, &params, &facts, err)) != RC_OK)
        goto out;
    if (result_rows(facts) == 0) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "unknown migration '%s'", id);
        err_hint(err, "reembed list shows the known ones");
        goto out;
    }
    m->number = result_int64(facts, 0, "number");
    m->id = copy_fact(m->arena, facts, "migration_id");
    m->collection = copy_fact(m->arena, facts, "collection");
    m->docs_table = copy_fact(m->arena, facts, "docs_table");
    m->id_type = (Oid)result_int64(facts, 0, "id_oid");
    read_space(m->arena, facts, "target", &m->target);
    read_space(m->arena, facts, "source", &m->source);
    if (m->target.id) {
        m->index_method = copy_fact(m->arena, facts, "index_method");
        m->metric = copy_fact(m->arena, facts, "target_metric");
    }
    if (m->source.id) {
        m->source.not_null = result_bool(facts, 0, "source_not_null");
    }
    if (!render_all(m, facts, err)) {
        rc = RC_FATAL;
        goto out;
    }
    *ret_migration = m;
    m = NULL;
out:
    migration_free(m);
    params_clear(&params);
    PQclear(facts);
    return rc;
}

struct migration *
migration_free(struct migration *migration)
{
    if (!migration)
        return NULL;
    arena_free(migration->arena);
    free(migration);
    return NULL;
}
