/* Reads the lines of tests/fixtures/ and similar files, each an object of a text and numbers: {"text":"…","ids":[…]}.
 */
#ifndef REEMBED_TESTS_FIXTURE_H
#define REEMBED_TESTS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct fixture {
    FILE *file;
    char *line; /* the present one */
    size_t capacity;
    size_t number; /* of the line, from 1 */
    char *text;    /* of the last fixture_text: may hold NUL */
};

/* `name` is relative to tests/fixtures unless it begins with '/'. Fails the test when the file is not there. */
void fixture_open(struct fixture *fixture, const char *name);
bool fixture_next(struct fixture *fixture);
void fixture_close(struct fixture *fixture);

/* The string at `key`, unescaped. Valid until the next call. */
const char *fixture_text(struct fixture *fixture, const char *key, size_t *ret_length);

/* The array of numbers, or the number, at `key`. Returns how many there are, at most `capacity`. */
size_t fixture_numbers(const struct fixture *fixture, const char *key, double *numbers, size_t capacity);

/* The folder of models that a test may use, "<folder>/<name>"; NULL when `file` is not in it, and the test should be
 * skipped. From REEMBED_TEST_MODELS, by default <source>/models. */
const char *fixture_model(const char *name, const char *file);

#endif
