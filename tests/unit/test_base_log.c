#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* stderr of this process (every test has its own) goes to a file that is read back whole. */
static FILE *captured;
static char output[4 * 1024 * 1024];

static void
capture(void)
{
    captured = tmpfile();
    cr_assert_not_null(captured);
    cr_assert_geq(dup2(fileno(captured), STDERR_FILENO), 0);
}

static const char *
written(void)
{
    ssize_t length = pread(fileno(captured), output, sizeof output - 1, 0);
    cr_assert_geq(length, 0);
    output[length] = '\0';
    return output;
}

Test(log, text_line_has_time_level_message_and_fields, .init = capture)
{
    log_open(LOG_TEXT, LOG_INFO);
    log_event(LOG_WARNING, "chunk claimed", LF_STR("owner", "w1"), LF_STR("why", "two words"), LF_INT("chunk", -7),
              LF_REAL("rate", 1.5), LF_BOOL("last", true), LF_STR("none", NULL), LF_STR("empty", ""));

    int hour = 0, minute = 0, second = 0, ms = 0, end = 0;
    cr_assert_eq(sscanf(written(), "%2d:%2d:%2d.%3d%n", &hour, &minute, &second, &ms, &end), 4);
    cr_assert_str_eq(output + end,
                     " warn  chunk claimed owner=w1 why=\"two words\" chunk=-7 rate=1.5 last=true none=- empty=\"\"\n");
}

Test(log, json_line_is_one_object_with_typed_fields, .init = capture)
{
    log_open(LOG_JSON, LOG_INFO);
    log_event(LOG_ERROR, "a \"quoted\"\nmessage", LF_STR("text", "\x01\xFF\xE6\xBC\xA2"), LF_INT("n", 42),
              LF_REAL("x", NAN), LF_BOOL("b", false), LF_STR("none", NULL));

    const char *line = written();
    cr_assert_eq(strchr(line, '\n') - line, (ssize_t)strlen(line) - 1, "exactly one line: %s", line);
    cJSON *root = cJSON_Parse(line);
    cr_assert_not_null(root, "%s", line);
    cr_assert_eq(strlen(cJSON_GetObjectItem(root, "at")->valuestring), 24);
    cr_assert_str_eq(cJSON_GetObjectItem(root, "level")->valuestring, "error");
    cr_assert_str_eq(cJSON_GetObjectItem(root, "message")->valuestring, "a \"quoted\"\nmessage");
    cr_assert_str_eq(cJSON_GetObjectItem(root, "text")->valuestring, "\x01\xEF\xBF\xBD\xE6\xBC\xA2");
    cr_assert_eq(cJSON_GetObjectItem(root, "n")->valueint, 42);
    cr_assert(cJSON_IsNull(cJSON_GetObjectItem(root, "x")));
    cr_assert(cJSON_IsFalse(cJSON_GetObjectItem(root, "b")));
    cr_assert(cJSON_IsNull(cJSON_GetObjectItem(root, "none")));
    cJSON_Delete(root);
}

Test(log, a_line_without_fields_is_complete, .init = capture)
{
    log_open(LOG_JSON, LOG_INFO);
    log_event(LOG_INFO, "started");
    cr_assert_not_null(strstr(written(), "\"message\":\"started\"}\n"), "%s", output);
}

Test(log, only_the_chosen_levels_are_written, .init = capture)
{
    log_open(LOG_TEXT, LOG_WARNING);
    cr_assert(log_enabled(LOG_ERROR));
    cr_assert(log_enabled(LOG_WARNING));
    cr_assert_not(log_enabled(LOG_INFO));
    log_event(LOG_INFO, "hidden");
    log_event(LOG_DEBUG, "hidden");
    cr_assert_str_empty(written());
    log_event(LOG_ERROR, "shown");
    cr_assert_not_null(strstr(written(), "shown"));
}

Test(log, foreign_text_cannot_forge_a_line, .init = capture)
{
    log_open(LOG_TEXT, LOG_INFO);
    log_event(LOG_INFO, "refused\n00:00:00.000 info  all is well", LF_STR("by", "x\n\x1b[2J\"y=z"));
    const char *line = written();
    cr_assert_eq(strchr(line, '\n') - line, (ssize_t)strlen(line) - 1, "%s", line);
    cr_assert_null(strchr(line, '\x1b'));
    cr_assert_not_null(strstr(line, "by=\"x\\n\\u001b[2J\\\"y=z\""), "%s", line);
}

Test(log, secrets_are_nowhere, .init = capture)
{
    log_secret("hunter2!");
    log_secret("pass\"word\\1");
    log_secret("abc");
    log_secret(NULL);
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_open((enum log_format)format, LOG_INFO);
        log_event(LOG_INFO, "using hunter2! now", LF_STR("url", "postgresql://u:pass\"word\\1@h/hunter2!hunter2!"),
                  LF_STR("plain", "abc"));
    }
    cr_assert_null(strstr(written(), "hunter2"), "%s", output);
    cr_assert_null(strstr(output, "word"), "%s", output);
    cr_assert_not_null(strstr(output, "using *** now"), "%s", output);
    cr_assert_not_null(strstr(output, "postgresql://u:***@h/******"), "%s", output);
    cr_assert_not_null(strstr(output, "plain=abc"), "three bytes are too few to be a secret");
}

Test(log, scrubbing_in_place_takes_the_longest_and_overlapping_secrets)
{
    char text[] = "key=abcdefgh, abcd, xabcdefy, nothing";

    log_secret("abcd");
    log_secret("abcdefgh");
    log_secret("cdef");
    log_scrub(text);
    cr_assert_str_eq(text, "key=***, ***, x***y, nothing");

    char all[] = "abcd";
    log_scrub(all);
    cr_assert_str_eq(all, "***");
}

Test(log, more_secrets_than_there_is_room_for_do_no_harm)
{
    char secret[32];
    char text[] = "secret-number-31 secret-number-32";

    for (int i = 0; i < 40; i++) {
        snprintf(secret, sizeof secret, "secret-number-%02d", i);
        log_secret(secret);
        log_secret(secret);
    }
    log_scrub(text);
    cr_assert_str_eq(text, "*** secret-number-32");
}

Test(log, endless_values_are_cut_and_the_line_stays_valid, .init = capture)
{
    static char value[100001];
    for (size_t i = 0; i + 3 <= sizeof value - 1; i += 3)
        memcpy(value + i, "\xE6\xBC\xA2", 3);

    log_open(LOG_JSON, LOG_INFO);
    log_event(LOG_INFO, value, LF_STR("a", value), LF_STR("b", value), LF_STR("c", value), LF_STR("d", value));
    cJSON *root = cJSON_Parse(written());
    cr_assert_not_null(root, "%s", output);
    cr_assert_lt(strlen(output), 20000);
    cr_assert(cJSON_IsTrue(cJSON_GetObjectItem(root, "truncated")));
    cr_assert_gt(strlen(cJSON_GetObjectItem(root, "a")->valuestring), 3000);
    cJSON_Delete(root);
}

static void
mark_before(void)
{
    cr_assert_eq(write(STDERR_FILENO, "<", 1), 1);
}

static void
mark_after(void)
{
    cr_assert_eq(write(STDERR_FILENO, ">", 1), 1);
}

Test(log, hooks_stand_around_each_line, .init = capture)
{
    log_open(LOG_TEXT, LOG_INFO);
    log_around(mark_before, mark_after);
    log_event(LOG_INFO, "one");
    log_around(NULL, NULL);
    log_event(LOG_INFO, "two");
    cr_assert_eq(written()[0], '<');
    cr_assert_not_null(strstr(output, "one\n>"));
    cr_assert_null(strstr(output, "two\n>"));
}

enum { WRITERS = 8, LINES = 500 };

static void *
write_lines(void *argument)
{
    char name[16];
    snprintf(name, sizeof name, "writer%d", *(int *)argument);
    for (int i = 0; i < LINES; i++)
        log_event(LOG_INFO, "line", LF_STR("name", name), LF_INT("number", i));
    return NULL;
}

Test(log, lines_of_many_threads_never_interleave, .init = capture)
{
    pthread_t threads[WRITERS];
    int numbers[WRITERS];

    log_open(LOG_JSON, LOG_INFO);
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);

    written();
    int lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(output, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *root = cJSON_Parse(line);
        cr_assert_not_null(root, "%s", line);
        cJSON_Delete(root);
        lines++;
    }
    cr_assert_eq(lines, WRITERS * LINES);
}

Test(log, leaves_errno_alone, .init = capture)
{
    log_open(LOG_TEXT, LOG_INFO);
    close(STDERR_FILENO);
    errno = ENOENT;
    log_event(LOG_INFO, "to nowhere");
    cr_assert_eq(errno, ENOENT);
}
