#include "cli/option.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/nearest.h"

enum { TABLES = 2, KNOWN_MAX = TABLES * OPTIONS_MAX };

/* Where an option stands: its table and row. */
struct place {
    size_t table;
    size_t row;
};

static bool
find_option(const struct arguments *arguments, const char *name, size_t length, char letter, struct place *ret_place)
{
    for (size_t table = 0; table < TABLES; table++) {
        const struct option_spec *options = arguments->tables[table];
        for (size_t row = 0; options != NULL && options[row].name != NULL; row++) {
            bool same = letter != 0
                            ? options[row].letter == letter
                            : strlen(options[row].name) == length && memcmp(options[row].name, name, length) == 0;
            if (same) {
                *ret_place = (struct place){.table = table, .row = row};
                return true;
            }
        }
    }
    return false;
}

/* The value of an unknown option is never repeated: it may be a password. */
static enum rc
refuse_unknown(const struct arguments *arguments, const char *word, struct err *err)
{
    char name[64];
    const char *known[KNOWN_MAX + 1];
    size_t count = 0;

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    for (size_t table = 0; table < TABLES; table++) {
        const struct option_spec *options = arguments->tables[table];
        for (size_t row = 0; options != NULL && options[row].name != NULL && count < KNOWN_MAX; row++)
            known[count++] = options[row].name;
    }
    known[count] = NULL;

    const char *meant = nearest_name(name + strspn(name, "-"), known);
    enum rc rc = meant != NULL
                     ? err_set(err, RC_INVALID, ERR_USAGE, "unknown option %s; did you mean --%s?", name, meant)
                     : err_set(err, RC_INVALID, ERR_USAGE, "unknown option %s", name);
    return rc;
}

static enum rc
take_option(struct arguments *arguments, struct place place, const char *given, const char *attached,
            const char *const *words, size_t count, size_t *at, struct err *err)
{
    const struct option_spec *option = &arguments->tables[place.table][place.row];
    const char **value = &arguments->values[place.table][place.row];

    if (option->value == NULL) {
        if (attached != NULL)
            return err_set(err, RC_INVALID, ERR_USAGE, "option %s takes no value", given);
        *value = "";
        return RC_OK;
    }
    if (attached == NULL) {
        if (*at + 1 >= count)
            return err_set(err, RC_INVALID, ERR_USAGE, "option %s needs a value: %s %s", given, given, option->value);
        attached = words[++*at];
    }
    *value = attached;
    return RC_OK;
}

static enum rc
take_long(struct arguments *arguments, const char *const *words, size_t count, size_t *at, struct err *err)
{
    const char *name = words[*at] + 2;
    size_t length = strcspn(name, "=");
    struct place place = {0, 0};
    char given[64];

    if (!find_option(arguments, name, length, 0, &place))
        return refuse_unknown(arguments, words[*at], err);
    (void)snprintf(given, sizeof given, "--%.*s", (int)length, name);
    return take_option(arguments, place, given, name[length] == '=' ? name + length + 1 : NULL, words, count, at, err);
}

/* -k 5, -k5, and switches together: -hy. */
static enum rc
take_short(struct arguments *arguments, const char *const *words, size_t count, size_t *at, struct err *err)
{
    for (const char *letter = words[*at] + 1; *letter != '\0'; letter++) {
        struct place place = {0, 0};
        const char given[] = {'-', *letter, '\0'};

        if (!find_option(arguments, NULL, 0, *letter, &place))
            return refuse_unknown(arguments, words[*at], err);
        bool valued = arguments->tables[place.table][place.row].value != NULL;
        const char *attached = valued && letter[1] != '\0' ? letter + 1 : NULL;
        enum rc rc = take_option(arguments, place, given, attached, words, count, at, err);
        if (rc != RC_OK || valued)
            return rc;
    }
    return RC_OK;
}

static void
read_environment(struct arguments *arguments)
{
    for (size_t table = 0; table < TABLES; table++) {
        const struct option_spec *options = arguments->tables[table];
        for (size_t row = 0; options != NULL && options[row].name != NULL; row++) {
            for (size_t i = 0; i < 2 && arguments->values[table][row] == NULL; i++) {
                const char *variable = options[row].variables[i];
                const char *value = variable == NULL ? NULL : getenv(variable);
                if (value == NULL || value[0] == '\0')
                    continue;
                if (options[row].value != NULL)
                    arguments->values[table][row] = value;
                else if (strcmp(value, "0") != 0 && strcasecmp(value, "false") != 0 && strcasecmp(value, "no") != 0)
                    arguments->values[table][row] = "";
            }
        }
    }
}

enum rc
arguments_parse(struct arguments *arguments, const struct option_spec *global_options,
                enum rc (*command_options)(const char *word, const struct option_spec **ret_options, void *context,
                                           struct err *err),
                void *context, const char *const *words, size_t count, struct err *err)
{
    bool options_end = false;
    bool has_command = false;

    *arguments = (struct arguments){.tables = {global_options, NULL}};
    for (size_t at = 0; at < count; at++) {
        const char *word = words[at];
        enum rc rc = RC_OK;
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && strncmp(word, "--", 2) == 0) {
            rc = take_long(arguments, words, count, &at, err);
        } else if (!options_end && word[0] == '-' && word[1] != '\0') {
            rc = take_short(arguments, words, count, &at, err);
        } else if (!has_command) {
            has_command = true;
            rc = command_options(word, &arguments->tables[1], context, err);
        } else if (arguments->count == ARGUMENTS_MAX) {
            rc = err_set(err, RC_INVALID, ERR_USAGE, "more than %d arguments", ARGUMENTS_MAX);
        } else {
            arguments->texts[arguments->count++] = word;
        }
        if (rc != RC_OK)
            return rc;
    }
    read_environment(arguments);
    return RC_OK;
}

const char *
option_text(const struct arguments *arguments, const char *name)
{
    struct place place = {0, 0};
    if (!find_option(arguments, name, strlen(name), 0, &place)) {
        (void)fprintf(stderr, "reembed: no option is called --%s\n", name);
        abort();
    }
    return arguments->values[place.table][place.row];
}

bool
option_given(const struct arguments *arguments, const char *name)
{
    return option_text(arguments, name) != NULL;
}

static enum rc
refuse_number(const char *name, const char *what, double minimum, double maximum, const char *text, struct err *err)
{
    if (isinf(maximum))
        return err_set(err, RC_INVALID, ERR_USAGE, "--%s must be %s, %.15g or more, not \"%.40s\"", name, what, minimum,
                       text);
    return err_set(err, RC_INVALID, ERR_USAGE, "--%s must be %s from %.15g to %.15g, not \"%.40s\"", name, what,
                   minimum, maximum, text);
}

enum rc
option_number(const struct arguments *arguments, const char *name, double minimum, double maximum, double *ret_number,
              struct err *err)
{
    const char *text = option_text(arguments, name);
    char *end = NULL;

    if (text == NULL)
        return RC_OK;
    double number = strtod(text, &end);
    /* strtod also takes blanks, hexadecimal digits, "nan" and "inf". */
    bool decimal = text[0] != '\0' && text[strspn(text, "0123456789.eE+-")] == '\0' && *end == '\0';
    if (!decimal || number < minimum || number > maximum || isinf(number))
        return refuse_number(name, "a number", minimum, maximum, text, err);
    *ret_number = number;
    return RC_OK;
}

enum rc
option_count(const struct arguments *arguments, const char *name, int64_t minimum, int64_t maximum, int64_t *ret_number,
             struct err *err)
{
    const char *text = option_text(arguments, name);
    char *end = NULL;

    if (text == NULL)
        return RC_OK;
    long long number = strtoll(text, &end, 10);
    bool decimal = text[0] != '\0' && text[strspn(text, "0123456789+-")] == '\0' && *end == '\0';
    if (!decimal || number < minimum || number > maximum)
        return refuse_number(name, "a whole number", (double)minimum, (double)maximum, text, err);
    *ret_number = number;
    return RC_OK;
}
