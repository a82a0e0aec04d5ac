/* coordinator/plan_sample.h - the documents as requests would hold them: all of a small collection, or a random sample.
 *
 * All are read where there are few enough, and where a model in this process counts their tokens itself: its figures
 * are exact then. Reading ends after some seconds; what was read until then is a random sample.
 * Threads: one. Ownership: the struct owns what it points at.
 */
#ifndef REEMBED_COORDINATOR_PLAN_SAMPLE_H
#define REEMBED_COORDINATOR_PLAN_SAMPLE_H

#include "coordinator/plan.h"
#include "worker/embed.h"

enum { PLAN_PROBE = 16 };

struct sampled {
    size_t tokens; /* 0: it will not be sent */
    size_t bytes;
    uint64_t hash; /* of the text: equal ones of a batch are sent once */
    int64_t place; /* among all documents, where all were read */
};

struct plan_sample {
    struct sampled *entries; /* of all documents in the order of their ids, else in no order */
    size_t count;
    bool all;
    double tokens;                     /* a document, on average */
    struct document probe[PLAN_PROBE]; /* the first of those read that have text */
    size_t probe_count;
    size_t probe_tokens; /* of them, as counted here */
    struct arena *arena; /* of the probe's documents */
};

/* How many documents there are. */
enum rc plan_count_documents(struct plan *plan, int64_t *ret_documents, struct err *err);

enum rc plan_sample_read(struct plan *plan, int64_t documents, struct plan_sample *ret_sample, struct err *err);
void plan_sample_free(struct plan_sample *sample);

#endif
