#include <ctype.h>
#include <string.h>

#include "deploy/package/manual.h"

enum value_kind
value_kind_of(const char *value)
{
    if (value == NULL)
        return VALUE_NONE;
    if (strcmp(value, "FILE") == 0)
        return VALUE_FILE;
    if (strcmp(value, "DIR") == 0)
        return VALUE_FOLDER;
    return strchr(value, '|') != NULL && islower((unsigned char)value[0]) ? VALUE_WORDS : VALUE_OTHER;
}

enum value_kind
argument_kind_of(const struct command *command)
{
    if (command->max_arguments == 0)
        return VALUE_NONE;
    const char *file = strstr(command->usage, "FILE");
    return file != NULL && (file == command->usage || file[-1] == '[') ? VALUE_FILE : VALUE_OTHER;
}
