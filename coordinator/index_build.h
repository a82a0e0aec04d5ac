/* coordinator/index_build.h - the target's vector index: built concurrently, found again, replaced when it is broken. */
#ifndef REEMBED_COORDINATOR_INDEX_BUILD_H
#define REEMBED_COORDINATOR_INDEX_BUILD_H

#include "base/err.h"
#include "coordinator/run.h"

/* Brings the index to be valid and analyzes the table. RC_AGAIN: another session is building it now. RC_CLOSED: the run
 * stops; a build under way is left to the server, which goes on with it, and the next process finds it. */
enum rc index_build(struct run *run, struct db *db, struct err *err);

/* The statement that builds it. `facts`: a row of index_facts; `documents`: how many there are. Caller frees *ret_sql. */
enum rc index_statement(const struct migration *migration, const struct migration_index *index, const PGresult *facts,
                        double documents, char **ret_sql, struct err *err);

/* Lists of an IVFFlat index: those of the file, else by the number of documents. */
int64_t index_list_count(const struct migration_index *index, double documents);

#endif
