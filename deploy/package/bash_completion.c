#include <string.h>

#include "deploy/package/manual.h"

/* The words of "text|json", or of names that are separated otherwise, with blanks between. */
static void
put_words(FILE *out, const char *words)
{
    for (; *words != '\0'; words++)
        (void)fputc(*words == '|' ? ' ' : *words, out);
}

static void
put_names(FILE *out, const struct option_spec *options)
{
    for (const struct option_spec *option = options; option != NULL && option->name != NULL; option++) {
        if (option->line != NULL)
            (void)fprintf(out, " --%s", option->name);
    }
}

/* A case of what follows an option: `command` is the pattern of the command. */
static void
put_values(FILE *out, const char *command, const struct option_spec *options)
{
    for (const struct option_spec *option = options; option != NULL && option->name != NULL; option++) {
        enum value_kind kind = value_kind_of(option->value);
        if (kind == VALUE_NONE)
            continue;
        (void)fprintf(out, "    %s:--%s", command, option->name);
        if (option->letter != 0)
            (void)fprintf(out, " | %s:-%c", command, option->letter);
        (void)fputs(") ", out);
        switch (kind) {
        case VALUE_FILE:
            (void)fputs("_reembed_files", out);
            break;
        case VALUE_FOLDER:
            (void)fputs("_reembed_folders", out);
            break;
        case VALUE_WORDS:
            (void)fputs("_reembed_words '", out);
            put_words(out, option->value);
            (void)fputs("'", out);
            break;
        case VALUE_NONE:
        case VALUE_OTHER:
            (void)fputs(":", out);
            break;
        }
        (void)fputs(" ;;\n", out);
    }
}

/* --name or -k of the options that take a value, as a pattern. */
static void
put_taking_values(FILE *out, const struct option_spec *options, const char **separator)
{
    for (const struct option_spec *option = options; option != NULL && option->name != NULL; option++) {
        if (option->value == NULL)
            continue;
        (void)fprintf(out, "%s--%s", *separator, option->name);
        *separator = " | ";
    }
}

bool
write_bash_completion(FILE *out)
{
    const char *separator = "";

    (void)fputs("# Completion of reembed for bash. Written by the build from the program's own tables.\n\n"
                "_reembed_words()\n{\n    mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n}\n\n"
                "_reembed_files()\n{\n    compopt -o filenames 2>/dev/null\n"
                "    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n}\n\n"
                "_reembed_folders()\n{\n    compopt -o filenames 2>/dev/null\n"
                "    mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n}\n\n"
                "_reembed()\n{\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' skip='' word i\n"
                "    COMPREPLY=()\n"
                "    # bash takes the = of --option=value for a word\n"
                "    if [[ $cur == = ]]; then cur='';\n"
                "    elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
                "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                "        word=${COMP_WORDS[i]}\n"
                "        if [[ $skip ]]; then [[ $word == = ]] || skip=''; continue; fi\n"
                "        case $word in\n        ",
                out);
    put_taking_values(out, global_options, &separator);
    (void)fputs(") skip=1 ;;\n        -*) ;;\n        *) command=$word && break ;;\n        esac\n    done\n\n"
                "    case $command:$prev in\n",
                out);
    for (const struct command *command = commands; command->name != NULL; command++)
        put_values(out, command->name, command->options);
    put_values(out, "*", global_options);
    (void)fputs("    *)\n        case $command in\n", out);
    for (const struct command *command = commands; command->name != NULL; command++) {
        (void)fprintf(out, "        %s) word='", command->name);
        put_names(out, command->options);
        (void)fputs("' ;;\n", out);
    }
    (void)fputs("        *) word='' ;;\n        esac\n        if [[ $cur == -* ]]; then\n"
                "            _reembed_words \"$word",
                out);
    put_names(out, global_options);
    (void)fputs("\"\n        else\n            case $command in\n            '' | help) "
                "_reembed_words '",
                out);
    separator = "";
    for (const struct command *command = commands; command->name != NULL; command++) {
        (void)fprintf(out, "%s%s", separator, command->name);
        separator = " ";
    }
    (void)fputs(" help' ;;\n            ", out);
    separator = "";
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (argument_kind_of(command) != VALUE_FILE)
            continue;
        (void)fprintf(out, "%s%s", separator, command->name);
        separator = " | ";
    }
    (void)fputs(") _reembed_files ;;\n            esac\n        fi\n        ;;\n    esac\n}\n\n"
                "complete -F _reembed reembed\n",
                out);
    return ferror(out) == 0;
}
