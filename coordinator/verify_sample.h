/* coordinator/verify_sample.h - random documents embedded again, and compared with what is stored for them.
 *
 * Two vectors count as the same from a cosine of 0.9999 on; where the provider itself does not repeat a text so well,
 * alone and among others, from what it does repeat. Before anything is compared the canary must be the model's: else
 * every document would look wrong.
 * Threads: one. Ownership: the struct owns what it points at but for what verify_sample_open is given.
 */
#ifndef REEMBED_COORDINATOR_VERIFY_SAMPLE_H
#define REEMBED_COORDINATOR_VERIFY_SAMPLE_H

#include "base/arena.h"
#include "coordinator/commands.h"
#include "coordinator/migration.h"
#include "coordinator/migration_file.h"
#include "db/connection.h"
#include "worker/embed.h"

struct verify_sample {
    const struct migration *migration;
    struct db *db;
    struct migration_file *file;
    struct embedder *embedder; /* NULL: no sample is wanted */
    struct embed_session *session;
    struct arena *arena; /* of one batch */
    double same;         /* the cosine from which on two vectors are the same */
    bool mark;           /* what differs is put into the change log */

    bool done;
    int64_t documents;
    int64_t differing;
    int64_t queued; /* of these: put into the change log now */
    double min_cosine;
};

/* Reads the migration file and opens the target's provider. RC_HALT: it is another model than the space's. */
enum rc verify_sample_open(struct verify_sample *sample, const struct verify_options *options,
                           const struct migration *migration, struct db *db, struct err *err);

enum rc verify_sample_take(struct verify_sample *sample, int64_t documents, struct err *err);
void verify_sample_close(struct verify_sample *sample);

#endif
