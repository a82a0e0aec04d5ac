/* What the process says when it ends. */
#include <criterion/criterion.h>
#include <string.h>

#include "coordinator/exit_code.h"

Test(cli_exit, our_own_sqlstates_count_before_the_class)
{
    static const struct {
        const char *sqlstate;
        int code;
    } rows[] = {{"RE001", 6}, {"RE002", 2}, {"RE003", 7}, {"RE010", 2}, {"42P01", 1}, {"", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {.class = ERR_DATABASE};
        (void)strncpy(err.sqlstate, rows[i].sqlstate, sizeof err.sqlstate - 1);
        cr_expect_eq(exit_code_of(RC_REFUSED, &err), rows[i].code, "%s", rows[i].sqlstate);
    }
}

Test(cli_exit, each_class_has_the_code_of_the_contract)
{
    static const struct {
        enum err_class class;
        int code;
    } rows[] = {{ERR_USAGE, 2}, {ERR_UNREACHABLE, 4}, {ERR_DATABASE, 1},  {ERR_PROVIDER, 5},
                {ERR_STATE, 6}, {ERR_GATE, 7},        {ERR_TRANSIENT, 1}, {ERR_SYSTEM, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct err err = {.class = rows[i].class};
        cr_expect_eq(exit_code_of(RC_FATAL, &err), rows[i].code, "%d", (int)rows[i].class);
        cr_expect_eq(exit_code_of(RC_OK, &err), 0);
    }
}
