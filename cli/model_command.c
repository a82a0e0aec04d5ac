/* model pull, model list: model folders on this machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "coordinator/exit_code.h"
#include "embed/hub/pull.h"
#include "embed/onnx/model_list.h"

enum { LOG_MS = 10000 };

/* --- pull --- */

struct shown {
    bool bar;
    bool drawn;
    int64_t logged_ms;
};

static void
show_bytes(void *context, const char *path, uint64_t bytes, uint64_t total)
{
    struct shown *shown = context;
    char have[FORMAT_SIZE], all[FORMAT_SIZE];
    bool whole = bytes == total;

    (void)format_bytes((double)bytes, have);
    (void)format_bytes((double)total, all);
    if (shown->bar) {
        (void)fprintf(stderr, "\r\033[K%s  %s%s%s", path, have, total > 0 && !whole ? " of " : "",
                      total > 0 && !whole ? all : "");
        shown->drawn = true;
        if (whole) {
            (void)fputc('\n', stderr);
            shown->drawn = false;
        }
        (void)fflush(stderr);
    } else if (whole || clock_now_ms() - shown->logged_ms >= LOG_MS) {
        log_event(LOG_INFO, whole ? "file is there" : "fetching", LF_STR("file", path), LF_INT("bytes", bytes),
                  LF_INT("total", total));
        shown->logged_ms = clock_now_ms();
    }
}

static void
show_wait(void *context)
{
    (void)context;
    log_event(LOG_INFO, "another pull of this model is under way: waiting for it", LF_INT("pid", getpid()));
}

/* Seconds without a byte, as other clients of hubs read them. */
static enum rc
read_stall(int64_t *ret_ms, struct err *err)
{
    const char *text = getenv("HF_HUB_DOWNLOAD_TIMEOUT");
    char *end = NULL;

    if (text == NULL || text[0] == '\0')
        return RC_OK;
    double seconds = strtod(text, &end);
    if (*end != '\0' || !(seconds >= 1 && seconds <= 86400))
        return err_set(err, RC_INVALID, ERR_USAGE, "HF_HUB_DOWNLOAD_TIMEOUT is seconds, from 1 to 86400, not \"%.40s\"",
                       text);
    *ret_ms = (int64_t)(seconds * 1000);
    return RC_OK;
}

static void
add_model(cJSON *object, const struct local_model *model)
{
    cJSON_AddStringToObject(object, "name", model->name);
    cJSON_AddStringToObject(object, "path", model->path);
    if (model->dimensions > 0)
        cJSON_AddNumberToObject(object, "dimensions", (double)model->dimensions);
    else
        cJSON_AddNullToObject(object, "dimensions");
    if (model->usable)
        cJSON_AddStringToObject(object, "pooling", pooling_name(model->pooling));
    else
        cJSON_AddNullToObject(object, "pooling");
    if (model->max_tokens > 0)
        cJSON_AddNumberToObject(object, "max_tokens", (double)model->max_tokens);
    else
        cJSON_AddNullToObject(object, "max_tokens");
    cJSON_AddNumberToObject(object, "bytes", (double)model->bytes);
    cJSON_AddBoolToObject(object, "usable", model->usable);
    if (model->usable)
        cJSON_AddNullToObject(object, "problem");
    else
        cJSON_AddStringToObject(object, "problem", model->problem);
    if (model->repository != NULL)
        cJSON_AddStringToObject(object, "repository", model->repository);
    else
        cJSON_AddNullToObject(object, "repository");
    if (model->commit[0] != '\0')
        cJSON_AddStringToObject(object, "commit", model->commit);
    else
        cJSON_AddNullToObject(object, "commit");
}

static enum rc
pull_print_json(const struct output *out, const struct pull_result *result, const struct local_model *model,
                struct err *err)
{
    cJSON *report = cJSON_CreateObject();

    if (report != NULL) {
        add_model(report, model);
        cJSON_AddBoolToObject(report, "changed", result->changed);
        cJSON_AddNumberToObject(report, "files", (double)result->files);
        cJSON_AddNumberToObject(report, "transferred_bytes", (double)result->transferred);
        cJSON_AddNumberToObject(report, "unchecked_files", (double)result->unchecked);
    }
    enum rc rc = report == NULL ? err_memory(err) : report_print_json(out, report, err);
    cJSON_Delete(report);
    return rc;
}

static void
pull_print(const struct output *out, const struct pull_result *result, const struct local_model *model)
{
    char size[FORMAT_SIZE];

    output_print(out, "%s %s%s: ", output_mark(out, true), result->path, result->changed ? "" : " is here already");
    if (model->dimensions > 0)
        output_print(out, "%zu dimensions, ", model->dimensions);
    output_print(out, "%s pooling, texts up to %zu tokens, %zu %s, %s%s%.12s\n", pooling_name(model->pooling),
                 model->max_tokens, result->files, plural((int64_t)result->files, "file", "files"),
                 format_bytes((double)result->bytes, size), result->commit[0] != '\0' ? ", commit " : "",
                 result->commit);
    if (result->unchecked > 0)
        output_print(out, "  the hub names no checksum for %zu of them\n", result->unchecked);
    output_next(out, "reembed new --path %s", result->path);
}

static int
pull(const struct invocation *invocation, struct err *err)
{
    const struct arguments *arguments = invocation->arguments;
    const char *folder = option_text(arguments, "dir");
    struct shown shown = {.bar = progress_choose(invocation->no_progress) == PROGRESS_BAR, .logged_ms = clock_now_ms()};
    struct pull_options options = {
        .hub = {.endpoint = getenv("HF_ENDPOINT"), .token = getenv("HF_TOKEN")},
        .name = arguments->texts[1],
        .revision = option_text(arguments, "revision"),
        .directory = folder != NULL ? folder : MODELS_DEFAULT_FOLDER,
        .on_progress = show_bytes,
        .on_wait = show_wait,
        .context = &shown,
    };
    struct pull_result result;
    struct local_model model = {0};

    enum rc rc = read_stall(&options.hub.stall_ms, err);
    if (rc == RC_OK)
        rc = model_pull(&options, &result, err);
    if (shown.drawn)
        (void)fputc('\n', stderr);
    if (rc == RC_OK)
        rc = local_model_read(result.path, strrchr(result.path, '/') + 1, &model, err);
    if (rc == RC_OK && option_given(arguments, "json"))
        rc = pull_print_json(&invocation->out, &result, &model, err);
    else if (rc == RC_OK)
        pull_print(&invocation->out, &result, &model);
    local_model_free(&model);
    return exit_code_of(rc, err);
}

/* --- list --- */

static enum rc
list_print_json(const struct output *out, const char *folder, const struct model_list *list, struct err *err)
{
    cJSON *report = cJSON_CreateObject();
    cJSON *models = report == NULL ? NULL : cJSON_AddArrayToObject(report, "models");

    if (models != NULL)
        cJSON_AddStringToObject(report, "folder", folder);
    for (size_t i = 0; models != NULL && i < list->count; i++) {
        cJSON *item = cJSON_CreateObject();
        if (item == NULL || !cJSON_AddItemToArray(models, item)) {
            cJSON_Delete(item);
            models = NULL;
        } else {
            add_model(item, &list->models[i]);
        }
    }
    enum rc rc = models == NULL ? err_memory(err) : report_print_json(out, report, err);
    cJSON_Delete(report);
    return rc;
}

static void
number_cell(struct table *table, size_t number)
{
    char text[FORMAT_SIZE] = "";
    table_cell(table, number > 0 ? format_count((int64_t)number, text) : "?");
}

static enum rc
list_print(const struct output *out, const char *folder, const struct model_list *list, struct err *err)
{
    static const struct table_column columns[] = {{.title = "model"},
                                                  {.title = "dimensions", .right = true},
                                                  {.title = "pooling"},
                                                  {.title = "tokens", .right = true},
                                                  {.title = "size", .right = true},
                                                  {.title = "from"}};
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    char text[FORMAT_SIZE];
    size_t usable = list->count;

    if (table == NULL)
        return err_memory(err);
    for (size_t i = 0; i < list->count; i++) {
        const struct local_model *model = &list->models[i];
        usable = model->usable && usable == list->count ? i : usable;
        table_cell(table, model->name);
        number_cell(table, model->dimensions);
        table_cell(table, model->usable ? pooling_name(model->pooling) : "can't be used");
        number_cell(table, model->max_tokens);
        table_cell(table, format_bytes((double)model->bytes, text));
        table_cell(table, model->repository);
    }
    enum rc rc = table_print(table, out, 0, true, err);
    table_free(table);
    for (size_t i = 0; i < list->count; i++)
        if (!list->models[i].usable)
            output_print(out, "%s %s\n", output_mark(out, false), list->models[i].problem);
    if (list->count == 0)
        output_print(out, "no model folder in %s\n", folder);
    if (usable < list->count)
        output_next(out, "reembed new --path %s", list->models[usable].path);
    else
        output_next(out, "reembed model pull sentence-transformers/all-MiniLM-L6-v2");
    return rc;
}

static int
list(const struct invocation *invocation, struct err *err)
{
    const char *given = option_text(invocation->arguments, "dir");
    const char *folder = given != NULL ? given : MODELS_DEFAULT_FOLDER;
    struct model_list models = {0};

    enum rc rc = model_list_read(folder, &models, err);
    if (rc == RC_OK)
        rc = option_given(invocation->arguments, "json") ? list_print_json(&invocation->out, folder, &models, err)
                                                         : list_print(&invocation->out, folder, &models, err);
    model_list_free(&models);
    return exit_code_of(rc, err);
}

int
model_run(const struct invocation *invocation, struct err *err)
{
    const struct arguments *arguments = invocation->arguments;
    const char *verb = arguments->texts[0];

    if (strcmp(verb, "pull") == 0 && arguments->count == 2)
        return pull(invocation, err);
    if (strcmp(verb, "list") == 0 && arguments->count == 1 && !option_given(arguments, "revision"))
        return list(invocation, err);
    enum rc rc = strcmp(verb, "pull") == 0 ? err_set(err, RC_INVALID, ERR_USAGE, "model pull needs the name of a model")
                 : strcmp(verb, "list") == 0
                     ? err_set(err, RC_INVALID, ERR_USAGE, "model list takes --dir and --json only")
                     : err_set(err, RC_INVALID, ERR_USAGE, "model %.40s is unknown", verb);
    err_hint(err, "usage: reembed model pull REPO [--dir DIR] | reembed model list [--dir DIR]");
    return exit_code_of(rc, err);
}
