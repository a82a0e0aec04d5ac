#include "tests/unit/cli_call.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char program[] = REEMBED_BINARY_DIR "/bin/reembed";

static void
clear_environment(void)
{
    static const char *const names[] = {"REEMBED_DATABASE_URL", "DATABASE_URL", "REEMBED_LOG_FORMAT",
                                        "REEMBED_LOG_LEVEL",    "PGHOST",       "REEMBED_YES"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unsetenv(names[i]);
}

static void
read_back(FILE *file, char *text, size_t size)
{
    rewind(file);
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    (void)fclose(file);
}

pid_t
call_start(const char *const *words, const char *input, FILE *out, FILE *errors)
{
    FILE *in = tmpfile();
    (void)fputs(input, in);
    rewind(in);
    pid_t child = fork();
    if (child == 0) {
        char *arguments[32] = {(char *)(uintptr_t)program};
        for (size_t i = 0; words[i] != NULL && i < 30; i++)
            arguments[i + 1] = (char *)(uintptr_t)words[i];
        clear_environment();
        (void)dup2(fileno(in), STDIN_FILENO);
        (void)dup2(fileno(out), STDOUT_FILENO);
        (void)dup2(fileno(errors), STDERR_FILENO);
        (void)execv(program, arguments);
        _exit(127);
    }
    (void)fclose(in);
    return child;
}

struct outcome *
call(const char *const *words, const char *input)
{
    static struct outcome outcome;
    int status = 0;
    FILE *out = tmpfile();
    FILE *errors = tmpfile();
    pid_t child = call_start(words, input, out, errors);
    cr_assert_eq(waitpid(child, &status, 0), child);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    read_back(out, outcome.out, sizeof outcome.out);
    read_back(errors, outcome.errors, sizeof outcome.errors);
    return &outcome;
}
