/* cli/option.h - the options of a command line, as tables.
 *
 * Long options take their value as `--name value` or `--name=value`, short ones as `-k 5` or `-k5`. Options and
 * arguments may stand in any order; `--` ends the options. An option that is not given may come from an environment
 * variable. Whether a name is known, which one was probably meant, the help text: all follow from the rows.
 * Threads: plain data, one owner; texts are borrowed from argv and the environment.
 */
#ifndef REEMBED_CLI_OPTION_H
#define REEMBED_CLI_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { OPTIONS_MAX = 24, ARGUMENTS_MAX = 4096 };

struct option_spec {
    const char *name;         /* without "--" */
    char letter;              /* 0: none */
    const char *value;        /* how help names the value, such as "SECS"; NULL: a switch */
    const char *line;         /* one line of help; NULL: known, but not shown */
    const char *variables[2]; /* environment, the first that is set and not empty counts */
};

/* A NULL-named row ends a table. */
struct arguments {
    const struct option_spec *tables[2];  /* the global options, those of the command (may be NULL) */
    const char *values[2][OPTIONS_MAX];   /* NULL: not given; "" of a switch that was given */
    const char *texts[ARGUMENTS_MAX + 1]; /* the arguments that are no options, NULL-ended */
    size_t count;
};

/* Splits `words` (argv without the program's name). `command_options` is asked for the second table once, with the
 * first word that is no option; it returns RC_INVALID with `err` filled for an unknown command. The command's name is
 * not among the texts. RC_INVALID, ERR_USAGE: unknown option, missing or superfluous value, too many arguments. */
enum rc arguments_parse(struct arguments *arguments, const struct option_spec *global_options,
                        enum rc (*command_options)(const char *word, const struct option_spec **ret_options,
                                                   void *context, struct err *err),
                        void *context, const char *const *words, size_t count, struct err *err);

/* An option that is in neither table is a mistake in this program: these abort. */
bool option_given(const struct arguments *arguments, const char *name);       /* a switch, or any value */
const char *option_text(const struct arguments *arguments, const char *name); /* NULL: not given */

/* RC_INVALID naming the option where the text is no number or out of range (`maximum` of a count is below INT64_MAX). Not given: *ret_number keeps its value. */
enum rc option_number(const struct arguments *arguments, const char *name, double minimum, double maximum,
                      double *ret_number, struct err *err);
enum rc option_count(const struct arguments *arguments, const char *name, int64_t minimum, int64_t maximum,
                     int64_t *ret_number, struct err *err);

#endif
