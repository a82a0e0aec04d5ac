#include "embed/hub/repository.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTING_MAX = 16 * 1024 * 1024, FILES_MAX = 10000, URL_MAX = 1024 };

static bool
is_plain(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

bool
repository_name_is_valid(const char *name)
{
    size_t slashes = 0, length = 0;

    if (strlen(name) > (size_t)2 * REPOSITORY_NAME_MAX || strstr(name, "..") != NULL)
        return false;
    for (const char *c = name; *c != '\0'; c++) {
        if (*c == '/') {
            if (length == 0 || ++slashes > 1)
                return false;
            length = 0;
        } else if (!is_plain(*c) || (length == 0 && (*c == '.' || *c == '-')) || ++length > REPOSITORY_NAME_MAX) {
            return false;
        }
    }
    return length > 0;
}

bool
repository_path_is_safe(const char *path)
{
    size_t length = 0;

    if (strlen(path) >= REPOSITORY_PATH_MAX)
        return false;
    for (const char *c = path; *c != '\0'; c++) {
        if (*c == '/' ? length == 0 : !is_plain(*c) || (length == 0 && *c == '.'))
            return false;
        length = *c == '/' ? 0 : length + 1;
    }
    return length > 0;
}

/* A revision may be a branch with slashes in it: they are no part of the path. */
static bool
add_revision(char *out, size_t size, size_t *length, const char *revision)
{
    for (const char *c = revision; *c != '\0'; c++) {
        int count = is_plain(*c) ? snprintf(out + *length, size - *length, "%c", *c)
                                 : snprintf(out + *length, size - *length, "%%%02X", (unsigned char)*c);
        if (count < 0 || (size_t)count >= size - *length)
            return false;
        *length += (size_t)count;
    }
    return true;
}

static bool
make_url(char *out, size_t size, const char *before, const char *revision, const char *after)
{
    int count = snprintf(out, size, "%s", before);
    size_t length = (size_t)count;

    if (count < 0 || length >= size || !add_revision(out, size, &length, revision))
        return false;
    count = snprintf(out + length, size - length, "%s", after);
    return count >= 0 && (size_t)count < size - length;
}

bool
repository_file_url(const char *name, const char *revision, const char *path, char *out, size_t size)
{
    char before[URL_MAX], after[URL_MAX];

    (void)snprintf(before, sizeof before, "/%s/resolve/", name);
    (void)snprintf(after, sizeof after, "/%s", path);
    return make_url(out, size, before, revision, after);
}

/* One of "siblings": {"rfilename", "size", "blobId", "lfs": {"sha256", "size"}}. What is no safe name is passed over. */
static void
read_file(struct repository *repository, const cJSON *item)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "rfilename");
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(item, "size");
    const cJSON *blob = cJSON_GetObjectItemCaseSensitive(item, "blobId");
    const cJSON *lfs = cJSON_GetObjectItemCaseSensitive(item, "lfs");
    const cJSON *sha256 = cJSON_GetObjectItemCaseSensitive(lfs, "sha256");
    const cJSON *lfs_size = cJSON_GetObjectItemCaseSensitive(lfs, "size");
    struct repository_file *file = &repository->files[repository->count];

    if (!cJSON_IsString(name) || !repository_path_is_safe(name->valuestring))
        return;
    *file = (struct repository_file){0};
    (void)snprintf(file->path, sizeof file->path, "%s", name->valuestring);
    if (cJSON_IsString(sha256))
        file->checksum = checksum_of_text(sha256->valuestring, strlen(sha256->valuestring));
    else if (cJSON_IsString(blob) && !cJSON_IsObject(lfs)) /* of a large file it is the pointer's */
        file->checksum = checksum_of_text(blob->valuestring, strlen(blob->valuestring));
    if (cJSON_IsNumber(lfs_size))
        size = lfs_size;
    if (cJSON_IsNumber(size) && size->valuedouble >= 0 && size->valuedouble < 1e15) {
        file->has_size = true;
        file->size = (uint64_t)size->valuedouble;
    }
    repository->count++;
}

static enum rc
read_listing(struct hub *hub, const char *name, const char *text, size_t length, struct repository *repository,
             struct err *err)
{
    cJSON *root = cJSON_ParseWithLength(text, length);
    const cJSON *siblings = cJSON_GetObjectItemCaseSensitive(root, "siblings");
    const cJSON *commit = cJSON_GetObjectItemCaseSensitive(root, "sha");
    const cJSON *item;
    int count = cJSON_IsArray(siblings) ? cJSON_GetArraySize(siblings) : 0;
    enum rc rc = RC_OK;

    if (count == 0 || count > FILES_MAX) {
        rc = err_set(err, RC_HALT, ERR_PROVIDER, "%s lists no files of %s that can be read", hub_name(hub), name);
        err_hint(err, "is HF_ENDPOINT the address of a hub?");
    } else if ((repository->files = calloc((size_t)count, sizeof *repository->files)) == NULL) {
        rc = err_memory(err);
    } else {
        cJSON_ArrayForEach (item, siblings)
            read_file(repository, item);
        if (cJSON_IsString(commit) &&
            checksum_of_text(commit->valuestring, strlen(commit->valuestring)).kind != CHECKSUM_NONE)
            (void)snprintf(repository->commit, sizeof repository->commit, "%.64s", commit->valuestring);
        repository->listed = true;
    }
    cJSON_Delete(root);
    return rc;
}

enum rc
repository_list(struct hub *hub, const char *name, const char *revision, struct repository *ret_repository,
                struct err *err)
{
    char path[URL_MAX], before[URL_MAX];
    struct repository repository = {0};
    struct strbuf body;
    enum rc rc;

    (void)snprintf(before, sizeof before, "/api/models/%s/revision/", name);
    if (!make_url(path, sizeof path, before, revision, "?blobs=true"))
        return err_set(err, RC_INVALID, ERR_USAGE, "the name of the model or its revision is too long");
    strbuf_init(&body, LISTING_MAX);
    rc = hub_get_text(hub, path, &body, err);
    if (rc == RC_OK)
        rc = read_listing(hub, name, strbuf_text(&body), body.length, &repository, err);
    else if (rc == RC_AGAIN) /* a plain mirror of the files: each is asked for by its name */
        rc = RC_OK;
    strbuf_free(&body);
    if (rc == RC_OK)
        *ret_repository = repository;
    else
        repository_free(&repository);
    return rc;
}

void
repository_free(struct repository *repository)
{
    free(repository->files);
    *repository = (struct repository){0};
}

const struct repository_file *
repository_find(const struct repository *repository, const char *path)
{
    for (size_t i = 0; i < repository->count; i++)
        if (strcmp(repository->files[i].path, path) == 0)
            return &repository->files[i];
    return NULL;
}
