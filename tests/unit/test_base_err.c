#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

Test(err, is_filled_and_returns_the_given_code)
{
    struct err err = ERR_INIT;

    enum rc rc = err_set(&err, RC_INVALID, ERR_USAGE, "no table \"%s\"", "docs");
    cr_assert_eq(rc, RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_str_eq(err.message, "no table \"docs\"");
    cr_assert_str_empty(err.hint);
}

Test(err, forgets_what_an_earlier_error_left)
{
    struct err err = ERR_INIT;

    err_set(&err, RC_RETRY, ERR_DATABASE, "first");
    strncpy(err.sqlstate, "40001", sizeof err.sqlstate);
    err.http_status = 503;
    err_hint(&err, "try %d times", 3);
    cr_assert_str_eq(err.hint, "try 3 times");

    err_set(&err, RC_FATAL, ERR_SYSTEM, "second");
    cr_assert_str_empty(err.sqlstate);
    cr_assert_str_empty(err.hint);
    cr_assert_eq(err.http_status, 0);
}

Test(err, may_be_wrapped_in_itself)
{
    struct err err = ERR_INIT;

    err_set(&err, RC_FATAL, ERR_SYSTEM, "disk full");
    err_set(&err, RC_FATAL, ERR_SYSTEM, "can't write: %s", err.message);
    cr_assert_str_eq(err.message, "can't write: disk full");
}

Test(err, accepts_a_caller_who_does_not_care)
{
    cr_assert_eq(err_set(NULL, RC_RETRY, ERR_TRANSIENT, "gone"), RC_RETRY);
    err_hint(NULL, "nothing");
    cr_assert_eq(err_memory(NULL), RC_FATAL);
}

Test(err, is_one_line_whatever_the_server_said)
{
    struct err err = ERR_INIT;

    err_set(&err, RC_FATAL, ERR_DATABASE, "ERROR:  no\n\tLINE 1: x\r\n   ^\n");
    cr_assert_str_eq(err.message, "ERROR: no LINE 1: x ^");
}

Test(err, shows_no_secret_not_even_one_that_the_cut_would_split)
{
    struct err err = ERR_INIT;
    char padding[sizeof err.message];

    log_secret("sk-topsecret-0123456789");
    err_set(&err, RC_HALT, ERR_PROVIDER, "refused key sk-topsecret-0123456789.");
    cr_assert_str_eq(err.message, "refused key ***.");

    memset(padding, 'x', sizeof padding);
    padding[sizeof padding - 10] = '\0';
    err_set(&err, RC_HALT, ERR_PROVIDER, "%ssk-topsecret-0123456789", padding);
    cr_assert_null(strstr(err.message, "sk-"));
}

Test(err, is_cut_between_characters)
{
    struct err err = ERR_INIT;
    char text[2 * sizeof err.message];
    size_t length = 0;

    text[length++] = 'a'; /* the three-byte characters then don't end where the message does */
    while (length + 3 < sizeof text) {
        memcpy(text + length, "\xE6\xBC\xA2", 3);
        length += 3;
    }
    text[length] = '\0';
    err_set(&err, RC_INVALID, ERR_USAGE, "%s", text);
    cr_assert_gt(strlen(err.message), sizeof err.message - 5);
    cr_assert_eq((strlen(err.message) - 1) % 3, 0);
}

Test(err, codes_have_names)
{
    const char *const names[] = {"ok", "again", "retry", "fenced", "closed", "invalid", "refused", "halt", "fatal"};

    for (int rc = RC_OK; rc <= RC_FATAL; rc++)
        cr_assert_str_eq(rc_name((enum rc)rc), names[rc]);
}
