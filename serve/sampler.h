/* serve/sampler.h - what the database knows, asked for at most once a second whoever wants it.
 *
 * One thread holds the server's own connection. Who wants something and finds it older than a second asks that thread and
 * waits for it, for a few seconds at most: a database that hangs costs an error and never blocks the rest. Now and then
 * it looks unasked, for the history.
 * Threads: sampler_get, sampler_forget, sampler_database_up from any thread.
 */
#ifndef REEMBED_SERVE_SAMPLER_H
#define REEMBED_SERVE_SAMPLER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/strbuf.h"

enum sample {
    SAMPLE_METRICS, /* Prometheus text */
    SAMPLE_STATUS,  /* what `status --json` prints */
    SAMPLE_PAGE,    /* "status":{...},"more":{...},"history":[...] */
    SAMPLE_SCHEMA,  /* "": the schema is there and of this program's version */
};

struct sampler;

/* Connects on first use. `url` is copied. */
enum rc sampler_open(const char *url, struct sampler **ret_sampler, struct err *err);
struct sampler *sampler_close(struct sampler *sampler); /* NULL is fine; returns NULL */

/* Appends the newest text. `id`: of a migration, NULL the one that `status` shows. RC_AGAIN: there is no such migration.
 * RC_RETRY: the database is away or slow. Others as in db/connection.h. */
enum rc sampler_get(struct sampler *sampler, enum sample kind, const char *id, struct strbuf *out, struct err *err);

/* Something was changed: what was seen before is old. */
void sampler_forget(struct sampler *sampler);

/* The newest look of whatever kind was answered. */
bool sampler_database_up(struct sampler *sampler);

#endif
