/* deploy/package/manual.h - the manual pages and the shell completions, written from the tables of cli/.
 *
 * Nothing in them is written twice: a command or an option that is added to cli/command_table.c is in all of them.
 * Threads: one. Errors: false when the stream has failed, with errno.
 */
#ifndef REEMBED_DEPLOY_PACKAGE_MANUAL_H
#define REEMBED_DEPLOY_PACKAGE_MANUAL_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/command.h"

/* reembed.1 */
bool write_main_page(FILE *out);

/* reembed-COMMAND.1 */
bool write_command_page(FILE *out, const struct command *command);

bool write_bash_completion(FILE *out);
bool write_zsh_completion(FILE *out);

/* What may stand where help says "FILE", "text|json", ... */
enum value_kind {
    VALUE_NONE, /* a switch */
    VALUE_FILE,
    VALUE_FOLDER,
    VALUE_WORDS, /* one of several, separated by "|" */
    VALUE_OTHER
};

enum value_kind value_kind_of(const char *value);

/* What the first argument of a command is: VALUE_FILE where its usage names a FILE, otherwise VALUE_OTHER or NONE. */
enum value_kind argument_kind_of(const struct command *command);

#endif
