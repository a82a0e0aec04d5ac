#include "embed/onnx/model_list.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "embed/onnx/model_folder.h"

enum { MODELS_MAX = 1000, DEPTH_MAX = 4 };

const char *
pooling_name(enum pooling pooling)
{
    switch (pooling) {
    case POOLING_MEAN:
        return "mean";
    case POOLING_CLS:
        return "cls";
    case POOLING_LAST:
        return "last";
    case POOLING_UNSET:
        break;
    }
    return "";
}

static bool
join(char out[PATH_MAX], const char *folder, const char *name)
{
    int length = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    return length > 0 && length < PATH_MAX;
}

static bool
has_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    return join(path, folder, name) && stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* Files of a model folder are few: no deeper than its pooling's settings. */
static uint64_t
size_below(const char *folder, int depth)
{
    char path[PATH_MAX];
    struct stat status;
    uint64_t bytes = 0;
    DIR *entries = depth < DEPTH_MAX ? opendir(folder) : NULL;

    if (entries == NULL)
        return 0;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (entry->d_name[0] == '.' || !join(path, folder, entry->d_name) || stat(path, &status) != 0)
            continue;
        if (S_ISREG(status.st_mode))
            bytes += (uint64_t)status.st_size;
        else if (S_ISDIR(status.st_mode))
            bytes += size_below(path, depth + 1);
    }
    (void)closedir(entries);
    return bytes;
}

/* NULL where it is missing or broken: then nothing is known of it. */
static cJSON *
read_quietly(const char *folder, const char *name)
{
    char path[PATH_MAX];
    cJSON *root = NULL;

    if (!has_file(folder, name) || !join(path, folder, name) || json_read_file(path, &root, NULL) != RC_OK)
        return NULL;
    return root;
}

static size_t
dimensions_of(const char *folder, const char *name)
{
    cJSON *config = read_quietly(folder, "config.json");
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(config, "hidden_size");
    const struct model_facts *facts = model_find(name);
    size_t dimensions = facts != NULL ? facts->dimensions : 0;

    if (cJSON_IsNumber(size) && size->valuedouble >= 1 && size->valuedouble <= 1e6)
        dimensions = (size_t)size->valuedouble;
    cJSON_Delete(config);
    return dimensions;
}

static enum rc
read_record(const char *folder, struct local_model *model, struct err *err)
{
    cJSON *record = read_quietly(folder, MODEL_RECORD);
    const cJSON *repository = cJSON_GetObjectItemCaseSensitive(record, "repository");
    const cJSON *commit = cJSON_GetObjectItemCaseSensitive(record, "commit");
    enum rc rc = RC_OK;

    if (cJSON_IsString(repository) && (model->repository = strdup(repository->valuestring)) == NULL)
        rc = err_memory(err);
    if (cJSON_IsString(commit))
        (void)snprintf(model->commit, sizeof model->commit, "%.64s", commit->valuestring);
    cJSON_Delete(record);
    return rc;
}

enum rc
local_model_read(const char *folder, const char *name, struct local_model *ret_model, struct err *err)
{
    struct local_model model = {.name = strdup(name), .path = strdup(folder), .bytes = size_below(folder, 0)};
    const struct provider_options options = {
        .kind = PROVIDER_ONNX, .model = name, .path = folder, .normalize = -1, .send_dimensions = -1};
    struct model_folder opened;
    struct err problem = ERR_INIT;
    enum rc rc;

    if (model.name == NULL || model.path == NULL) {
        local_model_free(&model);
        return err_memory(err);
    }
    model.dimensions = dimensions_of(folder, name);
    rc = model_folder_open(&options, &opened, &problem);
    if (rc == RC_OK) {
        model.usable = true;
        model.pooling = opened.pooling;
        model.max_tokens = opened.max_tokens;
        model_folder_close(&opened);
    } else if (rc == RC_INVALID) {
        (void)snprintf(model.problem, sizeof model.problem, "%.511s", problem.message);
        rc = RC_OK;
    } else if (err != NULL) {
        *err = problem;
    }
    if (rc == RC_OK)
        rc = read_record(folder, &model, err);
    if (rc != RC_OK) {
        local_model_free(&model);
        return rc;
    }
    *ret_model = model;
    return RC_OK;
}

void
local_model_free(struct local_model *model)
{
    free(model->name);
    free(model->path);
    free(model->repository);
    *model = (struct local_model){0};
}

static int
by_name(const void *left, const void *right)
{
    return strcmp(((const struct local_model *)left)->name, ((const struct local_model *)right)->name);
}

static enum rc
add_model(struct model_list *list, const char *path, const char *name, struct err *err)
{
    struct local_model *longer = realloc(list->models, (list->count + 1) * sizeof *longer);

    if (longer == NULL)
        return err_memory(err);
    list->models = longer;
    enum rc rc = local_model_read(path, name, &list->models[list->count], err);
    if (rc == RC_OK)
        list->count++;
    return rc;
}

enum rc
model_list_read(const char *folder, struct model_list *ret_list, struct err *err)
{
    struct model_list list = {0};
    char path[PATH_MAX];
    enum rc rc = RC_OK;
    DIR *entries = opendir(folder);

    if (entries == NULL && errno != ENOENT)
        return err_set(err, RC_INVALID, ERR_USAGE, "can't read the folder %s: %s", folder, strerror(errno));
    for (const struct dirent *entry = entries == NULL ? NULL : readdir(entries);
         entry != NULL && rc == RC_OK && list.count < MODELS_MAX; entry = readdir(entries)) {
        if (entry->d_name[0] != '.' && join(path, folder, entry->d_name) &&
            (has_file(path, "tokenizer.json") || has_file(path, "model.onnx") || has_file(path, "onnx/model.onnx")))
            rc = add_model(&list, path, entry->d_name, err);
    }
    if (entries != NULL)
        (void)closedir(entries);
    if (rc != RC_OK) {
        model_list_free(&list);
        return rc;
    }
    if (list.count > 0)
        qsort(list.models, list.count, sizeof *list.models, by_name);
    *ret_list = list;
    return RC_OK;
}

void
model_list_free(struct model_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        local_model_free(&list->models[i]);
    free(list->models);
    *list = (struct model_list){0};
}
