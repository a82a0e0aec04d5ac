#include "cli/command.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/nearest.h"

enum { COMMANDS_MAX = 64 };

const struct command *
command_find(const char *name)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
    }
    return NULL;
}

enum rc
command_unknown(const char *name, struct err *err)
{
    const char *names[COMMANDS_MAX + 1];
    size_t count = 0;

    for (const struct command *command = commands; command->name != NULL && count < COMMANDS_MAX; command++)
        names[count++] = command->name;
    names[count] = NULL;
    const char *meant = nearest_name(name, names);
    enum rc rc = meant != NULL
                     ? err_set(err, RC_INVALID, ERR_USAGE, "unknown command \"%.60s\"; did you mean %s?", name, meant)
                     : err_set(err, RC_INVALID, ERR_USAGE, "unknown command \"%.60s\"", name);
    err_hint(err, "reembed --help lists the commands");
    return rc;
}

/* --- help --- */

static void
print_title(const struct output *out, const char *title)
{
    output_print(out, "\n%s%s%s\n", style_on(out, STYLE_BOLD), title, style_off(out, STYLE_BOLD));
}

static void
print_options(const struct output *out, const struct option_spec *options)
{
    for (const struct option_spec *option = options; option != NULL && option->name != NULL; option++) {
        char left[80];
        char letter[8] = "";
        if (option->letter != 0)
            (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
        (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->value == NULL ? "" : " ",
                       option->value == NULL ? "" : option->value);
        output_print(out, "  %-28s  %s", left, option->line);
        if (option->variables[0] != NULL)
            output_print(out, " %s[%s%s%s]%s", style_on(out, STYLE_DIM), option->variables[0],
                         option->variables[1] == NULL ? "" : ", ",
                         option->variables[1] == NULL ? "" : option->variables[1], style_off(out, STYLE_DIM));
        output_print(out, "\n");
    }
}

/* "exit codes: 0 done, 1 ...", in lines of at most 90 columns. */
static void
print_exit_statuses(const struct output *out)
{
    enum { INDENT = 12, WIDTH = 90 };
    int column = INDENT;

    output_print(out, "\nexit codes:");
    for (const struct exit_status *status = exit_statuses; status->name != NULL; status++) {
        char item[64];
        int length = snprintf(item, sizeof item, "%d %s%s", status->code, status->name, status[1].name ? "," : "");
        if (column + length > WIDTH) {
            output_print(out, "\n%*s", INDENT - 1, "");
            column = INDENT;
        }
        output_print(out, " %s", item);
        column += length + 1;
    }
    output_print(out, "\n\n");
}

void
help_print(const struct output *out)
{
    const char *group = "";

    output_print(out, "%sreembed%s moves a collection of pgvector embeddings to another model while it is in use\n",
                 style_on(out, STYLE_BOLD), style_off(out, STYLE_BOLD));
    output_print(out, "\nusage: reembed [options] COMMAND [arguments]\n");
    for (const struct command *command = commands; command->name != NULL; command++) {
        char left[80];
        if (strcmp(group, command->group) != 0)
            print_title(out, command->group);
        group = command->group;
        (void)snprintf(left, sizeof left, "%s %s", command->name, command->usage);
        output_print(out, "  %-28s  %s\n", left, command->line);
    }
    print_title(out, "options");
    print_options(out, global_options);
    print_exit_statuses(out);
    output_next(out, "reembed plan FILE, or reembed COMMAND --help");
}

void
help_print_command(const struct output *out, const struct command *command)
{
    output_print(out, "usage: %sreembed %s%s%s%s%s\n\n%s\n", style_on(out, STYLE_BOLD), command->name,
                 command->usage[0] == '\0' ? "" : " ", command->usage, style_off(out, STYLE_BOLD),
                 command->options == NULL ? "" : " [options]", command->line);
    if (command->about != NULL)
        output_print(out, "\n%s\n", command->about);
    if (command->options != NULL) {
        print_title(out, "options");
        print_options(out, command->options);
    }
    print_title(out, "global options");
    print_options(out, global_options);
}

/* --- questions --- */

bool
ask(const struct common_options *common, const char *question)
{
    char answer[16] = "";

    if (common->yes || !common->interactive)
        return true;
    (void)fprintf(stderr, "%s [y/N] ", question);
    (void)fflush(stderr);
    if (fgets(answer, sizeof answer, stdin) == NULL)
        return false;
    return strcasecmp(answer, "y\n") == 0 || strcasecmp(answer, "yes\n") == 0;
}
