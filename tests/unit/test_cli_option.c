/* The words of a command line: values, positions, environment, and what is said about mistakes. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/option.h"

static const struct option_spec globals[] = {
    {.name = "url", .value = "URL", .line = "where", .variables = {"OPTION_TEST_FIRST", "OPTION_TEST_SECOND"}},
    {.name = "verbose", .letter = 'v', .line = "more", .variables = {"OPTION_TEST_VERBOSE"}},
    {.name = NULL},
};

static const struct option_spec search[] = {
    {.name = "limit", .letter = 'k', .value = "N", .line = "hits"},
    {.name = "json", .letter = 'j', .line = "as JSON"},
    {.name = NULL},
};

static enum rc
choose(const char *word, const struct option_spec **ret_options, void *context, struct err *err)
{
    (void)context;
    if (strcmp(word, "search") != 0)
        return err_set(err, RC_INVALID, ERR_USAGE, "unknown command %s", word);
    *ret_options = search;
    return RC_OK;
}

static struct arguments arguments;
static struct err err;

/* `line` is split at blanks. */
static enum rc
parse(const char *line)
{
    static char words[256];
    const char *split[32];
    size_t count = 0;
    char *rest = words;

    (void)strncpy(words, line, sizeof words - 1);
    for (char *word = NULL; (word = strsep(&rest, " ")) != NULL && count < 32;)
        split[count++] = word;
    return arguments_parse(&arguments, globals, choose, NULL, split, count, &err);
}

static void
refused(const char *line, const char *part)
{
    cr_assert_eq(parse(line), RC_INVALID, "%s was taken", line);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_not_null(strstr(err.message, part), "%s: %s, and not: %s", line, err.message, part);
}

Test(cli_option, values_stand_behind_a_blank_an_equals_sign_or_the_letter)
{
    static const char *const lines[] = {"search --limit 5", "search --limit=5", "search -k 5",
                                        "search -k5",       "search -jk5",      "--url x search -k5"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        int64_t limit = 0;
        cr_assert_eq(parse(lines[i]), RC_OK, "%s: %s", lines[i], err.message);
        cr_assert_eq(option_count(&arguments, "limit", 1, 10, &limit, &err), RC_OK);
        cr_assert_eq(limit, 5, "%s", lines[i]);
    }
}

Test(cli_option, global_options_stand_before_or_behind_the_command)
{
    cr_assert_eq(parse("--url a search"), RC_OK);
    cr_assert_str_eq(option_text(&arguments, "url"), "a");
    cr_assert_eq(parse("search --url b -v"), RC_OK);
    cr_assert_str_eq(option_text(&arguments, "url"), "b");
    cr_assert(option_given(&arguments, "verbose") != 0);
    cr_assert_null(option_text(&arguments, "limit"));
}

Test(cli_option, the_last_of_two_values_counts)
{
    cr_assert_eq(parse("search --url=a --url=b"), RC_OK);
    cr_assert_str_eq(option_text(&arguments, "url"), "b");
}

Test(cli_option, arguments_keep_their_order_and_two_dashes_end_the_options)
{
    cr_assert_eq(parse("search a --json b -- --limit -k"), RC_OK, "%s", err.message);
    cr_assert_eq(arguments.count, 4);
    cr_assert_str_eq(arguments.texts[0], "a");
    cr_assert_str_eq(arguments.texts[1], "b");
    cr_assert_str_eq(arguments.texts[2], "--limit");
    cr_assert_str_eq(arguments.texts[3], "-k");
    cr_assert_null(arguments.texts[4]);
    cr_assert_eq(parse("search -"), RC_OK, "a single dash is an argument");
    cr_assert_str_eq(arguments.texts[0], "-");
}

Test(cli_option, the_environment_stands_in_the_first_variable_first)
{
    setenv("OPTION_TEST_FIRST", "", 1);
    setenv("OPTION_TEST_SECOND", "two", 1);
    cr_assert_eq(parse("search"), RC_OK);
    cr_assert_str_eq(option_text(&arguments, "url"), "two", "an empty variable is none");
    setenv("OPTION_TEST_FIRST", "one", 1);
    cr_assert_eq(parse("search"), RC_OK);
    cr_assert_str_eq(option_text(&arguments, "url"), "one");
    cr_assert_eq(parse("search --url three"), RC_OK);
    cr_assert_str_eq(option_text(&arguments, "url"), "three", "what is written counts first");
}

Test(cli_option, a_switch_in_the_environment_may_be_turned_off)
{
    static const struct {
        const char *value;
        bool given;
    } rows[] = {{"1", true}, {"yes", true}, {"0", false}, {"false", false}, {"No", false}, {"", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setenv("OPTION_TEST_VERBOSE", rows[i].value, 1);
        cr_assert_eq(parse("search"), RC_OK);
        cr_assert_eq(option_given(&arguments, "verbose"), rows[i].given, "\"%s\"", rows[i].value);
    }
}

Test(cli_option, an_unknown_option_is_named_with_its_nearest_neighbour)
{
    refused("search --jsno", "unknown option --jsno; did you mean --json?");
    refused("search --limt=3", "unknown option --limt; did you mean --limit?");
    refused("search -x", "unknown option -x");
    refused("search --quux", "unknown option --quux");
    cr_assert_null(strstr(err.message, "did you mean"));
    refused("--json search", "unknown option --json");
}

Test(cli_option, the_value_of_an_unknown_option_is_not_repeated)
{
    refused("--urll=postgres://u:hush@h/d search", "did you mean --url?");
    cr_assert_null(strstr(err.message, "hush"));
}

Test(cli_option, missing_and_superfluous_values_are_refused)
{
    refused("search --limit", "option --limit needs a value: --limit N");
    refused("search -k", "option -k needs a value");
    refused("search --json=1", "option --json takes no value");
    refused("find", "unknown command find");
}

Test(cli_option, numbers_are_decimal_and_in_range)
{
    static const char *const wrong[] = {"0", "11", "5x", "x", "0x5", " 5", "5.5", "99999999999999999999", "-1"};
    int64_t limit = 7;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *words[] = {"search", "--limit", wrong[i]};
        cr_assert_eq(arguments_parse(&arguments, globals, choose, NULL, words, 3, &err), RC_OK);
        cr_assert_eq(option_count(&arguments, "limit", 1, 10, &limit, &err), RC_INVALID, "\"%s\"", wrong[i]);
        cr_assert_not_null(strstr(err.message, "--limit must be a whole number from 1 to 10, not "), "%s", err.message);
    }
    cr_assert_eq(limit, 7, "untouched");
}

Test(cli_option, shares_are_numbers_but_neither_nan_nor_infinite)
{
    static const char *const wrong[] = {"nan", "inf", "1.01", "-0.1", "", "0.2.3", "1e", "0x1p-1"};
    double share = 7;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *words[] = {"search", "--limit", wrong[i]};
        cr_assert_eq(arguments_parse(&arguments, globals, choose, NULL, words, 3, &err), RC_OK);
        cr_assert_eq(option_number(&arguments, "limit", 0, 1, &share, &err), RC_INVALID, "\"%s\"", wrong[i]);
    }
    cr_assert_eq(parse("search -k 0.25"), RC_OK);
    cr_assert_eq(option_number(&arguments, "limit", 0, 1, &share, &err), RC_OK);
    cr_assert_float_eq(share, 0.25, 0);
    cr_assert_eq(parse("search -k 1e400"), RC_OK);
    cr_assert_eq(option_number(&arguments, "limit", 0, (double)INFINITY, &share, &err), RC_INVALID);
}

Test(cli_option, too_many_arguments_are_refused_and_not_cut_off)
{
    static const char *words[ARGUMENTS_MAX + 2];
    words[0] = "search";
    for (size_t i = 1; i < ARGUMENTS_MAX + 2; i++)
        words[i] = "doc";
    cr_assert_eq(arguments_parse(&arguments, globals, choose, NULL, words, ARGUMENTS_MAX + 1, &err), RC_OK);
    cr_assert_eq(arguments.count, ARGUMENTS_MAX);
    cr_assert_eq(arguments_parse(&arguments, globals, choose, NULL, words, ARGUMENTS_MAX + 2, &err), RC_INVALID);
}

/* --- the table of commands --- */

Test(cli_option, every_row_of_the_command_table_is_complete)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        size_t count = 0;
        cr_assert(command->group != NULL && command->usage != NULL && command->line != NULL && command->run != NULL ? 1
                                                                                                                    : 0,
                  "%s", command->name);
        cr_assert_leq(command->min_arguments, command->max_arguments, "%s", command->name);
        cr_assert_leq(strlen(command->line), 80, "%s: one line of help is one line", command->name);
        for (const struct option_spec *option = command->options; option != NULL && option->name != NULL; option++) {
            cr_assert_not_null(option->line, "%s --%s", command->name, option->name);
            for (const struct option_spec *global = global_options; global->name != NULL; global++) {
                cr_assert_str_neq(option->name, global->name, "%s --%s hides a global option", command->name,
                                  option->name);
                cr_assert(option->letter == 0 || option->letter != global->letter ? 1 : 0, "%s -%c", command->name,
                          option->letter);
            }
            count++;
        }
        cr_assert_leq(count, OPTIONS_MAX);
    }
}

Test(cli_option, an_unknown_command_is_named_with_its_nearest_neighbour)
{
    cr_assert_eq(command_unknown("statsu", &err), RC_INVALID);
    cr_assert_str_eq(err.message, "unknown command \"statsu\"; did you mean status?");
    cr_assert_eq(command_unknown("frobnicate", &err), RC_INVALID);
    cr_assert_str_eq(err.message, "unknown command \"frobnicate\"");
    cr_assert_not_null(strstr(err.hint, "--help"));
}
