/* The program as it is called: what it prints where, how it ends, what others can see of it. No server is needed. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/cli_call.h"

static void
assert_has(const char *text, const char *part)
{
    cr_assert_not_null(strstr(text, part), "not in it: %s\n%s", part, text);
}

Test(cli_program, version_and_help_are_results)
{
    struct outcome *outcome = CALL("--version");
    cr_assert_eq(outcome->code, 0);
    cr_assert_str_eq(outcome->out, "reembed " REEMBED_VERSION "\n");
    cr_assert_str_eq(outcome->errors, "");

    outcome = CALL("--help");
    cr_assert_eq(outcome->code, 0);
    assert_has(outcome->out, "status [ID]");
    assert_has(outcome->out, "\nnext: ");
    cr_assert_str_eq(outcome->errors, "");
}

Test(cli_program, every_command_has_its_own_help_also_without_its_arguments)
{
    static const char *const names[] = {"plan",   "run",      "verify",   "init",     "status", "list",
                                        "pause",  "resume",   "cancel",   "cutover",  "retry",  "skip",
                                        "search", "rollback", "finalize", "failures", "embed",  "tokenize"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char usage[64];
        (void)snprintf(usage, sizeof usage, "usage: reembed %s", names[i]);
        struct outcome *outcome = CALL(names[i], "--help");
        cr_assert_eq(outcome->code, 0, "%s", names[i]);
        assert_has(outcome->out, usage);
        assert_has(outcome->out, "--database-url");
        outcome = CALL("help", names[i]);
        cr_assert_eq(outcome->code, 0, "%s", names[i]);
        assert_has(outcome->out, usage);
    }
}

Test(cli_program, mistakes_are_told_on_stderr_and_end_in_2)
{
    static const struct {
        const char *words[4];
        const char *said;
    } rows[] = {
        {{"statsu"}, "did you mean status?"},
        {{"status", "--jsno"}, "did you mean --json?"},
        {{"run"}, "an argument is missing"},
        {{"list", "x"}, "\"x\" is one argument too many"},
        {{"skip", "m", "7"}, "skip needs --reason"},
        {{"--log-level", "loud", "list"}, "--log-level must be error, warning, info or debug"},
        {{"--log-format=xml", "list"}, "--log-format must be text or json"},
        {{"run", "nowhere.json", "--until", "0"}, "--until must be above 0"},
        {{"run", "nowhere.json", "--batch-size=0"}, "--batch-size must be a whole number from 1 to 10000"},
        {{"run", "nowhere.json", "--max-runtime=x"}, "--max-runtime must be a number"},
        {{"search", "docs", "words", "--model=both"}, "--model must be source, target or fused"},
        {{"search", "docs", " "}, "the text to search for is empty"},
        {{"run", "/nowhere.json"}, "/nowhere.json"},
        {{"plan", "/nowhere.json"}, "/nowhere.json"},
        {{"embed"}, "embed needs a migration file or --model DIR"},
        {{"embed", "/nowhere.json"}, "/nowhere.json"},
        {{"tokenize"}, "tokenize needs --model DIR"},
        {{"tokenize", "--model", "/nowhere"}, "/nowhere"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct outcome *outcome = call(rows[i].words, "");
        cr_expect_eq(outcome->code, 2, "%s %s: exit %d, %s", rows[i].words[0], rows[i].said, outcome->code,
                     outcome->errors);
        cr_expect_not_null(strstr(outcome->errors, rows[i].said), "%s: %s", rows[i].said, outcome->errors);
        cr_expect_str_eq(outcome->out, "");
    }
    struct outcome *outcome = call((const char *const[]){NULL}, "");
    cr_assert_eq(outcome->code, 2);
    assert_has(outcome->errors, "usage: reembed");
}

Test(cli_program, errors_are_json_where_the_log_is)
{
    struct outcome *outcome = CALL("--log-format", "json", "tokenize");
    cr_assert_eq(outcome->code, 2);
    cr_assert_eq(outcome->errors[0], '{');
    assert_has(outcome->errors, "\"level\":\"error\"");
    assert_has(outcome->errors, "\"message\":\"tokenize needs --model DIR\"");
}

Test(cli_program, output_that_cannot_be_written_is_an_error)
{
    int status = 0;
    FILE *full = fopen("/dev/full", "w");
    FILE *errors = tmpfile();
    pid_t child = call_start((const char *const[]){"--help", NULL}, "", full, errors);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1 ? 1 : 0);
    (void)fclose(full);
    (void)fclose(errors);
}

/* --- a database that is away --- */

Test(cli_program, a_refused_connection_ends_in_4_without_the_password)
{
    struct outcome *outcome = CALL("--database-url", "postgresql://u:hush4711@127.0.0.1:1/d", "status");
    cr_assert_eq(outcome->code, 4, "%s", outcome->errors);
    cr_assert_null(strstr(outcome->errors, "hush4711"), "%s", outcome->errors);
}

/* A port that takes connections and never answers. */
static int
silent_server(char *url, size_t size, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *ret_port = ntohs(address.sin_port);
    (void)snprintf(url, size, "postgresql://u:hush4711@127.0.0.1:%d/d", *ret_port);
    return fd;
}

Test(cli_program, a_server_that_never_answers_ends_in_4_within_10_seconds)
{
    char url[128];
    int port = 0;
    int server = silent_server(url, sizeof url, &port);
    int64_t began = clock_now_ms();
    struct outcome *outcome = CALL("list", "--database-url", url);
    cr_assert_eq(outcome->code, 4, "%s", outcome->errors);
    cr_assert_lt(clock_now_ms() - began, 10000);
    (void)close(server);
}

/* Everything that ps would show of a process. */
static void
read_title(pid_t process, char *title, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    ssize_t got = read(fd, title, size - 1);
    cr_assert_gt(got, 0);
    for (ssize_t i = 0; i < got; i++) {
        if (title[i] == '\0')
            title[i] = ' ';
    }
    title[got] = '\0';
    (void)close(fd);
}

static void
title_hides(const char *const *words, const char *url, int server)
{
    int status = 0;
    char title[1024];
    FILE *nothing = fopen("/dev/null", "w");
    pid_t child = call_start(words, "", nothing, nothing);
    /* It has connected, so main has begun long ago. */
    int connection = accept(server, NULL, NULL);
    cr_assert_geq(connection, 0);
    read_title(child, title, sizeof title);
    cr_expect_null(strstr(title, "hush4711"), "%s", title);
    cr_expect_null(strstr(title, url), "%s", title);
    cr_expect_not_null(strstr(title, " list"), "the command stays readable: %s", title);
    (void)kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, &status, 0), child);
    (void)close(connection);
    (void)fclose(nothing);
}

Test(cli_program, the_password_is_overwritten_in_the_process_title)
{
    char url[128];
    char joined[160];
    int port = 0;
    int server = silent_server(url, sizeof url, &port);
    (void)snprintf(joined, sizeof joined, "--database-url=%s", url);
    title_hides((const char *const[]){"--database-url", url, "list", NULL}, url, server);
    title_hides((const char *const[]){"list", "--database-url", url, NULL}, url, server);
    title_hides((const char *const[]){"list", joined, NULL}, url, server);
    /* The other form that libpq takes, with blanks where it allows them. */
    (void)snprintf(joined, sizeof joined, "host=127.0.0.1 port=%d user=u password = hush4711", port);
    title_hides((const char *const[]){"--database-url", joined, "list", NULL}, joined, server);
    (void)close(server);
}

Test(cli_program, a_signal_ends_a_command_that_has_nothing_to_store)
{
    char url[128];
    int status = 0;
    int port = 0;
    int server = silent_server(url, sizeof url, &port);
    FILE *nothing = fopen("/dev/null", "w");
    pid_t child = call_start((const char *const[]){"list", "--database-url", url, NULL}, "", nothing, nothing);
    int connection = accept(server, NULL, NULL);
    cr_assert_geq(connection, 0);
    (void)kill(child, SIGTERM);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM ? 1 : 0);
    (void)close(connection);
    (void)close(server);
    (void)fclose(nothing);
}

/* --- embed --- */

static void
write_file(const char *path)
{
    FILE *file = fopen(path, "we");
    (void)fputs("{ \"id\": \"m\", \"collection\": \"docs\",\n"
                "  \"documents\": { \"table\": \"docs\", \"id\": \"id\", \"content\": \"body\" },\n"
                "  \"target\": { \"model\": \"multilingual-e5-small\", \"dimensions\": 8, \"provider\": { \"kind\": "
                "\"hashing\" } } }\n",
                file);
    (void)fclose(file);
}

Test(cli_program, embed_gives_one_line_for_each_line_in_order)
{
    char path[] = "/tmp/cli_program_XXXXXX";
    (void)close(mkstemp(path));
    write_file(path);
    struct outcome first =
        *call((const char *const[]){"embed", path, NULL}, "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"a\"}\n");
    cr_assert_eq(first.code, 0, "%s", first.errors);
    char *lines[4] = {NULL};
    char *rest = first.out;
    for (size_t i = 0; i < 4; i++)
        lines[i] = strsep(&rest, "\n");
    cr_assert_eq(strncmp(lines[0], "{\"embedding\":[", 14), 0, "%s", lines[0]);
    cr_assert_str_eq(lines[0], lines[2]);
    cr_assert_str_neq(lines[0], lines[1]);
    cr_assert_str_eq(lines[3], "");

    struct outcome *query = call((const char *const[]){"embed", "--query", path, NULL}, "{\"text\":\"a\"}\n");
    cr_assert_eq(query->code, 0);
    query->out[strcspn(query->out, "\n")] = '\0';
    cr_assert_str_neq(query->out, lines[0], "the query prefix makes another text");
    (void)unlink(path);
}

Test(cli_program, embed_answers_the_lines_before_a_bad_one_and_names_it)
{
    char path[] = "/tmp/cli_program_XXXXXX";
    (void)close(mkstemp(path));
    write_file(path);
    struct outcome *outcome = call((const char *const[]){"embed", path, NULL}, "{\"text\":\"a\"}\nnonsense\n");
    cr_assert_eq(outcome->code, 2);
    cr_assert_eq(strncmp(outcome->out, "{\"embedding\":[", 14), 0, "%s", outcome->out);
    assert_has(outcome->errors, "line 2: this is not JSON");

    outcome = call((const char *const[]){"embed", path, NULL}, "{\"text\":\" \"}\n{\"text\":\"a\"}\n");
    cr_assert_eq(outcome->code, 0, "skipped by policy, nothing failed");
    assert_has(outcome->out, "{\"embedding\":null,\"reason\":\"empty_content\"");
    outcome = call((const char *const[]){"embed", path, NULL}, "{\"text\":\"a\\u0000\"}\n");
    cr_assert_eq(outcome->code, 9);
    assert_has(outcome->out, "\"reason\":\"invalid_encoding\"");
    (void)unlink(path);
}

/* --- models; skipped where they were not fetched --- */

static const char model[] = REEMBED_SOURCE_DIR "/models/all-MiniLM-L6-v2";

static char *
read_whole(FILE *file)
{
    char *text = NULL;
    size_t size = 0;
    rewind(file);
    if (getdelim(&text, &size, '\0', file) < 0)
        text[0] = '\0';
    (void)fclose(file);
    return text;
}

static void
need_model(void)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", model);
    if (access(path, R_OK) != 0)
        cr_skip_test("no model in %s", model);
}

Test(cli_program, tokenize_gives_the_ids_of_the_fixtures)
{
    static const char *const fixtures[] = {"wordpiece_cases.jsonl", "wordpiece_nul.jsonl"};
    need_model();
    for (size_t i = 0; i < 2; i++) {
        char path[512];
        int status = 0;
        (void)snprintf(path, sizeof path, "%s/%s", REEMBED_FIXTURES, fixtures[i]);
        char *cases = read_whole(fopen(path, "re"));
        FILE *out = tmpfile();
        FILE *errors = tmpfile();
        pid_t child = call_start((const char *const[]){"tokenize", "--model", model, NULL}, cases, out, errors);
        cr_assert_eq(waitpid(child, &status, 0), child);
        char *answers = read_whole(out);
        char *left = cases;
        char *right = answers;
        size_t lines = 0;
        for (char *line = strsep(&left, "\n"); line != NULL && line[0] != '\0'; line = strsep(&left, "\n")) {
            const char *answer = strsep(&right, "\n");
            cr_assert(answer != NULL && strlen(answer) <= strlen(line) ? 1 : 0, "%s", line);
            /* The text may hold anything, the ids come last. */
            const char *ids = line + strlen(line) - (strlen(answer) - 1);
            cr_assert_str_eq(ids, answer + 1, "%s", line);
            lines++;
        }
        cr_assert_gt(lines, 0);
        free(cases);
        free(answers);
        (void)fclose(errors);
    }
}

Test(cli_program, a_bare_model_embeds_blank_texts_too)
{
    need_model();
    struct outcome *outcome =
        call((const char *const[]){"embed", "--model", model, NULL}, "{\"text\":\"\"}\n{\"text\":\" \"}\n");
    if (strstr(outcome->errors, "ONNX Runtime") != NULL)
        cr_skip_test("no ONNX Runtime");
    cr_assert_eq(outcome->code, 0, "%s", outcome->errors);
    cr_assert_eq(strncmp(outcome->out, "{\"embedding\":[", 14), 0, "%s", outcome->out);
    cr_assert_null(strstr(outcome->out, "null"), "%s", outcome->out);
}
