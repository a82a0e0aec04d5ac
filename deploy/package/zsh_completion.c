#include <string.h>

#include "deploy/package/manual.h"

/* A text between single quotes, as one part of a spec of _arguments or _describe. */
static void
put(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            (void)fputs("'\\''", out);
        else if (strchr("\\:[]", *text) != NULL)
            (void)fprintf(out, "\\%c", *text);
        else
            (void)fputc(*text, out);
    }
}

/* ":what it is:how to complete it" */
static void
put_value(FILE *out, const char *value)
{
    switch (value_kind_of(value)) {
    case VALUE_NONE:
        break;
    case VALUE_FILE:
        (void)fputs(":file:_files", out);
        break;
    case VALUE_FOLDER:
        (void)fputs(":folder:_files -/", out);
        break;
    case VALUE_WORDS:
        (void)fputs(":one of:(", out);
        for (; *value != '\0'; value++)
            (void)fputc(*value == '|' ? ' ' : *value, out);
        (void)fputs(")", out);
        break;
    case VALUE_OTHER:
        (void)fputs(":", out);
        put(out, value);
        (void)fputs(":", out);
        break;
    }
}

static void
put_options(FILE *out, const char *indent, const struct option_spec *options)
{
    for (const struct option_spec *option = options; option != NULL && option->name != NULL; option++) {
        if (option->line == NULL)
            continue;
        if (option->letter != 0)
            (void)fprintf(out, "%s'(--%s)-%c[", indent, option->name, option->letter);
        for (int i = option->letter != 0 ? 0 : 1; i < 2; i++) {
            if (i == 1)
                (void)fprintf(out, "%s'--%s%s[", indent, option->name, option->value == NULL ? "" : "=");
            put(out, option->line);
            (void)fputs("]", out);
            put_value(out, option->value);
            (void)fputs("' \\\n", out);
        }
    }
}

bool
write_zsh_completion(FILE *out)
{
    (void)fputs("#compdef reembed\n# Written by the build from the program's own tables.\n\n"
                "_reembed_commands()\n{\n    local -a commands\n    commands=(\n",
                out);
    for (const struct command *command = commands; command->name != NULL; command++) {
        (void)fprintf(out, "        '%s:", command->name);
        put(out, command->line);
        (void)fputs("'\n", out);
    }
    (void)fputs("    )\n    _describe -t commands command commands\n}\n\n"
                "_reembed()\n{\n    local curcontext=$curcontext state line\n    typeset -A opt_args\n\n"
                "    _arguments -C \\\n",
                out);
    put_options(out, "        ", global_options);
    (void)fputs("        '1: :_reembed_commands' \\\n        '*:: :->arguments' && return\n\n"
                "    [[ $state == arguments ]] || return\n    curcontext=${curcontext%:*:*}:reembed-$words[1]:\n"
                "    case $words[1] in\n",
                out);
    for (const struct command *command = commands; command->name != NULL; command++) {
        (void)fprintf(out, "    %s)\n        _arguments \\\n", command->name);
        put_options(out, "            ", command->options);
        put_options(out, "            ", global_options);
        switch (argument_kind_of(command)) {
        case VALUE_FILE:
            (void)fputs("            '1:file:_files'\n", out);
            break;
        case VALUE_NONE:
            (void)fputs("            ':: :'\n", out);
            break;
        default:
            (void)fputs("            '*:argument:'\n", out);
            break;
        }
        (void)fputs("        ;;\n", out);
    }
    (void)fputs("    help) _arguments '1: :_reembed_commands' ;;\n    esac\n}\n\n_reembed \"$@\"\n", out);
    return ferror(out) == 0;
}
