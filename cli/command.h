/* cli/command.h - the commands, as data: name, one line, usage, options, what to run.
 *
 * The table is cli/command_table.c; each family of commands has a file of its own.
 */
#ifndef REEMBED_CLI_COMMAND_H
#define REEMBED_CLI_COMMAND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "cli/option.h"
#include "cli/output.h"
#include "coordinator/commands.h"

struct command;

/* One call of one command: what the person wrote, where the answer goes. */
struct invocation {
    const struct command *command;
    const struct arguments *arguments;
    struct common_options common;
    struct output out;
    bool no_progress;
    atomic_bool *stop; /* raised by a signal; only for commands that are `stoppable` */
};

struct command {
    const char *name;
    const char *group;                 /* heading in the list of commands */
    const char *usage;                 /* the arguments, such as "ID DOC... --reason R" */
    const char *line;                  /* what it does, in one line */
    const char *about;                 /* more, for its own help; may be NULL */
    const struct option_spec *options; /* may be NULL */
    size_t min_arguments;
    size_t max_arguments;
    bool stoppable; /* a signal is told to it instead of ending the process */

    /* Returns an exit code; `err` is filled where there is something to say about it. */
    int (*run)(const struct invocation *invocation, struct err *err);
};

/* What an exit code means: `name` in a list of all, `meaning` in the manual. */
struct exit_status {
    int code;
    const char *name;
    const char *meaning;
};

/* Each ended by a row without a name. */
extern const struct command commands[];
extern const struct option_spec global_options[];
extern const struct exit_status exit_statuses[];

/* NULL where there is none. */
const struct command *command_find(const char *name);

/* RC_INVALID, ERR_USAGE with the nearest name. */
enum rc command_unknown(const char *name, struct err *err);

void help_print(const struct output *out);
void help_print_command(const struct output *out, const struct command *command);

/* Asks on the terminal; false unless the answer is yes. Without a terminal, or with --yes, it is yes unasked: who
 * wrote the option in a script has answered. */
bool ask(const struct common_options *common, const char *question);

/* --- the families --- */
int init_run(const struct invocation *invocation, struct err *err);
int doctor_run(const struct invocation *invocation, struct err *err);
int new_run(const struct invocation *invocation, struct err *err);
int plan_run(const struct invocation *invocation, struct err *err);
int run_run(const struct invocation *invocation, struct err *err);
int verify_run(const struct invocation *invocation, struct err *err);
int compare_run(const struct invocation *invocation, struct err *err);
int search_run(const struct invocation *invocation, struct err *err);
int status_run(const struct invocation *invocation, struct err *err);
int list_run(const struct invocation *invocation, struct err *err);
int pause_run(const struct invocation *invocation, struct err *err);
int resume_run(const struct invocation *invocation, struct err *err);
int cancel_run(const struct invocation *invocation, struct err *err);
int cutover_run(const struct invocation *invocation, struct err *err);
int rollback_run(const struct invocation *invocation, struct err *err);
int finalize_run(const struct invocation *invocation, struct err *err);
int failures_run(const struct invocation *invocation, struct err *err);
int retry_run(const struct invocation *invocation, struct err *err);
int skip_run(const struct invocation *invocation, struct err *err);
int serve_run(const struct invocation *invocation, struct err *err);
int embed_run(const struct invocation *invocation, struct err *err);
int model_run(const struct invocation *invocation, struct err *err);
int tokenize_run(const struct invocation *invocation, struct err *err);

#endif
