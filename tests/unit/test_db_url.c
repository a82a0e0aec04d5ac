#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "db/internal.h"

static void
clean_environment(void)
{
    static const char *const names[] = {"PGHOST",     "PGPORT",    "PGUSER",    "PGDATABASE",
                                        "PGPASSWORD", "PGSERVICE", "PGHOSTADDR"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    setenv("PGUSER", "me", 1);
    setenv("PGPORT", "5432", 1);
}

TestSuite(db_url, .init = clean_environment);

static void
expect_shown(const char *url, const char *expected)
{
    char *shown = db_url_for_display(url);
    cr_assert_str_eq(shown, expected);
    free(shown);
}

Test(db_url, is_shown_without_its_secrets)
{
    expect_shown("postgresql://joe:secret@db.example.com:6543/app", "postgresql://joe:***@db.example.com:6543/app");
    expect_shown("postgres://joe@db/app?password=secret&sslmode=require", "postgresql://joe:***@db:5432/app");
    expect_shown("host=db dbname=app password='a b'", "postgresql://me:***@db:5432/app");
    expect_shown("postgresql:///app?host=/tmp/x", "postgresql://me@/app?host=/tmp/x");
    expect_shown("postgresql://a:1,b:2/app", "postgresql://me@a:1,b:2/app");
    expect_shown("postgresql://[::1]:7/app", "postgresql://me@[::1]:7/app");
    expect_shown("postgresql://u:x@h", "postgresql://u:***@h:5432/u");
    expect_shown("postgresql://u:p@ss@h/d", "(a database URL that can't be read)");
}

Test(db_url, of_the_environment_is_shown_too)
{
    setenv("PGHOST", "envhost", 1);
    setenv("PGDATABASE", "envdb", 1);
    setenv("PGPASSWORD", "envsecret", 1);
    expect_shown(NULL, "postgresql://me:***@envhost:5432/envdb");
    expect_shown("", "postgresql://me:***@envhost:5432/envdb");
}

Test(db_url, that_libpq_reads_as_it_was_meant_is_accepted)
{
    static const char *const good[] = {
        "",
        "postgresql://",
        "postgresql:///d?host=/tmp",
        "postgresql://u@h",
        "postgresql://u:p@h:1,h2:2/d",
        "postgresql://h1:5432,h2/d",
        "postgresql://h1,h2:5433/d?target_session_attrs=any",
        "postgres://u:p%40s%2Fs@h/d",
        "postgresql://u:pa?ss@h/d",
        "postgresql://u:p:q@h/d",
        "postgresql://u@[2001:db8::1]/d",
        "host=h password=p@ss/word",
        "postgresql://h/d?user=u@tenant&password=p@ss",
        "postgresql://u:@h:/d",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct err err = ERR_INIT;
        cr_assert_eq(url_check(good[i], &err), RC_OK, "%s: %s", good[i], err.message);
    }
}

Test(db_url, with_an_unescaped_delimiter_is_refused)
{
    static const char *const bad[] = {
        "postgresql://u:p@ss@h/d",
        "postgresql://u:p/ss@h/d",
        "postgresql://u:p/s?s@h/d",
        "postgresql://h:port/d",
        "postgresql://h1:1,h2:x/d",
        "postgresql://u:%zz@h/d",
        "h/d",
        "postgresql://h/d?nonsense=1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = ERR_INIT;
        cr_assert_eq(url_check(bad[i], &err), RC_INVALID, "%s", bad[i]);
        cr_assert_eq(err.class, ERR_USAGE);
        cr_assert_neq(err.hint[0], '\0');
    }
}
