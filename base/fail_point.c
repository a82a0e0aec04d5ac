#include "base/fail_point.h"

#ifdef REEMBED_FAIL_POINTS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RULES_MAX = 8, EXIT_BAD_RULE = 2 };

enum action { ACTION_KILL, ACTION_STOP, ACTION_TERM, ACTION_DELAY, ACTION_ERROR };

static const char *const action_names[] = {"kill", "stop", "term", "delay", "error"};

struct rule {
    char name[48];
    enum action action;
    char argument[8];
    long delay_ms;
    long first;
    long every; /* 0: once */
    atomic_long passed;
};

static struct rule rules[RULES_MAX];
static size_t rule_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
refuse(const char *text)
{
    fprintf(stderr, "REEMBED_FAIL_POINTS: can't read '%s'\n", text);
    _exit(EXIT_BAD_RULE);
}

/* Cuts `text` at the last `mark` and returns what is behind it, or NULL. */
static char *
split(char *text, char mark)
{
    char *at = strrchr(text, mark);

    if (!at)
        return NULL;
    *at = '\0';
    return at + 1;
}

static long
number_of(const char *text, const char *whole)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < 1)
        refuse(whole);
    return value;
}

static void
read_rule(const char *whole)
{
    struct rule *rule = &rules[rule_count];
    char text[128];
    char *times, *every, *argument, *action;
    size_t i = 0;

    if (rule_count == RULES_MAX || strlen(whole) >= sizeof text)
        refuse(whole);
    memcpy(text, whole, strlen(whole) + 1);
    times = split(text, '@');
    every = times ? split(times, '/') : NULL;
    argument = split(text, ':');
    action = split(text, '=');
    if (!action || !*text || strlen(text) >= sizeof rule->name ||
        (argument && strlen(argument) >= sizeof rule->argument))
        refuse(whole);
    while (i <= ACTION_ERROR && strcmp(action, action_names[i]) != 0)
        i++;
    if (i > ACTION_ERROR || ((enum action)i == ACTION_DELAY) != (argument && (enum action)i != ACTION_ERROR))
        refuse(whole);
    rule->action = (enum action)i;
    memcpy(rule->name, text, strlen(text) + 1);
    if (argument)
        memcpy(rule->argument, argument, strlen(argument) + 1);
    rule->delay_ms = rule->action == ACTION_DELAY ? number_of(argument, whole) : 0;
    rule->first = times ? number_of(times, whole) : 1;
    rule->every = every ? number_of(every, whole) : 0;
    rule_count++;
}

static void
read_rules(void)
{
    const char *given = getenv("REEMBED_FAIL_POINTS");
    char *copy = given ? strdup(given) : NULL, *rest = copy, *one;

    while ((one = strsep(&rest, ",")) != NULL)
        if (*one)
            read_rule(one);
    free(copy);
}

static void
sleep_ms(long ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static enum rc
act(const struct rule *rule, struct err *err)
{
    char line[96];
    int length = snprintf(line, sizeof line, "fail point %s: %s\n", rule->name, action_names[rule->action]);

    if (write(STDERR_FILENO, line, (size_t)length) < 0) /* not through stdio: nothing may be left in a buffer */
        return RC_OK;
    switch (rule->action) {
    case ACTION_KILL:
        (void)kill(getpid(), SIGKILL);
        for (;;)
            pause();
    case ACTION_STOP:
        (void)kill(getpid(), SIGSTOP);
        return RC_OK;
    case ACTION_TERM:
        (void)kill(getpid(), SIGTERM);
        return RC_OK;
    case ACTION_DELAY:
        sleep_ms(rule->delay_ms);
        return RC_OK;
    case ACTION_ERROR:
        break;
    }
    if (strcmp(rule->argument, "retry") == 0)
        return err_set(err, RC_RETRY, ERR_UNREACHABLE, "fail point %s", rule->name);
    err_set(err, RC_FATAL, ERR_SYSTEM, "fail point %s", rule->name);
    if (err && strlen(rule->argument) == sizeof err->sqlstate - 1)
        memcpy(err->sqlstate, rule->argument, sizeof err->sqlstate);
    return RC_FATAL;
}

bool
fail_point_known(const char *name)
{
    (void)pthread_once(&once, read_rules);
    for (size_t i = 0; i < rule_count; i++)
        if (strcmp(rules[i].name, name) == 0)
            return true;
    return false;
}

enum rc
fail_point(const char *name, struct err *err)
{
    (void)pthread_once(&once, read_rules);
    for (size_t i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->name, name) != 0)
            continue;
        long passed = atomic_fetch_add(&rule->passed, 1) + 1;
        if (passed == rule->first ||
            (rule->every > 0 && passed > rule->first && (passed - rule->first) % rule->every == 0))
            return act(rule, err);
    }
    return RC_OK;
}

#endif
