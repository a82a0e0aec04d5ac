/* What comes from a hub becomes a path or a checksum here only if it is one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed/hub/checksum.h"
#include "embed/hub/folder.h"
#include "embed/hub/repository.h"

Test(hub, names_of_repositories)
{
    static const char *const good[] = {"a/b", "bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2",
                                       "_a/b.c_d-e", "A1/0"};
    static const char *const bad[] = {"",      "/",     "a/",     "/a",   "a//b",  "a/b/c",   "../a",
                                      "a/..",  ".a/b",  "a/.b",   "-a/b", "a/-b",  "a b/c",   "a\\b",
                                      "a/b?c", "a/b#c", "a..b/c", "a%2f", "a/b\n", "http://x"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_expect(repository_name_is_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect(!repository_name_is_valid(bad[i]), "%s", bad[i]);
    char longest[REPOSITORY_NAME_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[REPOSITORY_NAME_MAX] = '\0';
    cr_expect(repository_name_is_valid(longest));
    longest[REPOSITORY_NAME_MAX] = 'a';
    longest[REPOSITORY_NAME_MAX + 1] = '\0';
    cr_expect(!repository_name_is_valid(longest));
}

Test(hub, paths_that_are_safe)
{
    static const char *const good[] = {"config.json", "1_Pooling/config.json", "onnx/model.onnx_data", "a/b/c/d"};
    static const char *const bad[] = {"",     "/",   "/etc/passwd", "..",   "../a",  "a/..",      "a/../b",
                                      "a//b", "a/",  ".ssh/id",     "a/.b", "a\\b",  "a b",       "a%2e%2e/b",
                                      "a\nb", "~/a", "C:/a",        "./a",  "a/./b", "a/\xc3\xa4"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_expect(repository_path_is_safe(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect(!repository_path_is_safe(bad[i]), "%s", bad[i]);
    char longest[REPOSITORY_PATH_MAX + 1];
    memset(longest, 'a', sizeof longest);
    longest[REPOSITORY_PATH_MAX - 1] = '\0';
    cr_expect(repository_path_is_safe(longest));
    longest[REPOSITORY_PATH_MAX - 1] = 'a';
    longest[REPOSITORY_PATH_MAX] = '\0';
    cr_expect(!repository_path_is_safe(longest));
}

Test(hub, addresses_of_files)
{
    char url[64];

    cr_assert(repository_file_url("a/b", "refs/pr/1", "onnx/model.onnx", url, sizeof url));
    cr_expect_str_eq(url, "/a/b/resolve/refs%2Fpr%2F1/onnx/model.onnx");
    cr_assert(repository_file_url("a/b", "../x?y#z", "f", url, sizeof url));
    cr_expect_str_eq(url, "/a/b/resolve/..%2Fx%3Fy%23z/f");
    cr_expect(!repository_file_url("a/b", "main", "a-name-that-does-not-fit-into-so-few-bytes.json", url, 32));
}

static struct checksum
of(const char *text)
{
    return checksum_of_text(text, strlen(text));
}

Test(hub, checksums_in_the_forms_that_servers_write)
{
    static const char sha1[] = "557db03de997c86a4a028e1ebd3a1ceb225be238";
    static const char sha256[] = "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447";
    char text[80];

    cr_expect_eq(of(sha1).kind, CHECKSUM_GIT_BLOB);
    cr_expect_eq(of(sha256).kind, CHECKSUM_SHA256);
    (void)snprintf(text, sizeof text, "W/\"%s\"", sha256);
    cr_expect_str_eq(of(text).hex, sha256);
    (void)snprintf(text, sizeof text, "\"%s\"", sha1);
    cr_expect_str_eq(of(text).hex, sha1);
    (void)snprintf(text, sizeof text, "%s", sha1);
    text[0] = 'A';
    cr_expect_eq(of(text).hex[0], 'a');
    static const char *const none[] = {"",
                                       "\"",
                                       "W/",
                                       "W/\"\"",
                                       "0123",
                                       "\"5d41402abc4b2a76b9719d911017c592\"",
                                       "g57db03de997c86a4a028e1ebd3a1ceb225be238"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        cr_expect_eq(of(none[i]).kind, CHECKSUM_NONE, "%s", none[i]);
}

Test(hub, sums_are_those_of_sha256sum_and_git_hash_object)
{
    char folder[] = "/tmp/reembed-hub.XXXXXX", path[64], link_path[64];
    struct file_sums sums;
    struct err err = ERR_INIT;

    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/a", folder);
    (void)snprintf(link_path, sizeof link_path, "%s/b", folder);
    cr_assert_eq(file_sums_read(path, &sums, &err), RC_AGAIN);
    cr_assert_eq(folder_write_file(path, "hello world", &err), RC_OK);
    cr_assert_eq(file_sums_read(path, &sums, &err), RC_OK);
    cr_expect_eq(sums.bytes, 12);
    cr_expect_str_eq(sums.sha256, "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447");
    cr_expect_str_eq(sums.git_blob, "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
    struct checksum wanted = of("3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
    cr_expect(checksum_fits(&wanted, &sums));
    wanted.hex[39] = 'e';
    cr_expect(!checksum_fits(&wanted, &sums));
    wanted = (struct checksum){.kind = CHECKSUM_NONE};
    cr_expect(!checksum_fits(&wanted, &sums), "no checksum fits nothing");
    cr_assert_eq(symlink(path, link_path), 0);
    cr_expect_eq(file_sums_read(link_path, &sums, &err), RC_FATAL, "a link is not followed");
    cr_expect_eq(file_sums_read(folder, &sums, &err), RC_FATAL);
    cr_assert_eq(folder_remove(folder, &err), RC_OK);
    cr_expect_neq(access(folder, F_OK), 0);
    cr_expect_eq(folder_remove(folder, &err), RC_OK, "twice is fine");
}

Test(hub, a_folder_takes_the_place_of_another_whole)
{
    char folder[] = "/tmp/reembed-hub.XXXXXX", made[64], place[64], path[80], outside[64];
    struct err err = ERR_INIT;
    struct stat status;

    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(made, sizeof made, "%s/made", folder);
    (void)snprintf(place, sizeof place, "%s/place", folder);
    (void)snprintf(outside, sizeof outside, "%s/outside", folder);
    cr_assert_eq(folder_write_file(outside, "stays", &err), RC_OK);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(mkdir(made, 0755), 0);
        cr_assert_eq(folder_make_parents(made, "x/y/file", &err), RC_OK);
        (void)snprintf(path, sizeof path, "%s/x/y/file", made);
        cr_assert_eq(folder_write_file(path, round == 0 ? "first" : "second", &err), RC_OK);
        (void)snprintf(path, sizeof path, "%s/link", made);
        cr_assert_eq(symlink(outside, path), 0);
        cr_assert_eq(folder_replace(made, place, &err), RC_OK, "%s", err.message);
        (void)snprintf(path, sizeof path, "%s/x/y/file", place);
        cr_assert_eq(stat(path, &status), 0);
        cr_expect_eq(status.st_size, round == 0 ? 6 : 7);
        cr_assert_eq(access(made, F_OK) == 0, round == 1, "the old one is where the new one was made");
        cr_assert_eq(folder_remove(made, &err), RC_OK);
    }
    cr_expect_eq(access(outside, F_OK), 0, "a link was followed");
    cr_assert_eq(folder_remove(folder, &err), RC_OK);
}
