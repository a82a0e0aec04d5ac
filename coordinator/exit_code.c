#include "coordinator/exit_code.h"

#include <string.h>

int
exit_code_of(enum rc rc, const struct err *err)
{
    static const struct {
        const char *sqlstate;
        int code;
    } own[] = {
        {"RE001", EXIT_STATE}, /* invalid transition */
        {"RE002", EXIT_USAGE}, /* unknown id */
        {"RE003", EXIT_GATE},
        {"RE010", EXIT_USAGE}, /* wrong configuration */
    };

    if (rc == RC_OK)
        return EXIT_DONE;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(err->sqlstate, own[i].sqlstate) == 0)
            return own[i].code;
    }
    switch (err->class) {
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_UNREACHABLE:
        return EXIT_UNREACHABLE;
    case ERR_PROVIDER:
        return EXIT_PROVIDER;
    case ERR_STATE:
        return EXIT_STATE;
    case ERR_GATE:
        return EXIT_GATE;
    case ERR_NONE:
    case ERR_DATABASE:
    case ERR_TRANSIENT:
    case ERR_SYSTEM:
        break;
    }
    return rc == RC_CLOSED ? EXIT_MORE : EXIT_UNEXPECTED;
}
