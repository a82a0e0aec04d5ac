#include "embed/hub/pull.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "embed/hub/download.h"
#include "embed/hub/folder.h"
#include "embed/hub/repository.h"
#include "embed/onnx/model_folder.h"
#include "embed/onnx/model_list.h"

enum { POINTER_MAX = 1024, SETTINGS_MAX = 64 * 1024 * 1024 };

struct pull {
    const struct pull_options *options;
    const char *name; /* the last part of the repository's */
    char work[PATH_MAX];
    char staged[PATH_MAX];
    char place[PATH_MAX];
    int lock;
    bool has_place;
    bool is_ours; /* what is in its place was made by a pull */
    struct hub *hub;
    struct repository repository;
    struct download download;
    cJSON *files; /* of the record */
    struct pull_result result;
};

static bool
join(char out[PATH_MAX], const char *folder, const char *name)
{
    int length = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    return length > 0 && length < PATH_MAX;
}

static enum rc
too_long(struct err *err)
{
    return err_set(err, RC_INVALID, ERR_USAGE, "the path of the folder is too long");
}

/* --- where it goes --- */

static enum rc
check_options(const struct pull_options *options, struct err *err)
{
    const struct model_facts *facts;

    if (!repository_name_is_valid(options->name)) {
        err_set(err, RC_INVALID, ERR_USAGE, "\"%.100s\" is no name of a model on a hub", options->name);
        err_hint(err, "it is ORGANISATION/NAME, such as sentence-transformers/all-MiniLM-L6-v2");
        return RC_INVALID;
    }
    facts = model_find(options->name);
    if (facts != NULL && !facts->in_process) {
        err_set(err, RC_INVALID, ERR_USAGE, "%s can't be run in this process: its tokenizer is no WordPiece tokenizer",
                options->name);
        err_hint(err, "run it behind an embeddings server (provider of kind \"openai\"), which fetches it by itself");
        return RC_INVALID;
    }
    return RC_OK;
}

static enum rc
find_place(struct pull *p, struct err *err)
{
    const char *slash = strrchr(p->options->name, '/');
    char hidden[NAME_MAX + 1], record[PATH_MAX];
    struct stat status;

    p->name = slash != NULL ? slash + 1 : p->options->name;
    p->has_place = p->is_ours = false;
    (void)snprintf(hidden, sizeof hidden, ".%s.pull", p->name);
    if (!join(p->place, p->options->directory, p->name) || !join(p->work, p->options->directory, hidden) ||
        !join(p->staged, p->work, "new") || !join(record, p->place, MODEL_RECORD))
        return too_long(err);
    if (lstat(p->place, &status) == 0) {
        p->has_place = true;
        p->is_ours = S_ISDIR(status.st_mode) && access(record, F_OK) == 0;
        if (!S_ISDIR(status.st_mode)) {
            err_set(err, RC_INVALID, ERR_USAGE, "%s is there already, and is no folder", p->place);
            err_hint(err, "move it away, or name another folder by --dir");
            return RC_INVALID;
        }
    }
    return RC_OK;
}

/* The folder of the work, locked by an open file in it. Whoever ends a pull removes both, so a lock counts only if the
 * file is still the one that the path names. */
static enum rc
lock_work(struct pull *p, struct err *err)
{
    char path[PATH_MAX];
    struct stat mine, there;

    if (!join(path, p->work, "lock"))
        return too_long(err);
    for (;;) {
        if ((mkdir(p->options->directory, 0755) != 0 && errno != EEXIST) ||
            (mkdir(p->work, 0755) != 0 && errno != EEXIST)) {
            enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "can't make %s: %s", p->work, strerror(errno));
            err_hint(err, "name another folder by --dir");
            return rc;
        }
        p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (p->lock < 0 && errno == ENOENT)
            continue; /* another pull has just ended */
        if (p->lock < 0)
            return err_set(err, RC_FATAL, ERR_SYSTEM, "can't open %s: %s", path, strerror(errno));
        if (flock(p->lock, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK)
                return err_set(err, RC_FATAL, ERR_SYSTEM, "can't lock %s: %s", path, strerror(errno));
            if (p->options->on_wait != NULL)
                p->options->on_wait(p->options->context);
            while (flock(p->lock, LOCK_EX) != 0)
                if (errno != EINTR)
                    return err_set(err, RC_FATAL, ERR_SYSTEM, "can't lock %s: %s", path, strerror(errno));
        }
        if (fstat(p->lock, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev &&
            mine.st_ino == there.st_ino)
            return RC_OK;
        (void)close(p->lock);
        p->lock = -1;
    }
}

/* --- its files --- */

static enum rc
differs(const struct pull *p, const char *path, struct err *err)
{
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE,
                         "%s is there already, was not made by model pull, and its %s is another", p->place, path);
    err_hint(err, "move it away, or name another folder by --dir");
    return rc;
}

static enum rc
record_file(struct pull *p, const char *path, const struct file_sums *sums, struct err *err)
{
    cJSON *item = cJSON_CreateObject();

    if (item == NULL || !cJSON_AddItemToArray(p->files, item)) {
        cJSON_Delete(item);
        return err_memory(err);
    }
    if (cJSON_AddStringToObject(item, "path", path) == NULL ||
        cJSON_AddNumberToObject(item, "bytes", (double)sums->bytes) == NULL ||
        cJSON_AddStringToObject(item, "sha256", sums->sha256) == NULL)
        return err_memory(err);
    p->result.files++;
    p->result.bytes += sums->bytes;
    return RC_OK;
}

/* A mirror that knows nothing of large files may send the note that stands for one. */
static enum rc
check_pointer(const struct downloaded *done, const char *path, struct err *err)
{
    static const char begins[] = "version https://git-lfs";
    char head[sizeof begins] = "";
    FILE *file = done->sums.bytes < POINTER_MAX ? fopen(done->path, "re") : NULL;

    if (file == NULL)
        return RC_OK;
    size_t count = fread(head, 1, sizeof head - 1, file);
    (void)fclose(file);
    if (count < sizeof begins - 1 || strcmp(head, begins) != 0)
        return RC_OK;
    return err_set(err, RC_HALT, ERR_PROVIDER, "the hub sends a git LFS pointer in place of %s", path);
}

/* All files are of one commit, as far as the hub tells. */
static enum rc
check_commit(struct pull *p, const struct downloaded *done, const char *path, struct err *err)
{
    if (done->commit[0] == '\0')
        return RC_OK;
    if (p->result.commit[0] == '\0')
        (void)snprintf(p->result.commit, sizeof p->result.commit, "%s", done->commit);
    if (strcmp(p->result.commit, done->commit) == 0)
        return RC_OK;
    enum rc rc = err_set(err, RC_REFUSED, ERR_GATE,
                         "the model was changed on the hub meanwhile: %s is of commit %.12s, not %.12s", path,
                         done->commit, p->result.commit);
    err_hint(err, "call it again");
    return rc;
}

static enum rc
check_file(struct pull *p, const struct downloaded *done, const char *path, bool is_graph, struct err *err)
{
    if (done->checked)
        return is_graph ? check_pointer(done, path, err) : RC_OK;
    if (is_graph) {
        enum rc rc = err_set(err, RC_HALT, ERR_PROVIDER, "%s names no checksum for %s", hub_name(p->hub), path);
        err_hint(err, "an unchecked model is not taken; is HF_ENDPOINT the address of a hub?");
        return rc;
    }
    p->result.unchecked++;
    log_event(LOG_WARNING, "the hub names no checksum", LF_STR("file", path));
    return RC_OK;
}

/* Fetches a file into the staged folder. RC_AGAIN: the repository has none of this name. */
static enum rc
obtain(struct pull *p, const char *path, bool is_graph, struct err *err)
{
    const struct repository_file *listed = repository_find(&p->repository, path);
    struct repository_file file = {.has_size = false};
    struct downloaded done;
    struct file_sums sums = {0};
    char to[PATH_MAX], there[PATH_MAX];
    enum rc rc;

    if (p->repository.listed && listed == NULL)
        return RC_AGAIN;
    if (listed != NULL)
        file = *listed;
    (void)snprintf(file.path, sizeof file.path, "%s", path);
    file.most = is_graph ? 0 : SETTINGS_MAX;
    if (!join(to, p->staged, path) || !join(there, p->place, path))
        return too_long(err);
    if ((rc = folder_make_parents(p->staged, path, err)) != RC_OK)
        return rc;
    if (p->has_place && !p->is_ours && file.checksum.kind != CHECKSUM_NONE &&
        (file_sums_read(there, &sums, NULL) != RC_OK || !checksum_fits(&file.checksum, &sums)))
        return differs(p, path, err); /* before anything is transferred in vain */
    if ((rc = download_file(&p->download, &file, p->has_place ? there : NULL, &done, err)) != RC_OK ||
        (rc = check_file(p, &done, path, is_graph, err)) != RC_OK || (rc = check_commit(p, &done, path, err)) != RC_OK)
        return rc;
    bool same = done.same || (p->has_place && file_sums_read(there, &sums, NULL) == RC_OK &&
                              strcmp(sums.sha256, done.sums.sha256) == 0);
    if (!same && p->has_place && !p->is_ours)
        return differs(p, path, err);
    if (!same)
        p->result.changed = true;
    if (done.same ? folder_link(there, to) != 0 : rename(done.path, to) != 0)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "can't put %s into %s: %s", path, p->staged, strerror(errno));
    return record_file(p, path, &done.sums, err);
}

static enum rc
obtain_optional(struct pull *p, const char *path, struct err *err)
{
    enum rc rc = obtain(p, path, false, err);
    return rc == RC_AGAIN ? RC_OK : rc;
}

/* modules.json names the folder of the pooling's settings: a name from elsewhere. */
static enum rc
obtain_pooling(struct pull *p, struct err *err)
{
    char path[PATH_MAX], settings[REPOSITORY_PATH_MAX + 16] = "1_Pooling/config.json";
    cJSON *root = NULL;
    const cJSON *module;
    enum rc rc = join(path, p->staged, "modules.json") ? RC_OK : too_long(err);

    if (rc == RC_OK && access(path, F_OK) == 0)
        rc = json_read_file(path, &root, err);
    cJSON_ArrayForEach (module, root) {
        const cJSON *type = cJSON_GetObjectItemCaseSensitive(module, "type");
        const cJSON *folder = cJSON_GetObjectItemCaseSensitive(module, "path");
        const char *kind = cJSON_IsString(type) ? strrchr(type->valuestring, '.') : NULL;

        if (rc != RC_OK || kind == NULL || strcmp(kind, ".Pooling") != 0 || !cJSON_IsString(folder) ||
            folder->valuestring[0] == '\0')
            continue;
        if (!repository_path_is_safe(folder->valuestring))
            rc = err_set(err, RC_HALT, ERR_PROVIDER, "modules.json names a folder that leads elsewhere");
        else
            (void)snprintf(settings, sizeof settings, "%s/config.json", folder->valuestring);
    }
    cJSON_Delete(root);
    return rc == RC_OK ? obtain_optional(p, settings, err) : rc;
}

static enum rc
no_model(const struct pull *p, const char *what, struct err *err)
{
    enum rc rc = err_set(err, RC_HALT, ERR_PROVIDER, "%s has no %s at %s", p->options->name, what, hub_name(p->hub));
    err_hint(err, p->repository.listed
                      ? "scripts/export-onnx makes the graph of a folder that has weights only; or take "
                        "a repository that was exported for ONNX"
                      : "is the name right, and does HF_ENDPOINT have this model?");
    return rc;
}

/* What tells that the model can't be used comes first, the large file last. */
static enum rc
obtain_all(struct pull *p, struct err *err)
{
    static const char *const small[] = {"modules.json", "config.json", "sentence_bert_config.json"};
    static const char *const graphs[] = {"model.onnx", "onnx/model.onnx"};
    static const char *const beside[] = {"_data", ".data"}; /* weights above 2 GB */
    struct wordpiece *tokenizer = NULL;
    char path[PATH_MAX];
    enum rc rc;

    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        if ((rc = obtain_optional(p, small[i], err)) != RC_OK)
            return rc;
    if ((rc = obtain_pooling(p, err)) != RC_OK)
        return rc;
    if ((rc = obtain(p, "tokenizer.json", false, err)) == RC_AGAIN)
        return no_model(p, "tokenizer.json", err);
    if (rc != RC_OK)
        return rc;
    if (!join(path, p->staged, "tokenizer.json"))
        return too_long(err);
    if ((rc = wordpiece_load(path, &tokenizer, err)) != RC_OK)
        return rc;
    wordpiece_free(tokenizer);

    rc = RC_AGAIN;
    for (size_t i = 0; rc == RC_AGAIN && i < sizeof graphs / sizeof graphs[0]; i++) {
        rc = obtain(p, graphs[i], true, err);
        for (size_t k = 0; rc == RC_OK && k < sizeof beside / sizeof beside[0]; k++) {
            (void)snprintf(path, sizeof path, "%s%s", graphs[i], beside[k]);
            if ((rc = obtain(p, path, true, err)) == RC_AGAIN)
                rc = RC_OK;
        }
    }
    return rc == RC_AGAIN ? no_model(p, "model.onnx and no onnx/model.onnx", err) : rc;
}

/* --- into its place --- */

static enum rc
write_record(const struct pull *p, struct err *err)
{
    char path[PATH_MAX];
    cJSON *root = cJSON_CreateObject();
    char *text = NULL;
    enum rc rc = join(path, p->staged, MODEL_RECORD) ? RC_OK : too_long(err);

    if (rc == RC_OK && (root == NULL || cJSON_AddStringToObject(root, "repository", p->options->name) == NULL ||
                        cJSON_AddStringToObject(root, "revision", p->download.revision) == NULL ||
                        (p->result.commit[0] != '\0' ? cJSON_AddStringToObject(root, "commit", p->result.commit) == NULL
                                                     : cJSON_AddNullToObject(root, "commit") == NULL) ||
                        !cJSON_AddItemReferenceToObject(root, "files", p->files) || (text = cJSON_Print(root)) == NULL))
        rc = err_memory(err);
    if (rc == RC_OK)
        rc = folder_write_file(path, text, err);
    cJSON_free(text);
    cJSON_Delete(root);
    return rc;
}

static enum rc
check_folder(const struct pull *p, struct err *err)
{
    const struct provider_options options = {
        .kind = PROVIDER_ONNX, .model = p->options->name, .path = p->staged, .normalize = -1, .send_dimensions = -1};
    struct model_folder folder;
    enum rc rc = model_folder_open(&options, &folder, err);

    if (rc == RC_OK)
        model_folder_close(&folder);
    return rc;
}

static enum rc
put_in_place(struct pull *p, struct err *err)
{
    enum rc rc = check_folder(p, err);

    if (rc != RC_OK || !p->result.changed)
        return rc;
    if ((rc = write_record(p, err)) != RC_OK)
        return rc;
    return folder_replace(p->staged, p->place, err);
}

static enum rc
open_all(struct pull *p, struct err *err)
{
    enum rc rc;

    if ((rc = check_options(p->options, err)) != RC_OK || (rc = hub_open(&p->options->hub, &p->hub, err)) != RC_OK)
        return rc;
    /* Cheap mistakes are told before anyone waits; while it waits, another pull may put the model in place. */
    if ((rc = find_place(p, err)) != RC_OK || (rc = lock_work(p, err)) != RC_OK || (rc = find_place(p, err)) != RC_OK)
        return rc;
    p->files = cJSON_CreateArray();
    if (p->files == NULL)
        return err_memory(err);
    p->download = (struct download){
        .hub = p->hub,
        .name = p->options->name,
        .revision = p->options->revision != NULL && p->options->revision[0] != '\0' ? p->options->revision : "main",
        .store = p->work,
        .on_progress = p->options->on_progress,
        .context = p->options->context,
    };
    if ((rc = repository_list(p->hub, p->options->name, p->download.revision, &p->repository, err)) != RC_OK)
        return rc;
    (void)snprintf(p->result.commit, sizeof p->result.commit, "%s", p->repository.commit);
    if ((rc = folder_remove(p->staged, err)) != RC_OK)
        return rc;
    return mkdir(p->staged, 0755) == 0
               ? RC_OK
               : err_set(err, RC_FATAL, ERR_SYSTEM, "can't make %s: %s", p->staged, strerror(errno));
}

enum rc
model_pull(const struct pull_options *options, struct pull_result *ret_result, struct err *err)
{
    struct pull p = {.options = options, .lock = -1};
    enum rc rc = open_all(&p, err);

    if (rc == RC_OK)
        rc = obtain_all(&p, err);
    if (rc == RC_OK)
        rc = put_in_place(&p, err);
    /* What was in the place before is among what goes. Parts stay for the next call if this one failed. The lock goes last:
     * who waits for it has nothing else in this folder. */
    if (p.lock >= 0) {
        if (rc == RC_OK)
            rc = folder_empty_but(p.work, "lock", err);
        else
            (void)folder_remove(p.staged, NULL);
        folder_remove_if_alone(p.work, "lock");
    }
    if (rc == RC_OK) {
        p.result.transferred = p.download.transferred;
        (void)snprintf(p.result.path, sizeof p.result.path, "%s", p.place);
        *ret_result = p.result;
    }
    if (p.lock >= 0)
        (void)close(p.lock);
    cJSON_Delete(p.files);
    repository_free(&p.repository);
    hub_close(p.hub);
    return rc;
}
