/* tests/db/mutants/mutants.h - the product's statements, each broken in one load-bearing place.
 *
 * A mutant is an edit of a statement's text that must apply exactly once; when the statement is rewritten the mutant
 * fails to apply and has to be thought about anew. A test that the mutants pass has no teeth.
 */
#ifndef REEMBED_TESTS_DB_MUTANTS_H
#define REEMBED_TESTS_DB_MUTANTS_H

#include <stddef.h>

enum statement {
    CHUNK_CUT,
    CHUNK_CLAIM,
    CHUNK_READ,
    CHUNK_WRITE,
    CHUNK_RENEW,
    CHUNK_RELEASE,
    DRAIN_CLAIM,
    DRAIN_LIST,
    DRAIN_READ,
    DRAIN_SAME,
    DRAIN_WRITE,
    DRAIN_RELEASE,
    PLAIN_READ,
    PLAIN_WRITE,
    TRUNCATE_KICK,
    TRUNCATE_EXPAND,
    PURGE,
    SWEEP_BOUND,
    SWEEP_WINDOW,
    STATEMENTS
};

struct mutant {
    const char *name;
    const char *rule; /* that it breaks */
    enum statement statement;
    const char *from;
    const char *to;
};

extern const struct mutant mutant_no_fence;
extern const struct mutant mutant_no_drain_fence;
extern const struct mutant mutant_no_token_guard;
extern const struct mutant mutant_no_tombstone;
extern const struct mutant mutant_same_leaves_token;
extern const struct mutant mutant_same_settles_all;
extern const struct mutant mutant_settles_up_to_last;
extern const struct mutant mutant_list_without_token;
extern const struct mutant mutant_purge_by_clock;
extern const struct mutant mutant_cursor_not_checked;
extern const struct mutant mutant_no_kick;

/* The same for a function of the schema: redefines it in the test's database. The test fails when it does not apply. */
void mutate_function(const char *name, const char *from, const char *to);

/* The text with the mutant's edit; caller frees. NULL when it does not apply exactly once. `mutant` may be NULL. */
char *mutant_apply(const struct mutant *mutant, enum statement statement, const char *text);

#endif
