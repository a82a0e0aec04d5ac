/* coordinator/migration.h - a migration as the database knows it, and the statements made for it.
 *
 * The templates of db/statements are filled once with the names of this migration's tables and the expressions of its
 * documents; after that every statement is a constant text with parameters.
 * Ownership: all strings live in the struct's arena. Threads: read-only once loaded.
 */
#ifndef REEMBED_COORDINATOR_MIGRATION_H
#define REEMBED_COORDINATOR_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "db/connection.h"
#include "db/params.h"

/* One space as its drainer sees it. A side table of ours holds read tokens and content hashes; a plain one is a column
 * of the application's, which is written only where the content is still the one that was embedded. */
struct space {
    int64_t id; /* 0: there is none */
    const char *model;
    const char *table;
    const char *column; /* plain: as it is called now; a cutover may give the name to another */
    bool side;
    bool captured; /* changes are recorded for it: workers keep it current */
    bool in_documents;
    bool not_null; /* plain: the column refuses NULL */
    enum vector_kind kind;
    size_t dimensions; /* 0: the column has no fixed size */

    const char *list;  /* drain_list */
    const char *read;  /* drain_read, or plain_read */
    const char *same;  /* side only */
    const char *write; /* drain_write, plain_write_column or plain_write_table */
    const char *truncate_expand;
    const char *canary_check;
    const char *purge;
};

/* The column of the documents that the target's vectors are placed in (target.placement). The statements name it as it was
 * called when they were made: their lease is taken away when that changes. */
struct placed_column {
    int64_t space_id; /* 0: the vectors stay in the side table */
    const char *name;
    const char *copy;   /* column_copy */
    const char *follow; /* column_follow */
    const char *check;  /* column_check */
    const char *log;    /* column_log */
};

struct migration {
    struct arena *arena; /* owned */
    int64_t number;
    const char *id;
    const char *collection;
    Oid id_type; /* of the documents' ids */
    const char *docs_table;
    const char *index_method; /* of the target: "hnsw", "ivfflat", "none" */
    const char *metric;       /* of the target */
    struct vector_types types;
    struct space source;
    struct space target;
    struct placed_column column;

    const char *chunk_cut;
    const char *chunk_claim;
    const char *chunk_read;
    const char *chunk_write;
    const char *chunk_fence;
    const char *changes_highest;
    const char *changes_older;
    const char *sweep_bound;
    const char *sweep_window;
    const char *verify_vectors;
    const char *verify_pick;
    const char *verify_read;
    const char *verify_mark;
};

/* Reads the facts and fills the templates. RC_INVALID/ERR_USAGE for an unknown id. */
enum rc migration_load(struct db *db, const char *id, struct migration **ret_migration, struct err *err);
struct migration *migration_free(struct migration *migration); /* NULL is fine; returns NULL */

#endif
