/* serve/exposition.h - the text format of Prometheus, version 0.0.4.
 *
 * Appends to a strbuf; a failed append is seen at its end. Threads: pure functions.
 */
#ifndef REEMBED_SERVE_EXPOSITION_H
#define REEMBED_SERVE_EXPOSITION_H

#include <libpq-fe.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/strbuf.h"
#include "serve/families.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The # HELP and # TYPE lines; once a family, before its samples. */
void exposition_head(const struct metric_family *family, struct strbuf *out);

/* One sample. `label` may be NULL: none; `text` is escaped. */
void exposition_sample(const char *name, const char *label, const char *text, double value, struct strbuf *out);

/* All samples of a histogram, in seconds. */
void exposition_histogram(const struct metric_family *family, const struct histogram *histogram, struct strbuf *out);

/* The families of serve/sql/metrics.sql (columns family, labels, value), each under its head. */
void exposition_database(const PGresult *samples, struct strbuf *out);

#endif
