/* coordinator/prepare.h - what happens before the threads of a run start: from the file to a migration in progress, with
 * change capture installed, documents counted, models opened and known to be the right ones. Every step may have been
 * done by another process already.
 */
#ifndef REEMBED_COORDINATOR_PREPARE_H
#define REEMBED_COORDINATOR_PREPARE_H

#include <stdbool.h>

#include "base/err.h"
#include "coordinator/commands.h"
#include "coordinator/migration.h"
#include "coordinator/migration_file.h"
#include "coordinator/run.h"
#include "db/connection.h"
#include "worker/embed.h"

/* Owned by run_command, which frees what is inside. */
struct prepared {
    struct run run;
    struct migration_file *file;
    struct migration *migration;
    struct db *db;     /* the main thread's */
    char state[32];    /* of the migration when it was last looked at */
    bool unaffordable; /* it would cost more than limits.max_cost, and was not begun */
};

/* ret_migration_id: room for 256 bytes. */
enum rc prepare_read_file(const struct run_options *options, char *ret_migration_id, struct migration_file **ret_file,
                          struct err *err);

/* Sets up p->run from options and p->file. */
void prepare_begin(struct prepared *p, const struct run_options *options);

/* *ret_nothing: completed, and no change waits; no model was opened. RC_REFUSED: not in this state. RC_CLOSED: stopped
 * before anything was begun. */
enum rc prepare_migration(struct prepared *p, bool *ret_nothing, struct err *err);

/* What `run` says of a rolled back migration; fills `err` and returns RC_REFUSED. */
enum rc prepare_refuse_rolled_back(const char *id, struct err *err);

/* Canary and cancel flag of this run, without flow control. */
struct embed_policy run_policy(struct run *run);

#endif
