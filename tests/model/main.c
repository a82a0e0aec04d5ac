/* protocol-model - explores every interleaving of a migration's protocol within bounds; see docs/model.md.
 *
 *   protocol-model                       the quick bounds: the product must hold, every mutant must be found out
 *   protocol-model --workers 3 ...       the product within other bounds; --help lists them
 *   protocol-model --only MUTANT [...]   one mutant
 *
 * Exit codes: 0 as expected, 1 not as expected, 2 usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/model/explore.h"

struct bound_option {
    const char *name;
    int *value;
    int least, most;
    const char *text;
};

static struct model_bounds bounds = {
    .docs = 2, .workers = 2, .drainers = 1, .transactions = 2, .writes = 2, .chunk = 2, .ahead = 1};
static int finish;
static int reachable = 1;

static const struct bound_option options[] = {
    {"--docs", &bounds.docs, 2, MAX_DOCS, "documents"},
    {"--workers", &bounds.workers, 1, MAX_WORKERS, "workers that claim chunks"},
    {"--drainers", &bounds.drainers, 1, MAX_DRAINERS, "drainers that take the lease from each other"},
    {"--transactions", &bounds.transactions, 1, MAX_TRANSACTIONS, "transactions of the application, open at once"},
    {"--writes", &bounds.writes, 0, 5, "inserts, edits and deletes in all"},
    {"--chunk", &bounds.chunk, 1, MAX_DOCS, "documents a chunk"},
    {"--ahead", &bounds.ahead, 1, MAX_AHEAD, "windows that a worker may have read and not written"},
    {"--finish", &finish, 0, 1, "1: sweep, flip, rollback, completion take part"},
    {"--reachable", &reachable, 0, 1, "0: do not check that the end stays reachable (takes memory)"},
};

static int
usage(FILE *out)
{
    fprintf(out, "usage: protocol-model [--only MUTANT] [--BOUND N]...\n\nbounds:\n");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        fprintf(out, "  %-15s %d ... %d  %s\n", options[i].name, options[i].least, options[i].most, options[i].text);
    fprintf(out, "\nmutants:\n");
    for (int m = 0; m < MUTANTS; m++)
        fprintf(out, "  %-27s %s\n", mutant_texts[m].name, mutant_texts[m].text);
    return out == stdout ? 0 : 2;
}

/* Both take part where one alone would be too many states for every day. */
static const struct model_bounds quick[] = {
    {.docs = 2, .workers = 2, .drainers = 1, .transactions = 1, .writes = 1, .chunk = 2, .ahead = 1, .finish = true},
    {.docs = 2, .workers = 1, .drainers = 1, .transactions = 2, .writes = 2, .chunk = 2, .ahead = 1, .finish = false},
};

/* Enough for a mutant to show itself. */
static struct model_bounds
bounds_of(enum mutant mutant)
{
    struct model_bounds b = quick[1];

    if (mutant >= MUTANT_FLIP_BY_COUNTERS && mutant <= MUTANT_COMPLETE_WITHOUT_SWEEP)
        b.finish = true;
    if (mutant == MUTANT_NO_FENCE || mutant == MUTANT_CHECK_THEN_WRITE)
        b.workers = 2;
    if (mutant == MUTANT_NO_DRAIN_FENCE)
        b.drainers = 2;
    return b;
}

static bool
look(enum mutant mutant, struct model_bounds with)
{
    struct exploration e;
    clock_t began = clock();

    model_bounds = with;
    explore(mutant, reachable && (mutant == MUTANT_NONE || mutant == MUTANT_NO_TAKE_OVER), &e);
    bool as_expected = (e.violation != NULL) == (mutant != MUTANT_NONE);
    printf("%s%s: %s\n", as_expected ? "" : "NOT AS EXPECTED: ", mutant_texts[mutant].name, mutant_texts[mutant].text);
    printf("     docs %d, workers %d, drainers %d, transactions %d, writes %d, chunk %d, ahead %d%s\n", with.docs,
           with.workers, with.drainers, with.transactions, with.writes, with.chunk, with.ahead,
           with.finish ? ", with sweep, flip, rollback and completion" : "");
    printf("     %zu states, %zu transitions, %zu steps deep, %.1f s: %s\n", e.states, e.transitions, e.depth,
           (double)(clock() - began) / CLOCKS_PER_SEC, e.violation ? e.violation : "no violation");
    if (e.violation)
        exploration_print(mutant, &e);
    printf("\n");
    fflush(stdout);
    exploration_free(&e);
    return as_expected;
}

int
main(int argc, char **argv)
{
    int only = -1;
    bool good = true;

    for (int i = 1; i < argc; i += 2) {
        bool known = false;
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout);
        if (i + 1 == argc)
            return usage(stderr);
        for (int m = 0; strcmp(argv[i], "--only") == 0 && m < MUTANTS; m++)
            if (strcmp(argv[i + 1], mutant_texts[m].name) == 0) {
                only = m;
                known = true;
            }
        for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
            char *end;
            long value = strtol(argv[i + 1], &end, 10);
            if (strcmp(argv[i], options[o].name) == 0 && *end == '\0' && value >= options[o].least &&
                value <= options[o].most) {
                *options[o].value = (int)value;
                known = true;
            }
        }
        if (!known)
            return usage(stderr);
    }
    bounds.finish = finish != 0;
    if (only >= 0)
        return look((enum mutant)only, argc > 3 ? bounds : bounds_of((enum mutant)only)) ? 0 : 1;
    if (argc > 1)
        return look(MUTANT_NONE, bounds) ? 0 : 1;
    for (size_t q = 0; q < sizeof quick / sizeof *quick; q++)
        good = look(MUTANT_NONE, quick[q]) && good;
    for (int m = MUTANT_NONE + 1; m < MUTANTS; m++)
        good = look((enum mutant)m, bounds_of((enum mutant)m)) && good;
    return good ? 0 : 1;
}
