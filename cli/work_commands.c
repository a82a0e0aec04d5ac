/* plan, run, verify, search: the coordinator works, this shows it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare_report.h"
#include "cli/find_file.h"
#include "cli/forecast_text.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/serve_command.h"
#include "cli/session.h"
#include "cli/statements.h"
#include "cli/status_text.h"
#include "coordinator/exit_code.h"

enum { ID_SIZE = 256 };

/* --- run --- */

static bool
confirm(void *context, const char *question)
{
    return ask(context, question);
}

static enum rc
read_run_options(const struct invocation *invocation, struct run_options *options, struct err *err)
{
    const struct arguments *arguments = invocation->arguments;

    enum rc rc = option_number(arguments, "max-runtime", 0.001, INFINITY, &options->max_runtime_secs, err);
    if (rc == RC_OK)
        rc = option_number(arguments, "until", 0, 1, &options->until, err);
    if (rc == RC_OK && option_given(arguments, "until") && options->until <= 0)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--until must be above 0: the share of documents to embed");
    if (rc == RC_OK)
        rc = option_count(arguments, "batch-size", 1, 10000, &options->batch_size, err);
    if (rc == RC_OK)
        rc = option_count(arguments, "max-concurrent", 1, 512, &options->max_concurrent, err);
    if (rc == RC_OK)
        rc = option_number(arguments, "shutdown-grace-secs", 0, 86400, &options->shutdown_grace_secs, err);
    if (rc == RC_OK && !option_given(arguments, "listen") && option_given(arguments, "allow-control"))
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--allow-control is for --listen HOST:PORT");
    if (rc == RC_OK && options->once && options->follow)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--once and --follow exclude each other");
    return rc;
}

/* What became of it. Nobody waits for this: a database that is away now is no error. */
static void
print_result(const struct invocation *invocation, const char *id, const char *file)
{
    struct db *db = NULL;
    cJSON *status = NULL;
    cJSON *more = NULL;
    struct err ignored = ERR_INIT;
    struct params params = PARAMS_INIT;
    bool known = false;

    if (id[0] != '\0' && !atomic_load(invocation->stop) && session_open(invocation, &db, &ignored) == RC_OK) {
        params_add_text(&params, id);
        known = session_status(db, id, NULL, &status, &ignored) == RC_OK &&
                session_json(db, sql_show_more, &params, &more, &ignored) == RC_OK;
    }
    if (known) {
        const cJSON *outcome = cJSON_GetObjectItemCaseSensitive(more, "outcome");
        status_print_brief(&invocation->out, status);
        if (cJSON_IsObject(outcome))
            (void)forecast_print_outcome(&invocation->out, outcome, 2, &ignored);
        status_print_next(&invocation->out, status, more);
    } else {
        output_next(&invocation->out, "go on where it stopped: reembed run %s", file);
    }
    params_clear(&params);
    cJSON_Delete(status);
    cJSON_Delete(more);
    db_close(db);
}

int
run_run(const struct invocation *invocation, struct err *err)
{
    char id[ID_SIZE] = "";
    const struct arguments *arguments = invocation->arguments;
    struct run_options options = {
        .common = invocation->common,
        .file = arguments->texts[0],
        .once = option_given(arguments, "once"),
        .follow = option_given(arguments, "follow"),
        .ok_if_more = option_given(arguments, "ok-if-more"),
        .shutdown_grace_secs = 25,
        .stop = invocation->stop,
        .on_progress = progress_show,
        .confirm = confirm,
    };
    options.confirm_context = &options.common;

    enum rc rc = read_run_options(invocation, &options, err);
    if (rc != RC_OK)
        return exit_code_of(rc, err);
    struct measurements *measurements = NULL;
    struct server *server = NULL;
    if (option_given(arguments, "listen")) {
        rc = serve_beside(invocation, &measurements, &server, err);
        if (rc != RC_OK)
            return exit_code_of(rc, err);
        options.measurements = measurements;
    }
    progress_open(progress_choose(invocation->no_progress));
    int code = run_command(&options, id, err);
    progress_close();
    server_close(server);
    free(measurements);
    if (code != EXIT_USAGE && code != EXIT_UNREACHABLE)
        print_result(invocation, id, options.file);
    return code;
}

/* --- plan, verify, search --- */

int
plan_run(const struct invocation *invocation, struct err *err)
{
    cJSON *report = NULL;
    struct err print_error = ERR_INIT;
    const struct arguments *arguments = invocation->arguments;
    const struct plan_options options = {
        .common = invocation->common,
        .file = arguments->texts[0],
        .probe = option_given(arguments, "probe"),
    };

    int code = plan_command(&options, &report, err);
    enum rc rc = RC_OK;
    if (report != NULL)
        rc = option_given(arguments, "json") ? report_print_json(&invocation->out, report, &print_error)
                                             : plan_print(&invocation->out, report, options.file, &print_error);
    cJSON_Delete(report);
    return report_code(code, rc, &print_error, err);
}

int
verify_run(const struct invocation *invocation, struct err *err)
{
    cJSON *report = NULL;
    struct err print_error = ERR_INIT;
    const struct arguments *arguments = invocation->arguments;
    struct verify_options options = {
        .common = invocation->common,
        .migration_id = arguments->texts[0],
        .file = option_text(arguments, "file"),
    };

    enum rc rc = option_count(arguments, "sample", 0, 1000000, &options.sample, err);
    if (rc != RC_OK)
        return exit_code_of(rc, err);
    char *found = options.file == NULL ? find_migration_file(".", "id", options.migration_id) : NULL;
    if (found != NULL)
        options.file = found;
    int code = verify_command(&options, &report, err);
    if (report != NULL)
        rc = option_given(arguments, "json") ? report_print_json(&invocation->out, report, &print_error)
                                             : verify_print(&invocation->out, report, &print_error);
    cJSON_Delete(report);
    free(found);
    return report_code(code, rc, &print_error, err);
}

static enum rc
show_comparison(const struct invocation *invocation, const cJSON *report, struct err *err)
{
    const struct arguments *arguments = invocation->arguments;
    const char *page = option_text(arguments, "html");
    enum rc rc = option_given(arguments, "json") ? report_print_json(&invocation->out, report, err)
                                                 : compare_print(&invocation->out, report, err);

    return rc == RC_OK && page != NULL ? compare_write_page(report, page, err) : rc;
}

int
compare_run(const struct invocation *invocation, struct err *err)
{
    cJSON *report = NULL;
    struct err print_error = ERR_INIT;
    const struct arguments *arguments = invocation->arguments;
    struct compare_options options = {
        .common = invocation->common,
        .migration_id = arguments->texts[0],
        .file = option_text(arguments, "file"),
        .queries = option_text(arguments, "queries"),
        .known_items = option_text(arguments, "known-items"),
        .k = 10,
        .sample = 1000,
    };
    int64_t seed = 1;

    enum rc rc = option_count(arguments, "limit", 1, 200, &options.k, err);
    if (rc == RC_OK)
        rc = option_count(arguments, "sample", 10, 2000, &options.sample, err);
    if (rc == RC_OK)
        rc = option_count(arguments, "seed", 0, INT32_MAX, &seed, err);
    if (rc == RC_OK && options.queries != NULL && options.known_items != NULL)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--queries and --known-items exclude each other");
    if (rc != RC_OK)
        return exit_code_of(rc, err);
    options.seed = (uint64_t)seed;
    char *found = options.file == NULL ? find_migration_file(".", "id", options.migration_id) : NULL;
    if (found != NULL)
        options.file = found;
    int code = compare_command(&options, &report, err);
    if (report != NULL)
        rc = show_comparison(invocation, report, &print_error);
    cJSON_Delete(report);
    free(found);
    return report_code(code, rc, &print_error, err);
}

static enum rc
read_side(const char *word, enum search_side *ret_side, struct err *err)
{
    static const struct {
        const char *word;
        enum search_side side;
    } sides[] = {{"source", SEARCH_SOURCE}, {"target", SEARCH_TARGET}, {"fused", SEARCH_FUSED}};

    *ret_side = SEARCH_ROUTED;
    if (word == NULL)
        return RC_OK;
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        if (strcmp(word, sides[i].word) == 0) {
            *ret_side = sides[i].side;
            return RC_OK;
        }
    }
    return err_set(err, RC_INVALID, ERR_USAGE, "--model must be source, target or fused, not \"%.40s\"", word);
}

int
search_run(const struct invocation *invocation, struct err *err)
{
    cJSON *report = NULL;
    struct err print_error = ERR_INIT;
    const struct arguments *arguments = invocation->arguments;
    struct search_options options = {
        .common = invocation->common,
        .collection = arguments->texts[0],
        .text = arguments->texts[1],
        .file = option_text(arguments, "file"),
        .limit = 10,
    };

    enum rc rc = option_count(arguments, "limit", 1, 1000, &options.limit, err);
    if (rc == RC_OK)
        rc = read_side(option_text(arguments, "model"), &options.side, err);
    if (rc == RC_OK && options.text[strspn(options.text, " \t\r\n")] == '\0')
        rc = err_set(err, RC_INVALID, ERR_USAGE, "the text to search for is empty");
    if (rc != RC_OK)
        return exit_code_of(rc, err);
    char *found = options.file == NULL ? find_migration_file(".", "collection", options.collection) : NULL;
    if (found != NULL)
        options.file = found;
    int code = search_command(&options, &report, err);
    if (report != NULL)
        rc = option_given(arguments, "json") ? report_print_json(&invocation->out, report, &print_error)
                                             : search_print(&invocation->out, report, &print_error);
    cJSON_Delete(report);
    free(found);
    return report_code(code, rc, &print_error, err);
}
