#include "embed/hub/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 64 * 1024, OPEN_MAX_FOLDERS = 16 };

static enum rc
failed(struct err *err, const char *what, const char *path)
{
    return err_set(err, RC_FATAL, ERR_SYSTEM, "can't %s %s: %s", what, path, strerror(errno));
}

enum rc
folder_make_parents(const char *folder, const char *path, struct err *err)
{
    char made[PATH_MAX];

    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        int length = snprintf(made, sizeof made, "%s/%.*s", folder, (int)(slash - path), path);
        if (length < 0 || (size_t)length >= sizeof made)
            return err_set(err, RC_INVALID, ERR_USAGE, "the path of the folder is too long");
        if (mkdir(made, 0755) != 0 && errno != EEXIST)
            return failed(err, "make", made);
    }
    return RC_OK;
}

static int
remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

enum rc
folder_remove(const char *folder, struct err *err)
{
    if (nftw(folder, remove_one, OPEN_MAX_FOLDERS, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return failed(err, "remove", folder);
    return RC_OK;
}

enum rc
folder_empty_but(const char *folder, const char *kept, struct err *err)
{
    DIR *entries = opendir(folder);
    char path[PATH_MAX];
    enum rc rc = RC_OK;

    if (entries == NULL)
        return errno == ENOENT ? RC_OK : failed(err, "read", folder);
    for (const struct dirent *entry = readdir(entries); entry != NULL && rc == RC_OK; entry = readdir(entries)) {
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, kept) != 0 &&
            length > 0 && (size_t)length < sizeof path)
            rc = folder_remove(path, err);
    }
    (void)closedir(entries);
    return rc;
}

void
folder_remove_if_alone(const char *folder, const char *name)
{
    DIR *entries = opendir(folder);
    char path[PATH_MAX];
    bool alone = entries != NULL;

    if (entries == NULL)
        return;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        alone = alone && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                          strcmp(entry->d_name, name) == 0);
    (void)closedir(entries);
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (alone && length > 0 && (size_t)length < sizeof path && unlink(path) == 0)
        (void)rmdir(folder);
}

static bool
write_all(int file, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t count = write(file, bytes, length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        bytes += count;
        length -= (size_t)count;
    }
    return true;
}

enum rc
folder_write_file(const char *path, const char *text, struct err *err)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool written = file >= 0 && write_all(file, text, strlen(text)) && write_all(file, "\n", 1) && fsync(file) == 0;
    enum rc rc = written ? RC_OK : failed(err, "write", path);

    if (file >= 0 && close(file) != 0 && rc == RC_OK)
        rc = failed(err, "write", path);
    return rc;
}

static int
copy(const char *from, const char *to)
{
    char buffer[COPY_BYTES];
    ssize_t count = 0;
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool done = out >= 0;

    while (done && (count = read(in, buffer, sizeof buffer)) != 0)
        done = count > 0 ? write_all(out, buffer, (size_t)count) : errno == EINTR;
    done = done && fsync(out) == 0;
    int number = errno;
    if (in >= 0)
        (void)close(in);
    if (out >= 0 && close(out) != 0)
        done = false;
    errno = number;
    return done ? 0 : -1;
}

int
folder_link(const char *from, const char *to)
{
    return link(from, to) == 0 ? 0 : copy(from, to);
}

/* A rename is on the disk when the folder that holds the name is. */
static void
sync_parent(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');

    (void)snprintf(parent, sizeof parent, "%.*s", slash == NULL ? 1 : (int)(slash - path), slash == NULL ? "." : path);
    int folder = open(parent[0] == '\0' ? "/" : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        (void)fsync(folder);
        (void)close(folder);
    }
}

enum rc
folder_replace(const char *made, const char *place, struct err *err)
{
    char away[PATH_MAX];
    int length = snprintf(away, sizeof away, "%s.old", made);

    if (length < 0 || (size_t)length >= sizeof away)
        return err_set(err, RC_INVALID, ERR_USAGE, "the path of the folder is too long");
    if (rename(made, place) != 0) {
        if (errno != EEXIST && errno != ENOTEMPTY)
            return failed(err, "move the model to", place);
        if (renameat2(AT_FDCWD, made, AT_FDCWD, place, RENAME_EXCHANGE) != 0) {
            if (errno != EINVAL && errno != ENOSYS)
                return failed(err, "move the model to", place);
            if (rename(place, away) != 0)
                return failed(err, "move away", place);
            if (rename(made, place) != 0) {
                enum rc rc = failed(err, "move the model to", place);
                (void)rename(away, place);
                return rc;
            }
        }
    }
    sync_parent(place);
    return RC_OK;
}
