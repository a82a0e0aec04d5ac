/* tests/model/protocol.h - the protocol of a migration as a small machine of steps, to be explored exhaustively.
 *
 * A step is a statement of the product, or the part of one between two moments that others can tell apart: a claim draws
 * its token and commits later, a list has its snapshot before its token, an application's transaction numbers its change
 * and commits later. Statements that hold row locks to their commit are one step: whoever meets the locks waits. Any
 * process may be arbitrarily slow between two of its steps, may lose its lease, its memory or the answer to a write.
 *
 * Documents have ids 1 ... docs and a content that is gone, A or B; a vector is named by the content it was made of.
 * Tokens, numbers of changes and epochs are ranks: model_normalise renumbers them, so that they are bounded although
 * leases may run out and be taken over any number of times. Not thread-safe in `model_bounds` alone, which is set once.
 */
#ifndef REEMBED_TESTS_MODEL_PROTOCOL_H
#define REEMBED_TESTS_MODEL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MAX_DOCS = 3,
    MAX_WORKERS = 3,
    MAX_DRAINERS = 2,
    MAX_TRANSACTIONS = 2,
    MAX_CHUNKS = 3,
    MAX_AHEAD = 2,
    MAX_CHANGES = 8
};

struct model_bounds {
    int docs;
    int workers;
    int drainers;
    int transactions; /* of the application, open at once */
    int writes;       /* of the application, in all */
    int chunk;        /* documents a chunk; a read window is one document */
    int ahead;        /* windows that a worker has read and not yet written */
    bool finish;      /* sweep, flip, rollback and completion take part */
};

extern struct model_bounds model_bounds;

/* Each breaks one safeguard. MUTANT_NONE is the product. */
enum mutant {
    MUTANT_NONE,
    MUTANT_NO_FENCE,
    MUTANT_CHECK_THEN_WRITE,
    MUTANT_CURSOR_NOT_CHECKED,
    MUTANT_CURSOR_BEFORE_DATA,
    MUTANT_NO_TOKEN_GUARD,
    MUTANT_TOKEN_AT_WRITE,
    MUTANT_DRAIN_TOKEN_BEFORE_LIST,
    MUTANT_SAME_LEAVES_TOKEN,
    MUTANT_SAME_SETTLES_ALL,
    MUTANT_DRAIN_SETTLES_UP_TO_LAST,
    MUTANT_NO_DRAIN_FENCE,
    MUTANT_NO_TOMBSTONE,
    MUTANT_PURGE_BY_CLOCK,
    MUTANT_PURGE_AT_ONCE,
    MUTANT_BOUND_BEFORE_CAPTURE,
    MUTANT_CAPTURE_WAITS_FOR_NOBODY,
    MUTANT_FLIP_BY_COUNTERS,
    MUTANT_FLIP_IN_TWO_STEPS,
    MUTANT_FLIPS_AGAIN,
    MUTANT_COMPLETE_WITHOUT_WAITING,
    MUTANT_COMPLETE_WITHOUT_SWEEP,
    MUTANT_NO_TAKE_OVER,
    MUTANTS
};

struct mutant_text {
    const char *name;
    const char *text;
};

extern const struct mutant_text mutant_texts[MUTANTS];

enum content { GONE, TEXT_A, TEXT_B, UNREAD };
enum chunk_state { CHUNK_OPEN, CHUNK_LEASED, CHUNK_DONE };

/* CHECKED and MOVED are places that only mutants know. */
enum worker_place { WORKER_IDLE, WORKER_CLAIMING, WORKER_LEASED, WORKER_CHECKED, WORKER_MOVED };
enum drainer_place { DRAINER_IDLE, DRAINER_LEASED, DRAINER_LISTED, DRAINER_TOKENED, DRAINER_READ, DRAINER_RAISED };
enum sweep_place { SWEEP_NONE, SWEEP_WALKING, SWEEP_WAITING, SWEEP_CLEAN };

struct model_batch {
    int used;
    int before; /* the cursor it builds on, and the one it leads to; 0: none */
    int after;
    int doc;     /* 0: the empty end of a chunk */
    int content; /* as read */
    int embed;   /* its vector was not current when it was read */
    int last;
};

struct model_worker {
    int place;
    int chunk; /* index */
    int epoch; /* of the lease: the read token */
    int position;
    int finished_reading;
    int unsure; /* the answer to the write of batches[0] was lost */
    struct model_batch batches[MAX_AHEAD];
};

struct model_drainer {
    int place;
    int epoch;
    int token;
    int highest;        /* number on its list */
    int read[MAX_DOCS]; /* UNREAD: not on the list */
    int same[MAX_DOCS];
};

struct model_chunk {
    int hi;
    int cursor;
    int state;
    int epoch;
    int expired;
    int locked; /* by a claim that has not committed */
};

struct model_change {
    int number; /* 0: no change */
    int doc;
    int listed; /* bit mask of drainers */
    int old;    /* was there when the sweep began */
};

/* Of ints alone: stored and compared as an array of them. */
struct model_state {
    int docs[MAX_DOCS];    /* committed content */
    int counted[MAX_DOCS]; /* times that a chunk counted it: for the oracle */
    struct {
        int there;
        int token;
        int content;   /* GONE: a tombstone */
        int left_over; /* of an earlier migration, its document was gone before capture: the sweep's business */
    } vectors[MAX_DOCS];
    struct model_change changes[MAX_CHANGES]; /* committed; ascending, then empty ones */
    struct {
        int doc; /* 0: no transaction */
        int content;
        int number; /* of its change; 0: the triggers did not stand */
    } transactions[MAX_TRANSACTIONS];
    int writes_left;

    int captured;
    int counted_all; /* the bound has been read */
    int bound;
    int cut_upto;
    int cut_done;
    int chunk_count;
    struct model_chunk chunks[MAX_CHUNKS];
    struct model_worker workers[MAX_WORKERS];

    int drain_held;
    int drain_expired;
    int drain_epoch;
    struct model_drainer drainers[MAX_DRAINERS];

    int sweep;
    int sweep_position;
    int noted;
    int route_target; /* queries go to the target */
    int view_target;
    int hold; /* a person rolled back */
    int completed;
    int flipped_low;   /* for the oracle: over by itself with less coverage than required, */
    int flipped_again; /* or after a rollback */
};

enum step {
    STEP_BEGIN, /* the application */
    STEP_COMMIT,
    STEP_CAPTURE,
    STEP_BOUND,
    STEP_CUT,
    STEP_EXPIRE,
    STEP_CLAIM,
    STEP_CLAIM_COMMIT,
    STEP_READ,
    STEP_CHECK, /* mutants */
    STEP_MOVE,
    STEP_WRITE,
    STEP_WRITE_ANSWER_LOST,
    STEP_WRITE_LOST,
    STEP_LOOK_AT_FENCE,
    STEP_RENEW,
    STEP_RELEASE,
    STEP_CRASH,
    STEP_DRAIN_EXPIRE,
    STEP_DRAIN_CLAIM,
    STEP_DRAIN_LIST,
    STEP_DRAIN_TOKEN,
    STEP_DRAIN_READ,
    STEP_DRAIN_SAME,
    STEP_DRAIN_WRITE,
    STEP_DRAIN_WRITE_ANSWER_LOST,
    STEP_DRAIN_RELEASE,
    STEP_DRAIN_CRASH,
    STEP_PURGE,
    STEP_SWEEP_BEGIN,
    STEP_SWEEP_WALK,
    STEP_SWEEP_END,
    STEP_FLIP,
    STEP_FLIP_VIEW, /* mutant */
    STEP_ROLLBACK,
    STEP_COMPLETE,
    STEPS
};

enum actor_kind { ACTOR_NONE, ACTOR_TRANSACTION, ACTOR_WORKER, ACTOR_DRAINER };

struct action {
    enum step step;
    int actor;    /* index of a transaction, worker or drainer */
    int argument; /* STEP_BEGIN: id x 4 + content; STEP_EXPIRE: chunk */
};

/* Where each transaction, worker and drainer stood before it was put in order. */
struct model_places {
    int transactions[MAX_TRANSACTIONS];
    int workers[MAX_WORKERS];
    int drainers[MAX_DRAINERS];
};

/* The state that a migration starts from; `variant` picks which documents and vectors are there. False: no more. */
bool model_initial(int variant, struct model_state *ret_state);

/* The next action after `action` that is worth trying; begin with {STEP_BEGIN, 0, -1}. False: none. */
bool model_next_action(struct action *action);

/* Takes the step. False: it is not possible in this state, which is left as it was. */
bool model_step(enum mutant mutant, struct action action, struct model_state *state);

/* Steps of one subject; as model_step. */
bool model_chunk_step(enum mutant mutant, struct action action, struct model_state *state);
bool model_drain_step(enum mutant mutant, struct action action, struct model_state *state);
bool model_finish_step(enum mutant mutant, struct action action, struct model_state *state);

/* Renumbers tokens, changes and epochs, and puts in order what is interchangeable. `ret_places` may be NULL. */
void model_normalise(struct model_state *state, struct model_places *ret_places);

/* What must hold in every state. NULL, or what is wrong in words (overwritten by the next call). */
const char *model_violation(const struct model_state *state);

/* Everything is embedded, every change is applied: what must stay reachable whatever happened before. */
bool model_at_rest(const struct model_state *state);

enum actor_kind model_actor_kind(enum step step);

/* --- questions that several steps ask --- */

int model_next_token(const struct model_state *state);
int model_next_number(const struct model_state *state);
bool model_is_current(const struct model_state *state, int doc);
bool model_change_waits(const struct model_state *state, int doc);
bool model_backfilled(const struct model_state *state);
void model_add_change(struct model_state *state, int number, int doc);
void model_settle(struct model_state *state, bool (*chosen)(const struct model_change *change, const void *context),
                  const void *context);

/* --- in words, for traces --- */

void model_print_step(const struct action *action, int display, const struct model_state *before,
                      const struct model_state *after);

#endif
