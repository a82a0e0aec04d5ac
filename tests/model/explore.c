#include "tests/model/explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTS (sizeof(struct model_state) / sizeof(int))

struct search {
    enum mutant mutant;
    bool keep_edges;

    int fields[INTS]; /* that can be other than zero within the bounds */
    size_t field_count;
    size_t size; /* bytes a packed state: four bits a field */

    unsigned char *packed;
    uint32_t *parents; /* UINT32_MAX - variant: an initial state */
    uint32_t *actions; /* that led there */
    size_t count;
    size_t room;
    uint32_t *table; /* state + 1; 0: empty */
    size_t table_mask;

    uint32_t *edges; /* pairs from, to */
    size_t edge_count;
    size_t edge_room;
};

static void *
must_resize(void *memory, size_t count, size_t size)
{
    void *resized = realloc(memory, count * size + 1);

    if (!resized) {
        fprintf(stderr, "out of memory: smaller bounds, please\n");
        exit(2);
    }
    return resized;
}

static void *
must_zero(size_t count, size_t size)
{
    return memset(must_resize(NULL, count, size), 0, count * size);
}

static void
mark_in_use(struct search *search, const void *state, const void *from, size_t bytes)
{
    size_t first = (size_t)((const int *)from - (const int *)state);

    for (size_t i = 0; i < bytes / sizeof(int); i++)
        search->fields[search->field_count++] = (int)(first + i);
}

/* Fields beyond the bounds always have the value they began with. */
static void
choose_fields(struct search *search)
{
    struct model_state *s = must_zero(1, sizeof *s); /* only its addresses matter */

    mark_in_use(search, s, s->docs, sizeof(int) * (size_t)model_bounds.docs);
    mark_in_use(search, s, s->counted, sizeof(int) * (size_t)model_bounds.docs);
    mark_in_use(search, s, s->vectors, sizeof s->vectors[0] * (size_t)model_bounds.docs);
    mark_in_use(search, s, s->changes, sizeof s->changes);
    mark_in_use(search, s, s->transactions, sizeof s->transactions[0] * (size_t)model_bounds.transactions);
    mark_in_use(search, s, &s->writes_left, (size_t)((char *)s->workers - (char *)&s->writes_left));
    for (int i = 0; i < model_bounds.workers; i++)
        mark_in_use(search, s, &s->workers[i],
                    offsetof(struct model_worker, batches) + sizeof(struct model_batch) * (size_t)model_bounds.ahead);
    mark_in_use(search, s, &s->drain_held, (size_t)((char *)s->drainers - (char *)&s->drain_held));
    mark_in_use(search, s, s->drainers, sizeof s->drainers[0] * (size_t)model_bounds.drainers);
    mark_in_use(search, s, &s->sweep, sizeof *s - offsetof(struct model_state, sweep));
    free(s);
    search->size = (search->field_count + 1) / 2;
}

static void
pack(const struct search *search, const struct model_state *state, unsigned char *ret_packed)
{
    const int *values = (const int *)state;

    memset(ret_packed, 0, search->size);
    for (size_t i = 0; i < search->field_count; i++) {
        int value = values[search->fields[i]];
        if (value < 0 || value > 15) {
            fprintf(stderr, "a field of the state is %d: four bits are too few for these bounds\n", value);
            abort();
        }
        ret_packed[i / 2] |= (unsigned char)((unsigned)value << (i % 2 * 4));
    }
}

static void
unpack(const struct search *search, const unsigned char *packed, struct model_state *ret_state)
{
    int *values = (int *)ret_state;

    model_initial(0, ret_state);
    for (size_t i = 0; i < search->field_count; i++)
        values[search->fields[i]] = packed[i / 2] >> (i % 2 * 4) & 15;
}

static size_t
hash(const unsigned char *bytes, size_t count)
{
    uint64_t h = 0x9e3779b97f4a7c15u;

    for (size_t i = 0; i < count; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return (size_t)(h ^ h >> 32);
}

static void
grow_table(struct search *search)
{
    size_t slots = search->table_mask ? (search->table_mask + 1) * 2 : (size_t)1 << 16;

    free(search->table);
    search->table = must_zero(slots, sizeof *search->table);
    search->table_mask = slots - 1;
    for (size_t i = 0; i < search->count; i++) {
        size_t at = hash(search->packed + i * search->size, search->size) & search->table_mask;
        while (search->table[at])
            at = (at + 1) & search->table_mask;
        search->table[at] = (uint32_t)i + 1;
    }
}

/* The number of the state, and whether it is new. */
static size_t
add_state(struct search *search, const struct model_state *state, uint32_t parent, uint32_t action, bool *ret_new)
{
    unsigned char *packed;
    size_t at;

    if (search->count == search->room) {
        search->room = search->room ? search->room * 3 / 2 : 1024;
        search->packed = must_resize(search->packed, search->room, search->size);
        search->parents = must_resize(search->parents, search->room, sizeof *search->parents);
        search->actions = must_resize(search->actions, search->room, sizeof *search->actions);
    }
    if ((search->count + 1) * 2 > search->table_mask)
        grow_table(search);
    packed = search->packed + search->count * search->size;
    pack(search, state, packed);
    at = hash(packed, search->size) & search->table_mask;
    while (search->table[at]) {
        size_t found = search->table[at] - 1;
        if (memcmp(search->packed + found * search->size, packed, search->size) == 0) {
            *ret_new = false;
            return found;
        }
        at = (at + 1) & search->table_mask;
    }
    search->table[at] = (uint32_t)search->count + 1;
    search->parents[search->count] = parent;
    search->actions[search->count] = action;
    *ret_new = true;
    return search->count++;
}

static void
add_edge(struct search *search, size_t from, size_t to)
{
    if (search->edge_count == search->edge_room) {
        search->edge_room = search->edge_room ? search->edge_room * 3 / 2 : 4096;
        search->edges = must_resize(search->edges, search->edge_room, 2 * sizeof *search->edges);
    }
    search->edges[2 * search->edge_count] = (uint32_t)from;
    search->edges[2 * search->edge_count + 1] = (uint32_t)to;
    search->edge_count++;
}

static uint32_t
action_code(struct action action)
{
    return (uint32_t)action.step << 16 | (uint32_t)action.actor << 8 | (uint32_t)action.argument;
}

static struct action
action_decode(uint32_t code)
{
    return (struct action){.step = code >> 16, .actor = (int)(code >> 8 & 255), .argument = (int)(code & 255)};
}

static void
note_violation(const struct search *search, size_t at, const char *text, struct exploration *e)
{
    size_t length = 0;

    for (size_t i = at; search->parents[i] < UINT32_MAX - 63; i = search->parents[i])
        length++;
    e->violation_text = strdup(text);
    e->violation = e->violation_text;
    e->path = must_resize(NULL, length + 1, sizeof *e->path);
    e->path_length = length;
    for (; length > 0; at = search->parents[at])
        e->path[--length] = action_decode(search->actions[at]);
    e->variant = (int)(UINT32_MAX - search->parents[at]);
}

/* Backwards from the states at rest: all states must be met. */
static void
check_reachable(const struct search *search, struct exploration *e)
{
    size_t *starts = must_zero(search->count + 2, sizeof *starts), head = 0, tail = 0;
    uint32_t *sources = must_resize(NULL, search->edge_count + 1, sizeof *sources);
    uint32_t *queue = must_resize(NULL, search->count + 1, sizeof *queue);
    bool *met = must_resize(NULL, search->count + 1, sizeof *met);

    for (size_t i = 0; i < search->edge_count; i++)
        starts[search->edges[2 * i + 1] + 2]++;
    for (size_t i = 2; i < search->count + 2; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < search->edge_count; i++)
        sources[starts[search->edges[2 * i + 1] + 1]++] = search->edges[2 * i];
    for (size_t i = 0; i < search->count; i++) {
        struct model_state state;
        unpack(search, search->packed + i * search->size, &state);
        if ((met[i] = model_at_rest(&state)))
            queue[tail++] = (uint32_t)i;
    }
    for (; head < tail; head++)
        for (size_t i = starts[queue[head]]; i < starts[queue[head] + 1]; i++)
            if (!met[sources[i]]) {
                met[sources[i]] = true;
                queue[tail++] = sources[i];
            }
    for (size_t i = 0; i < search->count && !e->violation; i++)
        if (!met[i])
            note_violation(search, i, "from here on the migration can't come to its end any more", e);
    free(starts);
    free(sources);
    free(queue);
    free(met);
}

static void
expand(struct search *search, size_t at, struct exploration *e)
{
    struct action action = {.step = STEP_BEGIN, .actor = 0, .argument = -1};
    struct model_state state, next;
    bool new;

    unpack(search, search->packed + at * search->size, &state);
    while (!e->violation && model_next_action(&action)) {
        next = state;
        if (!model_step(search->mutant, action, &next))
            continue;
        e->transitions++;
        model_normalise(&next, NULL);
        size_t to = add_state(search, &next, (uint32_t)at, action_code(action), &new);
        if (search->keep_edges)
            add_edge(search, at, to);
        const char *wrong = new ? model_violation(&next) : NULL;
        if (wrong)
            note_violation(search, to, wrong, e);
    }
}

void
explore(enum mutant mutant, bool reachable, struct exploration *ret_exploration)
{
    struct search search = {.mutant = mutant, .keep_edges = reachable};
    struct exploration e = {0};
    struct model_state state;
    size_t level_end;
    bool new;

    choose_fields(&search);
    for (int variant = 0; model_initial(variant, &state); variant++) {
        model_normalise(&state, NULL);
        add_state(&search, &state, UINT32_MAX - (uint32_t)variant, 0, &new);
    }
    level_end = search.count;
    for (size_t at = 0; at < search.count && !e.violation; at++) {
        if (at == level_end) {
            e.depth++;
            level_end = search.count;
        }
        expand(&search, at, &e);
    }
    e.states = search.count;
    if (reachable && !e.violation)
        check_reachable(&search, &e);
    free(search.packed);
    free(search.parents);
    free(search.actions);
    free(search.table);
    free(search.edges);
    *ret_exploration = e;
}

void
exploration_free(struct exploration *exploration)
{
    free(exploration->path);
    free(exploration->violation_text);
}

/* The path is in terms of states in one form; for people the actors keep their names and tokens their numbers, so it is
 * walked twice, side by side. */
void
exploration_print(enum mutant mutant, const struct exploration *e)
{
    struct model_state plain, ordered, before;
    struct model_places at, moved, were;

    model_initial(e->variant, &plain);
    ordered = plain;
    model_normalise(&ordered, &at);
    printf("  0  document 1 is A, document 2 is %s; document 1 has %s\n", plain.docs[1] == GONE ? "gone" : "A",
           !plain.vectors[0].there              ? "no vector"
           : plain.vectors[0].content == TEXT_A ? "a vector of A, token 1"
                                                : "a vector of B, token 1");
    for (size_t i = 0; i < e->path_length; i++) {
        struct action action = e->path[i], shown = action;
        int *names = model_actor_kind(action.step) == ACTOR_TRANSACTION ? at.transactions
                     : model_actor_kind(action.step) == ACTOR_WORKER    ? at.workers
                                                                        : at.drainers;
        if (model_actor_kind(action.step) != ACTOR_NONE)
            shown.actor = names[action.actor];
        before = plain;
        model_step(mutant, shown, &plain);
        printf("%3zu  ", i + 1);
        model_print_step(&shown, shown.actor + 1, &before, &plain);
        model_step(mutant, action, &ordered);
        model_normalise(&ordered, &moved);
        were = at;
        for (int k = 0; k < model_bounds.transactions; k++)
            at.transactions[k] = were.transactions[moved.transactions[k]];
        for (int k = 0; k < model_bounds.workers; k++)
            at.workers[k] = were.workers[moved.workers[k]];
        for (int k = 0; k < model_bounds.drainers; k++)
            at.drainers[k] = were.drainers[moved.drainers[k]];
    }
    printf("     → %s\n", e->violation);
}
