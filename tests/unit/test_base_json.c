#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

static cJSON *
parse(const char *text)
{
    cJSON *root = NULL;
    struct err err = ERR_INIT;
    enum rc rc = json_parse(text, strlen(text), "m.json", &root, &err);
    cr_assert_eq(rc, RC_OK, "%s: %s", text, err.message);
    return root;
}

static void
assert_refused(const char *text, const char *message)
{
    cJSON *root = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(json_parse(text, strlen(text), "m.json", &root, &err), RC_INVALID, "%s", text);
    cr_assert_null(root);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_str_eq(err.message, message, "%s\n  said: %s\n  want: %s", text, err.message, message);
}

static void
assert_reads_as(const char *text, const char *plain)
{
    cJSON *root = parse(text);
    char *printed = cJSON_PrintUnformatted(root);
    cr_assert_str_eq(printed, plain, "%s", text);
    free(printed);
    cJSON_Delete(root);
}

Test(json, reads_comments_and_trailing_commas)
{
    assert_reads_as("// first\n{ /* in /* it */ \"a\": 1, // one\n \"b\": [1, 2, /* , */ ], }\n// last",
                    "{\"a\":1,\"b\":[1,2]}");
    assert_reads_as("[1,\n// comma above\n]", "[1]");
    assert_reads_as("{}", "{}");
    assert_reads_as("\xEF\xBB\xBF{\"a\":null}\r\n", "{\"a\":null}");
}

Test(json, leaves_strings_alone)
{
    assert_reads_as("{\"url\": \"http://x/*y*/,]\", \"q\\\"//\": \",}\"}",
                    "{\"url\":\"http://x/*y*/,]\",\"q\\\"//\":\",}\"}");
    assert_reads_as("[\"\\\\\", 1,]", "[\"\\\\\",1]");
}

Test(json, errors_name_line_and_column)
{
    assert_refused("{\n  \"a\": 1,\n  \"b\": tru\n}", "m.json:3:8: this is not valid JSON");
    assert_refused("{\"a\": 1} x", "m.json:1:10: this is not valid JSON");
    assert_refused("{\n\"a\": [1, 2", "m.json:2:11: the JSON ends too early");
    assert_refused("", "m.json:1:1: the JSON ends too early");
    assert_refused("{\n  /* open", "m.json:2:3: this comment does not end");
    assert_refused("[\"\xE6\xBC\xA2\", x]", "m.json:1:7: this is not valid JSON");
}

Test(json, refuses_what_only_looks_harmless)
{
    assert_refused("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "m.json: the key \"c\" is given twice");
    assert_refused("[,]", "m.json:1:2: this is not valid JSON");
    assert_refused("[1,,]", "m.json:1:4: this is not valid JSON");

    cJSON *root = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(json_parse("{\0}", 3, "m.json", &root, &err), RC_INVALID);
    cr_assert_str_eq(err.message, "m.json:1:2: a NUL byte does not belong here");
}

Test(json, a_key_that_differs_by_case_is_another_key)
{
    assert_reads_as("{\"a\":1,\"A\":2}", "{\"a\":1,\"A\":2}");
}

Test(json, deep_nesting_is_refused_not_followed_into_the_stack)
{
    size_t depth = 200000;
    char *text = malloc(depth + 1);
    memset(text, '[', depth);
    text[depth] = '\0';

    cJSON *root = NULL;
    cr_assert_eq(json_parse(text, depth, "m.json", &root, NULL), RC_INVALID);
    free(text);
}

Test(json, reads_files_and_names_them_in_errors)
{
    char path[] = "/tmp/reembed-json-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "{\"a\": 1,}", 9), 9);
    close(fd);

    cJSON *root = NULL;
    struct err err = ERR_INIT;
    cr_assert_eq(json_read_file(path, &root, &err), RC_OK, "%s", err.message);
    cr_assert_eq(cJSON_GetObjectItem(root, "a")->valueint, 1);
    cJSON_Delete(root);
    unlink(path);

    root = NULL;
    cr_assert_eq(json_read_file("/nonexistent/m.json", &root, &err), RC_INVALID);
    cr_assert_str_eq(err.message, "can't read /nonexistent/m.json: No such file or directory");
    cr_assert_eq(json_read_file("/tmp", &root, &err), RC_INVALID);
    cr_assert_str_eq(err.message, "can't read /tmp: Is a directory");
}

Test(json, an_endless_file_is_refused)
{
    cJSON *root = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(json_read_file("/dev/zero", &root, &err), RC_INVALID);
    cr_assert_str_eq(err.message, "/dev/zero is larger than 1048576 bytes: not a configuration file");
}

Test(json, unknown_keys_are_named_with_their_nearest_neighbour)
{
    const char *const keys[] = {"batch_size", "max_concurrent", NULL};
    struct err err = ERR_INIT;

    cJSON *good = parse("{\"batch_size\": 1}");
    cr_assert_eq(json_only_keys(good, "backfill", keys, &err), RC_OK);
    cJSON *near = parse("{\"batch_size\": 1, \"max_concurrnet\": 2}");
    cr_assert_eq(json_only_keys(near, "backfill", keys, &err), RC_INVALID);
    cr_assert_str_eq(err.message, "unknown key \"backfill.max_concurrnet\"");
    cr_assert_str_eq(err.hint, "did you mean \"backfill.max_concurrent\"?");
    cJSON *far = parse("{\"colour\": 1}");
    cr_assert_eq(json_only_keys(far, "", keys, &err), RC_INVALID);
    cr_assert_str_eq(err.message, "unknown key \"colour\"");
    cr_assert_str_empty(err.hint);
    cJSON_Delete(good);
    cJSON_Delete(near);
    cJSON_Delete(far);
}
