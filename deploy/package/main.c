/* deploy/package/main.c - write-manual DIR: the manual pages and the shell completions, for the build.
 *
 * DIR gets reembed.1, reembed-COMMAND.1 for each command, reembed.bash and _reembed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/package/manual.h"

static FILE *
open_file(const char *folder, const char *name)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        (void)fprintf(stderr, "write-manual: %s: %s\n", path, strerror(errno));
        exit(EXIT_FAILURE);
    }
    return file;
}

static void
finish(FILE *file, bool is_written)
{
    if (fclose(file) != 0 || !is_written) {
        (void)fprintf(stderr, "write-manual: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fputs("usage: write-manual DIR\n", stderr);
        return EXIT_FAILURE;
    }
    FILE *file = open_file(argv[1], "reembed.1");
    finish(file, write_main_page(file));
    for (const struct command *command = commands; command->name != NULL; command++) {
        char name[64];
        (void)snprintf(name, sizeof name, "reembed-%s.1", command->name);
        file = open_file(argv[1], name);
        finish(file, write_command_page(file, command));
    }
    file = open_file(argv[1], "reembed.bash");
    finish(file, write_bash_completion(file));
    file = open_file(argv[1], "_reembed");
    finish(file, write_zsh_completion(file));
    return EXIT_SUCCESS;
}
