#include "embed/onnx/model_folder.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"

enum { DEFAULT_MAX_TOKENS = 512 };

struct reading {
    const struct provider_options *options;
    const struct model_facts *facts; /* NULL: a model that is not in the table */
    struct model_folder *folder;
    size_t positions;  /* that the model has embeddings for; 0: not known */
    size_t vocabulary; /* rows of its word embeddings; 0: not known */
    char pooling_path[PATH_MAX];
    struct err *err;
};

static bool
path_join(char out[PATH_MAX], const char *folder, const char *name)
{
    int length = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    return length > 0 && length < PATH_MAX;
}

static bool
has_file(const char *folder, const char *name, char path[PATH_MAX])
{
    struct stat status;
    return path_join(path, folder, name) && stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* A file that may be missing: then *ret_root is NULL. */
static enum rc
read_optional(struct reading *r, const char *name, cJSON **ret_root)
{
    char path[PATH_MAX];

    *ret_root = NULL;
    return has_file(r->options->path, name, path) ? json_read_file(path, ret_root, r->err) : RC_OK;
}

static size_t
size_of(const cJSON *root, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    return cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble <= 1e9 ? (size_t)item->valuedouble : 0;
}

static enum rc
refuse_tokenizer(struct reading *r, const char *what)
{
    err_set(r->err, RC_INVALID, ERR_USAGE, "%s: %s", r->options->path, what);
    err_hint(r->err, "models with SentencePiece tokenizers (e5, paraphrase-multilingual, Qwen) run through an HTTP "
                     "provider (kind \"openai\") until an in-process tokenizer exists");
    return RC_INVALID;
}

static const struct model_facts *
facts_of(const struct provider_options *options)
{
    const struct model_facts *facts = options->model ? model_find(options->model) : NULL;
    char path[PATH_MAX];

    if (facts)
        return facts;
    int length = snprintf(path, sizeof path, "%s", options->path);
    if (length <= 0 || (size_t)length >= sizeof path)
        return NULL;
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    return model_find(path); /* drops everything up to the last '/' */
}

static enum rc
find_files(struct reading *r)
{
    static const char *const graphs[] = {"model.onnx", "onnx/model.onnx"};
    static const char *const others[] = {"sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "merges.txt"};
    const char *folder = r->options->path;
    struct stat status;
    char path[PATH_MAX];
    bool found = false;

    if (!folder || !folder[0])
        return err_set(r->err, RC_INVALID, ERR_USAGE, "the onnx provider needs \"path\", the model's folder");
    if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode)) {
        err_set(r->err, RC_INVALID, ERR_USAGE, "there is no model folder %s", folder);
        err_hint(r->err, "fetch it (reembed model pull), or correct \"path\"; it is relative to where reembed runs");
        return RC_INVALID;
    }
    if (r->facts && !r->facts->in_process)
        return refuse_tokenizer(r, "this model's tokenizer is no WordPiece tokenizer");
    if (!has_file(folder, "tokenizer.json", path)) {
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            if (has_file(folder, others[i], path))
                return refuse_tokenizer(r, "this model's tokenizer is no WordPiece tokenizer");
        }
        err_set(r->err, RC_INVALID, ERR_USAGE, "the model folder %s has no tokenizer.json", folder);
        err_hint(r->err, "it is published beside the model; copy it into the folder");
        return RC_INVALID;
    }
    for (size_t i = 0; i < sizeof graphs / sizeof graphs[0] && !found; i++)
        found = has_file(folder, graphs[i], r->folder->graph);
    if (found)
        return RC_OK;
    bool weights = has_file(folder, "model.safetensors", path) || has_file(folder, "pytorch_model.bin", path);
    err_set(r->err, RC_INVALID, ERR_USAGE, "the model folder %s has neither model.onnx nor onnx/model.onnx", folder);
    err_hint(r->err, weights ? "it holds weights only: export them to ONNX, see scripts/export-onnx, or fetch a folder "
                               "that has the graph (reembed model pull)"
                             : "fetch a folder that has the graph (reembed model pull)");
    return RC_INVALID;
}

/* modules.json names the steps after the transformer. */
static enum rc
read_modules(struct reading *r)
{
    cJSON *root, *module;
    enum rc rc = read_optional(r, "modules.json", &root);
    bool normalizes = false;

    r->folder->normalize = true;
    (void)snprintf(r->pooling_path, sizeof r->pooling_path, "1_Pooling");
    if (rc != RC_OK || !root)
        return rc;
    cJSON_ArrayForEach (module, root) {
        const cJSON *type = cJSON_GetObjectItemCaseSensitive(module, "type");
        const cJSON *path = cJSON_GetObjectItemCaseSensitive(module, "path");
        const char *name = cJSON_IsString(type) ? strrchr(type->valuestring, '.') : NULL;

        name = name ? name + 1 : "?";
        if (strcmp(name, "Normalize") == 0) {
            normalizes = true;
        } else if (strcmp(name, "Pooling") == 0) {
            if (cJSON_IsString(path) && path->valuestring[0])
                (void)snprintf(r->pooling_path, sizeof r->pooling_path, "%s", path->valuestring);
        } else if (strcmp(name, "Transformer") != 0) {
            rc = err_set(r->err, RC_INVALID, ERR_USAGE,
                         "%s/modules.json has a module of type %.100s, which the onnx provider does not run",
                         r->options->path, name);
            break;
        }
    }
    /* The models of the table are used at unit length, whatever their folder says. */
    r->folder->normalize = normalizes || r->facts;
    cJSON_Delete(root);
    return rc;
}

static bool
mode_is_on(const cJSON *root, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, key));
}

static enum rc
read_pooling(struct reading *r)
{
    char name[PATH_MAX];
    cJSON *root = NULL;
    enum rc rc = path_join(name, r->pooling_path, "config.json") ? read_optional(r, name, &root) : RC_OK;

    if (rc != RC_OK || !root)
        return rc;
    int modes = mode_is_on(root, "pooling_mode_mean_tokens") + mode_is_on(root, "pooling_mode_cls_token") +
                mode_is_on(root, "pooling_mode_lasttoken") + mode_is_on(root, "pooling_mode_max_tokens") +
                mode_is_on(root, "pooling_mode_mean_sqrt_len_tokens") +
                mode_is_on(root, "pooling_mode_weightedmean_tokens");
    if (modes == 1 && mode_is_on(root, "pooling_mode_mean_tokens"))
        r->folder->pooling = POOLING_MEAN;
    else if (modes == 1 && mode_is_on(root, "pooling_mode_cls_token"))
        r->folder->pooling = POOLING_CLS;
    else if (modes == 1 && mode_is_on(root, "pooling_mode_lasttoken"))
        r->folder->pooling = POOLING_LAST;
    else if (modes > 0 && r->options->pooling == POOLING_UNSET) {
        rc = err_set(r->err, RC_INVALID, ERR_USAGE, "%s/%s asks for a pooling other than mean, cls or last token alone",
                     r->options->path, name);
        err_hint(r->err, "set \"pooling\" in the provider's options if one of these is wanted nevertheless");
    }
    cJSON_Delete(root);
    return rc;
}

static enum rc
read_config(struct reading *r)
{
    cJSON *root;
    enum rc rc = read_optional(r, "config.json", &root);

    if (rc != RC_OK || !root)
        return rc;
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(root, "model_type");
    bool padded_positions =
        cJSON_IsString(type) && (strcmp(type->valuestring, "mpnet") == 0 || strcmp(type->valuestring, "roberta") == 0 ||
                                 strcmp(type->valuestring, "xlm-roberta") == 0);
    r->vocabulary = size_of(root, "vocab_size");
    r->positions = size_of(root, "max_position_embeddings");
    if (padded_positions && r->positions > 2)
        r->positions -= 2; /* their first position is the pad id's plus one */
    cJSON_Delete(root);
    return RC_OK;
}

static enum rc
read_max_tokens(struct reading *r)
{
    cJSON *root;
    enum rc rc = read_optional(r, "sentence_bert_config.json", &root);
    size_t most = r->positions ? r->positions : DEFAULT_MAX_TOKENS, special;

    if (rc != RC_OK)
        return rc;
    size_t said = size_of(root, "max_seq_length");
    cJSON_Delete(root);
    if (!said && r->facts)
        said = r->facts->max_tokens;
    r->folder->max_tokens = said && said < most ? said : most;
    if (!r->options->max_tokens)
        return RC_OK;

    special = wordpiece_special_count(r->folder->tokenizer);
    if (r->options->max_tokens <= special)
        return err_set(r->err, RC_INVALID, ERR_USAGE, "max_tokens %zu leaves nothing beside the %zu special tokens",
                       r->options->max_tokens, special);
    if (r->positions && r->options->max_tokens > r->positions)
        return err_set(r->err, RC_INVALID, ERR_USAGE, "max_tokens is %zu, but the model %s has %zu positions",
                       r->options->max_tokens, r->options->path, r->positions);
    r->folder->max_tokens = r->options->max_tokens;
    return RC_OK;
}

static enum rc
read_tokenizer(struct reading *r)
{
    char path[PATH_MAX];
    enum rc rc;

    if (!path_join(path, r->options->path, "tokenizer.json"))
        return err_set(r->err, RC_INVALID, ERR_USAGE, "the path of the model folder is too long");
    rc = wordpiece_load(path, &r->folder->tokenizer, r->err);
    if (rc == RC_OK && r->vocabulary && wordpiece_highest_id(r->folder->tokenizer) >= r->vocabulary) {
        err_set(r->err, RC_INVALID, ERR_USAGE, "%s has ids up to %u, but the model has %zu words", path,
                wordpiece_highest_id(r->folder->tokenizer), r->vocabulary);
        err_hint(r->err, "tokenizer.json and config.json belong to different models");
        return RC_INVALID;
    }
    return rc;
}

enum rc
model_folder_open(const struct provider_options *options, struct model_folder *ret_folder, struct err *err)
{
    struct model_folder folder = {.pooling = POOLING_UNSET};
    struct reading r = {.options = options, .folder = &folder, .err = err};
    enum rc rc;

    r.facts = options->path ? facts_of(options) : NULL;
    if ((rc = find_files(&r)) != RC_OK || (rc = read_modules(&r)) != RC_OK || (rc = read_pooling(&r)) != RC_OK ||
        (rc = read_config(&r)) != RC_OK || (rc = read_tokenizer(&r)) != RC_OK || (rc = read_max_tokens(&r)) != RC_OK) {
        model_folder_close(&folder);
        return rc;
    }
    if (options->pooling != POOLING_UNSET)
        folder.pooling = options->pooling;
    else if (folder.pooling == POOLING_UNSET)
        folder.pooling = r.facts ? r.facts->pooling : POOLING_MEAN;
    if (options->normalize >= 0)
        folder.normalize = options->normalize != 0;
    *ret_folder = folder;
    return RC_OK;
}

void
model_folder_close(struct model_folder *folder)
{
    folder->tokenizer = wordpiece_free(folder->tokenizer);
}
