/* tests/unit/cli_call.h - calls the program that was built, as a shell would.
 *
 * The environment's database and log settings are taken away first: a test names its own.
 */
#ifndef REEMBED_TESTS_CLI_CALL_H
#define REEMBED_TESTS_CLI_CALL_H

#include <stdio.h>
#include <sys/types.h>

struct outcome {
    int code; /* -1: ended by a signal */
    char out[262144];
    char errors[16384];
};

/* `words` without the program's name, NULL-ended. Valid until the next call. */
struct outcome *call(const char *const *words, const char *input);
#define CALL(...) call((const char *const[]){__VA_ARGS__, NULL}, "")

/* Only starts it. */
pid_t call_start(const char *const *words, const char *input, FILE *out, FILE *errors);

#endif
