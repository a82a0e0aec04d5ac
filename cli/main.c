/* cli/main.c - the program reembed: what was written on the command line becomes one call of one command. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/signals.h"
#include "coordinator/exit_code.h"

static atomic_bool stop;

/* --- the words of the command line --- */

/* Every connection string, also one behind a misspelt option. */
static bool
is_secret_word(const char *word)
{
    return strstr(word, "://") != NULL || strcasestr(word, "password=") != NULL;
}

static void
free_words(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

/* Copies argv without the program's name, then overwrites what others could read in the process title. NULL: out of
 * memory. */
static char **
take_words(int argc, char **argv)
{
    char **words = calloc((size_t)argc + 1, sizeof *words);
    bool is_url = false;

    if (words == NULL)
        return NULL;
    for (int i = 1; i < argc; i++) {
        static const char option[] = "--database-url";
        /* "reembed help run" is "reembed --help run". */
        words[i - 1] = strdup(i == 1 && strcmp(argv[i], "help") == 0 ? "--help" : argv[i]);
        if (words[i - 1] == NULL) {
            free_words(words);
            return NULL;
        }
        if (is_url)
            memset(argv[i], '*', strlen(argv[i]));
        else if (strncmp(argv[i], option, sizeof option - 1) == 0 && argv[i][sizeof option - 1] == '=')
            memset(argv[i] + sizeof option, '*', strlen(argv[i]) - sizeof option);
        else if (is_secret_word(argv[i]))
            memset(argv[i], '*', strlen(argv[i]));
        is_url = strcmp(words[i - 1], option) == 0;
    }
    return words;
}

static enum rc
choose_command(const char *word, const struct option_spec **ret_options, void *context, struct err *err)
{
    const struct command **command = context;
    *command = command_find(word);
    if (*command == NULL)
        return command_unknown(word, err);
    *ret_options = (*command)->options;
    return RC_OK;
}

static enum rc
check_count(const struct command *command, const struct arguments *arguments, struct err *err)
{
    enum rc rc = RC_OK;
    if (arguments->count > command->max_arguments)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s: \"%.60s\" is one argument too many", command->name,
                     arguments->texts[command->max_arguments]);
    else if (arguments->count < command->min_arguments)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s: an argument is missing", command->name);
    if (rc != RC_OK)
        err_hint(err, "usage: reembed %s%s%s", command->name, command->usage[0] == '\0' ? "" : " ", command->usage);
    return rc;
}

/* --- the log --- */

static enum rc
choose_log(const struct arguments *arguments, enum log_format *ret_format, struct err *err)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"error", LOG_ERROR},
                  {"warning", LOG_WARNING},
                  {"warn", LOG_WARNING},
                  {"info", LOG_INFO},
                  {"debug", LOG_DEBUG}};
    const char *format = option_text(arguments, "log-format");
    const char *level = option_text(arguments, "log-level");
    enum log_level chosen = LOG_INFO;
    bool known = level == NULL;

    for (size_t i = 0; !known && i < sizeof levels / sizeof levels[0]; i++) {
        known = strcasecmp(level, levels[i].name) == 0;
        chosen = levels[i].level;
    }
    if (!known)
        return err_set(err, RC_INVALID, ERR_USAGE, "--log-level must be error, warning, info or debug, not \"%.40s\"",
                       level);
    if (format != NULL && strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
        return err_set(err, RC_INVALID, ERR_USAGE, "--log-format must be text or json, not \"%.40s\"", format);
    *ret_format = format != NULL && strcmp(format, "json") == 0 ? LOG_JSON : LOG_TEXT;
    log_open(*ret_format, chosen);
    return RC_OK;
}

static void
report(const struct err *err, enum log_format format)
{
    if (err->message[0] == '\0')
        return;
    if (format == LOG_JSON) {
        log_event(LOG_ERROR, err->message, LF_STR("hint", err->hint), LF_STR("sqlstate", err->sqlstate));
        return;
    }
    bool colour = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    (void)fprintf(stderr, "%sreembed:%s %s\n", colour ? "\033[31m" : "", colour ? "\033[0m" : "", err->message);
    if (err->hint[0] != '\0')
        (void)fprintf(stderr, "         %s\n", err->hint);
}

/* --- one call --- */

static int
call(const struct command *command, const struct arguments *arguments, const struct output *out, struct err *err)
{
    struct invocation invocation = {
        .command = command,
        .arguments = arguments,
        .common = {.database_url = option_text(arguments, "database-url"),
                   .onnxruntime = option_text(arguments, "onnxruntime"),
                   .yes = option_given(arguments, "yes"),
                   .interactive = isatty(STDIN_FILENO) && isatty(STDERR_FILENO)},
        .out = *out,
        .no_progress = option_given(arguments, "no-progress"),
        .stop = &stop,
    };

    enum rc rc = check_count(command, arguments, err);
    if (rc != RC_OK)
        return exit_code_of(rc, err);
    if (command->stoppable) {
        rc = signals_watch(&stop, err);
        if (rc != RC_OK)
            return exit_code_of(rc, err);
    } else {
        signals_unblock();
    }
    return command->run(&invocation, err);
}

static int
run(const char *const *words, size_t count, struct err *err, enum log_format *ret_format)
{
    static struct arguments arguments;
    const struct command *command = NULL;
    const struct output out = output_standard();

    enum rc rc = arguments_parse(&arguments, global_options, choose_command, &command, words, count, err);
    if (rc == RC_OK)
        rc = choose_log(&arguments, ret_format, err);
    if (rc != RC_OK) {
        if (err->hint[0] == '\0')
            err_hint(err, "see reembed %s%s--help", command == NULL ? "" : command->name, command == NULL ? "" : " ");
        return exit_code_of(rc, err);
    }

    int code = EXIT_DONE;
    if (option_given(&arguments, "help") && command != NULL) {
        help_print_command(&out, command);
    } else if (option_given(&arguments, "help")) {
        help_print(&out);
    } else if (option_given(&arguments, "version")) {
        output_print(&out, "reembed %s\n", REEMBED_VERSION);
    } else if (command == NULL) {
        struct output errors = out;
        errors.stream = stderr;
        help_print(&errors);
        return EXIT_USAGE;
    } else {
        code = call(command, &arguments, &out, err);
    }
    struct err write_error = ERR_INIT;
    rc = output_finish(&out, &write_error);
    if (rc != RC_OK && code == EXIT_DONE) {
        *err = write_error;
        code = exit_code_of(rc, err);
    }
    return code;
}

int
main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    enum log_format format = LOG_TEXT;

    signals_block();
    char **words = take_words(argc, argv);
    if (words == NULL) {
        (void)err_memory(&err);
        report(&err, format);
        return EXIT_UNEXPECTED;
    }
    size_t count = argc > 0 ? (size_t)argc - 1 : 0;
    log_open(LOG_TEXT, LOG_INFO);
    int code = run((const char *const *)words, count, &err, &format);
    report(&err, format);
    free_words(words);
    return code;
}
