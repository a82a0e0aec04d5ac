/* For ThreadSanitizer: threads that log, register secrets and change the format at the same time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { WRITERS = 6, ROUNDS = 300 };

static void
fail(const char *what)
{
    printf("failed: %s\n", what);
    exit(1);
}

static void *
write_lines(void *argument)
{
    char secret[32];

    for (int i = 0; i < ROUNDS; i++) {
        (void)snprintf(secret, sizeof secret, "secret-%d-%d", *(int *)argument, i % 5);
        log_secret(secret);
        log_event(LOG_INFO, "line", LF_STR("key", secret), LF_INT("number", i));
        if (i % 50 == 0)
            log_open(i % 100 == 0 ? LOG_TEXT : LOG_JSON, LOG_INFO);
        char copy[64];
        (void)snprintf(copy, sizeof copy, "x%sx", secret);
        log_scrub(copy);
        if (strcmp(copy, "x***x") != 0)
            fail("a registered secret was not scrubbed");
    }
    return NULL;
}

int
main(void)
{
    pthread_t threads[WRITERS];
    int numbers[WRITERS];
    FILE *captured = tmpfile();

    if (captured == NULL || dup2(fileno(captured), STDERR_FILENO) < 0)
        fail("can't capture stderr");
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, write_lines, &numbers[i]) != 0)
            fail("can't start a thread");
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);

    rewind(captured);
    char line[1024];
    int lines = 0;
    while (fgets(line, sizeof line, captured) != NULL) {
        lines++;
        if (strstr(line, "secret-") != NULL || strstr(line, "***") == NULL)
            fail("a secret was logged");
    }
    if (lines != WRITERS * ROUNDS)
        fail("lines are missing or torn");
    (void)fclose(captured);
    return 0;
}
