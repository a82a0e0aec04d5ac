/* tests/db/steps_internal.h - what the files behind tests/db/steps.h share. Nobody else includes it.
 *
 * tests/db/steps.c            one statement at a time
 * tests/db/steps_load.c       the statements of a migration, rendered
 * tests/db/steps_write_set.c  the model, and what it makes of a reading
 * tests/db/steps_run.c        many statements, as a run does it
 */
#ifndef REEMBED_TESTS_DB_STEPS_INTERNAL_H
#define REEMBED_TESTS_DB_STEPS_INTERNAL_H

#include "db/params.h"
#include "tests/db/steps.h"

enum { DIMENSIONS = 4 };

/* As the read statements say it. */
enum work { CURRENT = 0, TO_EMBED = 1, KNOWN = 2, GONE = 3 };

/* The arrays of a write statement. Keys and hashes point into the reading. */
struct write_set {
    size_t count, failed, known, gone, same;
    struct doc_key *ids, *failed_ids, *known_ids, *gone_ids, *same_ids;
    const unsigned char **hashes, **failed_hashes, **same_hashes;
    const float **rows;
    float *vectors;
    struct db_text *kinds, *reasons, *details;
    int64_t *attempts, *statuses;
};

/* Empties the parameters. The test fails when the statement does. */
PGresult *step_execute(struct worker *worker, enum statement statement, int space, struct params *params);

/* Zeroed, never NULL, also for none. Freed by free(). */
void *step_room(size_t count, size_t size);

struct write_set write_set_gather(const struct reading *reading);
void write_set_discard(struct write_set *set);
void write_set_add_rows(struct worker *worker, int space, struct params *params, const struct write_set *set);
void write_set_add_failures(struct worker *worker, struct params *params, const struct write_set *set);

#endif
