/* coordinator/file_tables.h - the migration file as tables: which keys a section has, of which kind, in which range, and
 * what holds where a key is left out. coordinator/migration_file.h reads and writes by them.
 */
#ifndef REEMBED_COORDINATOR_FILE_TABLES_H
#define REEMBED_COORDINATOR_FILE_TABLES_H

#include "coordinator/file_field.h"
#include "coordinator/migration_file.h"

extern const struct field_table file_top_table;
extern const struct field_table file_documents_table;
extern const struct field_table file_source_table;
extern const struct field_table file_target_table;
extern const struct field_table file_index_table;
extern const struct field_table file_backfill_table;
extern const struct field_table file_gates_table;
extern const struct field_table file_limits_table;
extern const struct field_table file_database_table;

extern const struct field_table *const file_tables[]; /* all, those of providers too; NULL at the end */
extern const struct migration_file file_defaults;

#endif
