/* base/measurements.h - what only the process knows about its work: counters, gauges and histograms.
 *
 * Here, below both, stands what the coordinator and the workers fill and what the server (serve/) shows, so that neither
 * has to know the other. What the database knows (progress, coverage, gates) is not here. Nothing is ever reset.
 * Threads: all fields are atomic, added to and read with relaxed order by whoever; a zeroed struct is a new one.
 * Ownership: the command line's; it outlives the run and the server.
 */
#ifndef REEMBED_BASE_MEASUREMENTS_H
#define REEMBED_BASE_MEASUREMENTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/histogram.h"

/* What became of a request to a provider; those in process count too. */
enum measured_request {
    MEASURED_OK,
    MEASURED_TRANSPORT, /* no answer, timeout, malformed answer */
    MEASURED_OVERLOAD,  /* 429, 503 */
    MEASURED_SERVER,    /* other 5xx */
    MEASURED_TOO_LARGE, /* too many items, tokens or bytes: halved */
    MEASURED_REJECTED,  /* other 4xx: bisected */
    MEASURED_REFUSED,   /* key, quota, unknown model: the run stops */
    MEASURED_ABANDONED, /* cut short by a shutdown, or failed for a reason of our own */
    MEASURED_REQUESTS,
};

/* Why the backfill is held back; the words are in measured_throttle_names. */
enum measured_throttle {
    THROTTLE_NONE,
    THROTTLE_ACTIVE_HOURS,
    THROTTLE_REPLICA_LAG,
    THROTTLE_WAL_RATE,
    THROTTLE_WAITING_LOCKS,
    THROTTLE_DOCUMENTS_PER_SECOND,
    THROTTLE_PROVIDER, /* the provider is away, asked for quiet, or its limits are used up */
    MEASURED_THROTTLES,
};

/* "", "active_hours", "replica_lag", ... and "ok", "transport", ...: the values of labels. */
extern const char *const measured_throttle_names[MEASURED_THROTTLES];
extern const char *const measured_request_names[MEASURED_REQUESTS];

struct measurements {
    atomic_ullong documents_stored;  /* vectors written, backfill and changes */
    atomic_ullong documents_current; /* met by the backfill and found to have their vector already */
    atomic_ullong documents_skipped;
    atomic_ullong documents_failed;
    atomic_ullong batches_stored;
    atomic_ullong batches_dropped; /* lost lease, shutdown: nothing of them was stored, or only a part */
    atomic_ullong requests[MEASURED_REQUESTS];
    atomic_ullong retries;
    atomic_ullong tokens;
    atomic_ullong leases_claimed;
    atomic_ullong lease_takeovers; /* claimed from a process that did not finish */
    atomic_ullong leases_lost;     /* taken over by another */

    /* as of the last round of the main thread, at most some 100 ms ago */
    atomic_llong waiting_to_embed; /* batches */
    atomic_llong waiting_to_write; /* batches */
    atomic_llong in_flight;        /* documents */

    atomic_int throttle;                            /* enum measured_throttle */
    atomic_ullong throttled_us[MEASURED_THROTTLES]; /* time that the reader was held, by reason */
    atomic_llong provider_waits_until_ms;           /* clock_now_ms; THROTTLE_PROVIDER until then */

    struct histogram read;    /* one window of documents */
    struct histogram embed;   /* one batch, with all retries */
    struct histogram request; /* one request to the provider */
    struct histogram write;   /* one statement, from sending to its answer */

    atomic_bool working;   /* the threads of the run are there: from now on the lease must be alive */
    atomic_llong beat_ms;  /* clock_now_ms of the last heartbeat that the database took; 0: none yet */
    atomic_llong lease_ms; /* how long the others wait for one */
};

#define MEASURE_ADD(counter, n) atomic_fetch_add_explicit(&(counter), (n), memory_order_relaxed)

#endif
