#include "embed/onnx/ort_library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY_STEM "libonnxruntime.so"

static void
hint_install(struct err *err)
{
    err_hint(err,
             "the Python package onnxruntime (pip download onnxruntime, a wheel is a zip file) holds it as "
             "onnxruntime/capi/libonnxruntime.so.*, so do the archives of its GitHub releases (lib/): name the file "
             "by --onnxruntime or REEMBED_ONNXRUNTIME, or put it into .cache/onnxruntime");
}

/* The library inside a folder: libonnxruntime.so.1, libonnxruntime.so, else any libonnxruntime.so.* (wheels have only
 * the full version). */
static bool
find_in_folder(const char *folder, char path[PATH_MAX])
{
    static const char *const names[] = {LIBRARY_STEM ".1", LIBRARY_STEM};
    const struct dirent *entry;
    bool found = false;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int length = snprintf(path, PATH_MAX, "%s/%s", folder, names[i]);
        if (length > 0 && length < PATH_MAX && access(path, R_OK) == 0)
            return true;
    }
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    while (!found && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, LIBRARY_STEM ".", sizeof LIBRARY_STEM) != 0)
            continue;
        int length = snprintf(path, PATH_MAX, "%s/%s", folder, entry->d_name);
        found = length > 0 && length < PATH_MAX;
    }
    closedir(dir);
    return found;
}

/* Takes the functions out of an opened library. */
static enum rc
bind_api(void *library, const char *name, struct ort_api *ret_api, struct err *err)
{
    const struct ort_api_base *(*get_base)(void);
    void *symbol = dlsym(library, "OrtGetApiBase");

    if (!symbol)
        return err_set(err, RC_INVALID, ERR_USAGE, "%s is not ONNX Runtime: it has no OrtGetApiBase", name);
    memcpy(&get_base, &symbol, sizeof get_base); /* ISO C has no cast from an object to a function */

    const struct ort_api_base *base = get_base();
    const ort_function *table = base ? base->get_api(ORT_API_VERSION_NEEDED) : NULL;
    if (!table) {
        err_set(err, RC_INVALID, ERR_USAGE, "%s is ONNX Runtime %s; 1.%d or newer is needed", name,
                base ? base->get_version() : "?", ORT_API_VERSION_NEEDED);
        hint_install(err);
        return RC_INVALID;
    }
/* NOLINTNEXTLINE(bugprone-macro-parentheses): types */
#define ORT_BIND(member, index, result, parameters) ret_api->member = (result(*) parameters)table[index];
    ORT_FUNCTIONS(ORT_BIND)
#undef ORT_BIND
    ret_api->version = base->get_version();
    return RC_OK;
}

static enum rc
open_file(const char *path, struct ort_api *ret_api, struct err *err)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        const char *why = dlerror();
        err_set(err, RC_INVALID, ERR_USAGE, "cannot load ONNX Runtime: %s", why ? why : path);
        hint_install(err);
        return RC_INVALID;
    }
    return bind_api(library, path, ret_api, err);
}

/* What a person named: a file or a folder, and nothing else will do. */
static enum rc
open_named(const char *path, const char *by, struct ort_api *ret_api, struct err *err)
{
    char inside[PATH_MAX];
    struct stat status;

    if (stat(path, &status) != 0 || (S_ISDIR(status.st_mode) && !find_in_folder(path, inside))) {
        err_set(err, RC_INVALID, ERR_USAGE, "ONNX Runtime is not at %s, which %s names", path, by);
        hint_install(err);
        return RC_INVALID;
    }
    return open_file(S_ISDIR(status.st_mode) ? inside : path, ret_api, err);
}

/* The library in a folder that is `tail` from the one that holds this program. */
static bool
find_beside_program(const char *tail, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);

    if (length <= 0)
        return false;
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (!slash || (size_t)(slash - folder) + strlen(tail) >= PATH_MAX)
        return false;
    memcpy(slash, tail, strlen(tail) + 1);
    return find_in_folder(folder, path);
}

enum rc
ort_library_open(const char *path, struct ort_api *ret_api, struct err *err)
{
    static const char *const folders[] = {"/usr/lib", "/usr/local/lib", "/opt/onnxruntime/lib", ".cache/onnxruntime"};
    static const char *const names[] = {LIBRARY_STEM ".1", LIBRARY_STEM};
    const char *named = getenv("REEMBED_ONNXRUNTIME");
    char found[PATH_MAX];

    if (path && path[0])
        return open_named(path, "the option", ret_api, err);
    if (named && named[0])
        return open_named(named, "REEMBED_ONNXRUNTIME", ret_api, err);
    /* A package brings the one that it was tried with. */
    if (find_beside_program("/../lib/reembed", found))
        return open_file(found, ret_api, err);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library)
            return bind_api(library, names[i], ret_api, err);
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (find_in_folder(folders[i], found))
            return open_file(found, ret_api, err);
    }
    /* Of the tree that the program was built in: build/bin/reembed has it two folders up. */
    if (find_beside_program("/../../.cache/onnxruntime", found))
        return open_file(found, ret_api, err);

    err_set(err, RC_INVALID, ERR_USAGE,
            "ONNX Runtime was not found: looked for " LIBRARY_STEM ".1 and " LIBRARY_STEM " where the dynamic loader "
            "looks, in /usr/lib, /usr/local/lib, /opt/onnxruntime/lib and .cache/onnxruntime; REEMBED_ONNXRUNTIME is "
            "not set");
    hint_install(err);
    return RC_INVALID;
}
