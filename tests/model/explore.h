/* tests/model/explore.h - every state that a protocol can reach within the bounds, breadth first.
 *
 * States are kept whole and compared whole: no two are taken for one another. The first violation found is one of those
 * that need the fewest steps.
 */
#ifndef REEMBED_TESTS_MODEL_EXPLORE_H
#define REEMBED_TESTS_MODEL_EXPLORE_H

#include <stdint.h>

#include "tests/model/protocol.h"

struct exploration {
    size_t states;
    size_t transitions;
    size_t depth;          /* steps to the farthest state */
    const char *violation; /* NULL: none; valid until exploration_free */
    int variant;           /* of the initial state on the way to it */
    struct action *path;   /* from there, `path_length` actions */
    size_t path_length;
    char *violation_text;
};

/* `reachable`: also checks that rest can be reached from every state; needs four bytes a transition and more. Ends the
 * program when memory is gone. */
void explore(enum mutant mutant, bool reachable, struct exploration *ret_exploration);

void exploration_free(struct exploration *exploration);

/* Prints the way to the violation, a line a step. */
void exploration_print(enum mutant mutant, const struct exploration *exploration);

#endif
