/* tests/faults/subjects.h - what is run again and again while memory or threads fail.
 *
 * A subject does all of something, gives everything back, and returns RC_OK only when the whole result was there and
 * right; otherwise the rc and the error of whoever failed.
 */
#ifndef REEMBED_TESTS_FAULT_SUBJECTS_H
#define REEMBED_TESTS_FAULT_SUBJECTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct subject {
    const char *name;
    enum rc (*run)(struct err *err);
    bool threads; /* starts some */
};

extern const struct subject parser_subjects[];
extern const size_t parser_subject_count;
extern const struct subject worker_subjects[];
extern const size_t worker_subject_count;

#endif
