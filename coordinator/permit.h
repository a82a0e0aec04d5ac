/* coordinator/permit.h - may a request be sent to the target's provider now? The database knows, for all processes.
 *
 * What a server's Retry-After asks for, requests and tokens a minute, and the budget belong to the migration. Every
 * request takes a permit first: those of the workers through coordinator/flow.h, the few that are sent before there are
 * workers (the canary) with a policy made here.
 * Threads: each call uses the given connection, which is the calling thread's.
 */
#ifndef REEMBED_COORDINATOR_PERMIT_H
#define REEMBED_COORDINATOR_PERMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "coordinator/run.h"
#include "db/connection.h"
#include "worker/embed.h"

#define PERMIT_REASON_MAX 256

struct permit {
    bool granted;
    bool over_budget;               /* not granted, and waiting changes that only while requests are under way */
    int64_t wait_ms;                /* not granted: ask again then; 0 with over_budget: nothing is under way anywhere */
    char reason[PERMIT_REASON_MAX]; /* not granted */
};

/* `tokens`: of the request, estimated; `reserved`: of this process's requests under way, without it. */
enum rc permit_take(struct run *run, struct db *db, uint64_t tokens, uint64_t reserved, struct permit *ret_permit,
                    struct err *err);

/* The server asked for quiet: no process gets a permit before `ms` are over. */
enum rc permit_block(struct run *run, struct db *db, int64_t ms, struct err *err);

/* Tells the others what is still reserved, when no permit is asked for that would tell it. */
enum rc permit_reserve(struct run *run, struct db *db, uint64_t reserved, struct err *err);

/* For a thread that has nothing else to do than to wait for one answer. */
struct permit_waiter {
    struct run *run;
    struct db *db;
    const atomic_bool *stop; /* cuts a wait short; NULL: nothing does */
    enum rc rc;              /* not RC_OK: the database failed, and `err` says how */
    struct err err;
};

/* Makes the policy ask for permits and count what is used. An empty budget grants them: what it stops is the run, at
 * the first document. `waiter` must outlive the policy's use. */
void permit_policy(struct permit_waiter *waiter, struct embed_policy *policy);

#endif
