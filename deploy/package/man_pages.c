#include <ctype.h>
#include <string.h>

#include "deploy/package/manual.h"

/* --- the language of man(7) --- */

/* A text as it stands: no request, no escape, hyphens that can be copied. */
static void
put(FILE *out, const char *text)
{
    bool line_begins = true;

    for (; *text != '\0'; text++) {
        if (line_begins && (*text == '.' || *text == '\''))
            (void)fputs("\\&", out);
        if (*text == '\\')
            (void)fputs("\\e", out);
        else if (*text == '-')
            (void)fputs("\\-", out);
        else
            (void)fputc(*text, out);
        line_begins = *text == '\n';
    }
}

static void
put_bold(FILE *out, const char *text)
{
    (void)fputs("\\fB", out);
    put(out, text);
    (void)fputs("\\fR", out);
}

/* Words in capitals are what a person replaces: those are slanted, the rest is bold. */
static void
put_usage(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ:");
        char word[80];
        bool is_name = length > 0;

        if (!is_name)
            length = strcspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        (void)snprintf(word, sizeof word, "%.*s", (int)length, text);
        (void)fputs(is_name ? "\\fI" : "\\fB", out);
        put(out, word);
        (void)fputs("\\fR", out);
        text += length;
    }
}

static void
title(FILE *out, const char *name, const char *line)
{
    (void)fprintf(out, ".\\\" Written by the build from the program's own tables.\n.TH ");
    for (const char *each = name; *each != '\0'; each++)
        (void)fputc(toupper((unsigned char)*each), out);
    (void)fprintf(out, " 1 \"\" \"reembed %s\" \"reembed\"\n.nh\n.ad l\n.SH NAME\n", REEMBED_VERSION);
    put(out, name);
    (void)fputs(" \\- ", out);
    put(out, line);
    (void)fputs("\n", out);
}

static void
section(FILE *out, const char *name)
{
    (void)fprintf(out, ".SH %s\n", name);
}

/* --- parts --- */

static void
put_options(FILE *out, const struct option_spec *options)
{
    for (const struct option_spec *option = options; option != NULL && option->name != NULL; option++) {
        if (option->line == NULL)
            continue;
        (void)fputs(".TP\n", out);
        if (option->letter != 0) {
            (void)fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
        }
        (void)fputs("\\fB\\-\\-", out);
        put(out, option->name);
        (void)fputs("\\fR", out);
        if (option->value != NULL) {
            (void)fputs(" \\fI", out);
            put(out, option->value);
            (void)fputs("\\fR", out);
        }
        (void)fputs("\n", out);
        put(out, option->line);
        (void)fputs(".\n", out);
        if (option->variables[0] != NULL) {
            (void)fputs("Otherwise from the environment: ", out);
            put_bold(out, option->variables[0]);
            if (option->variables[1] != NULL) {
                (void)fputs(", ", out);
                put_bold(out, option->variables[1]);
            }
            (void)fputs(".\n", out);
        }
    }
}

static void
put_exit_statuses(FILE *out)
{
    section(out, "EXIT STATUS");
    for (const struct exit_status *status = exit_statuses; status->name != NULL; status++) {
        (void)fprintf(out, ".TP\n.B %d\n", status->code);
        put(out, status->meaning);
        (void)fputs(".\n", out);
    }
}

static void
put_variables(FILE *out, const struct option_spec *options, const char *command)
{
    for (const struct option_spec *option = options; option != NULL && option->name != NULL; option++) {
        for (size_t i = 0; i < sizeof option->variables / sizeof option->variables[0]; i++) {
            if (option->variables[i] == NULL)
                continue;
            (void)fputs(".TP\n", out);
            put_bold(out, option->variables[i]);
            (void)fputs("\nas \\fB\\-\\-", out);
            put(out, option->name);
            (void)fputs("\\fR", out);
            if (command != NULL)
                (void)fprintf(out, " of \\fBreembed %s\\fR", command);
            (void)fputs(".\n", out);
        }
    }
}

static void
put_example(FILE *out, const char *lines)
{
    (void)fputs(".PP\n.nf\n.RS\n", out);
    put(out, lines);
    (void)fputs(".RE\n.fi\n", out);
}

/* --- pages --- */

bool
write_main_page(FILE *out)
{
    const char *group = "";

    title(out, "reembed", "move a collection of pgvector embeddings to another model while it is in use");
    section(out, "SYNOPSIS");
    (void)fputs(".B reembed\n[\\fIoptions\\fR] \\fICOMMAND\\fR [\\fIarguments\\fR]\n", out);

    section(out, "DESCRIPTION");
    put(out,
        "A migration moves the vectors of one table of documents from one embedding model to another. It is described\n"
        "by a file (JSON with comments). Nothing that is written meanwhile is lost, every query is answered by one\n"
        "model, and there is a way back: both spaces are kept current for some time after queries have gone over.\n");
    (void)fputs(".PP\n", out);
    put(out,
        "All state is in Postgres, in the schema reembed. Any process may be killed at any moment, any number may\n"
        "work together, and each command can be called again.\n");

    section(out, "COMMANDS");
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (strcmp(group, command->group) != 0) {
            (void)fputs(".SS ", out);
            put(out, command->group);
            (void)fputs("\n", out);
        }
        group = command->group;
        (void)fprintf(out, ".TP\n\\fB%s\\fR ", command->name);
        put_usage(out, command->usage);
        (void)fputs("\n", out);
        put(out, command->line);
        (void)fprintf(out, "; see \\fBreembed\\-%s\\fR(1).\n", command->name);
    }

    section(out, "OPTIONS");
    put_options(out, global_options);

    section(out, "ENVIRONMENT");
    put_variables(out, global_options, NULL);
    for (const struct command *command = commands; command->name != NULL; command++)
        put_variables(out, command->options, command->name);
    (void)fputs(".TP\n\\fBREEMBED_SERVE_TOKEN\\fR\n", out);
    put(out, "the token that callers of serve and run --listen must send.\n");
    (void)fputs(".TP\n\\fBPGHOST\\fR, \\fBPGUSER\\fR, \\fBPGPASSFILE\\fR, ...\n", out);
    put(out, "as for psql, where no URL is given.\n");
    (void)fputs(".PP\n", out);
    put(out, "Keys of providers are in the variables that the migration file names (api_key_env).\n");

    put_exit_statuses(out);

    section(out, "EXAMPLES");
    put_example(out, "export REEMBED_DATABASE_URL=postgresql://app@db.example/app\n"
                     "reembed new --out docs.json\n"
                     "reembed plan docs.json\n"
                     "reembed run docs.json --listen 127.0.0.1:9843\n"
                     "reembed status --watch\n");

    section(out, "FILES");
    (void)fputs(".TP\n.I /usr/share/doc/reembed\n", out);
    put(out, "all keys of the migration file (configuration.md), how it works, example files.\n");
    (void)fputs(".TP\n.I /etc/reembed/NAME.json, /etc/reembed/NAME.env\n", out);
    put(out, "what systemctl start reembed@NAME runs, and the environment that it runs in.\n");

    section(out, "SEE ALSO");
    for (const struct command *command = commands; command->name != NULL; command++)
        (void)fprintf(out, "\\fBreembed\\-%s\\fR(1),\n", command->name);
    (void)fputs("\\fBpsql\\fR(1)\n", out);
    return ferror(out) == 0;
}

bool
write_command_page(FILE *out, const struct command *command)
{
    char name[64];

    (void)snprintf(name, sizeof name, "reembed-%s", command->name);
    title(out, name, command->line);
    section(out, "SYNOPSIS");
    (void)fprintf(out, "\\fBreembed %s\\fR ", command->name);
    put_usage(out, command->usage);
    (void)fprintf(out, "%s\n", command->options == NULL ? "" : " [\\fIoptions\\fR]");
    section(out, "DESCRIPTION");
    put(out, command->about == NULL ? command->line : command->about);
    (void)fprintf(out, "%s\n", command->about == NULL ? "." : "");
    if (command->options != NULL) {
        section(out, "OPTIONS");
        put_options(out, command->options);
    }
    (void)fputs(".SS Of every command\n", out);
    put_options(out, global_options);
    put_exit_statuses(out);
    section(out, "SEE ALSO");
    (void)fputs("\\fBreembed\\fR(1)\n", out);
    return ferror(out) == 0;
}
