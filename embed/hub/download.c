#include "embed/hub/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    ATTEMPTS = 5, /* that brought nothing new, one after the other */
    FIRST_WAIT_MS = 200,
    LONGEST_WAIT_MS = 10000,
    LONGEST_TOLD_MS = 60000,
    WRONG_MAX = 2, /* whole files that were not what the checksum says */
    PROGRESS_MS = 200,
    ROOM_TO_LEAVE = 1024 * 1024,
};

struct transfer {
    struct download *download;
    struct repository_file wanted;
    const char *there;
    char part[PATH_MAX];
    bool named; /* the part's name is its checksum */
    int file;   /* open for writing, -1: not */
    uint64_t have;
    char commit[65];

    bool other_part; /* the answer's checksum has a part already: go on with that */
    bool over;       /* more than is taken of such a file */
    bool same;       /* `there` fits: `sums` are its own */
    struct file_sums sums;
    int write_errno;
    int64_t shown_ms;
};

static bool
path_of(const struct transfer *t, const char *name, char out[PATH_MAX])
{
    int length = snprintf(out, PATH_MAX, "%s/%s.part", t->download->store, name);
    return length > 0 && length < PATH_MAX;
}

static enum rc
cannot_write(const struct transfer *t, int number, struct err *err)
{
    enum rc rc = err_set(err, RC_FATAL, ERR_SYSTEM, "can't write %s: %s", t->part, strerror(number));
    if (number == ENOSPC || number == EDQUOT || number == EFBIG)
        err_hint(err, "make room, then call it again: what came so far is kept");
    return rc;
}

static void
close_part(struct transfer *t)
{
    if (t->file >= 0)
        (void)close(t->file);
    t->file = -1;
}

/* Opens the part; one whose checksum nobody knows can't be gone on with. */
static enum rc
open_part(struct transfer *t, struct err *err)
{
    struct stat status;

    close_part(t);
    t->named = t->wanted.checksum.kind != CHECKSUM_NONE;
    if (!path_of(t, t->named ? t->wanted.checksum.hex : "unnamed", t->part))
        return err_set(err, RC_INVALID, ERR_USAGE, "the path of the folder is too long");
    t->file = open(t->part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (t->named ? 0 : O_TRUNC), 0644);
    if (t->file < 0 || fstat(t->file, &status) != 0)
        return cannot_write(t, errno, err);
    t->have = (uint64_t)status.st_size;
    if (t->wanted.has_size && t->have > t->wanted.size) {
        if (ftruncate(t->file, 0) != 0)
            return cannot_write(t, errno, err);
        t->have = 0;
    }
    return RC_OK;
}

static enum rc
check_room(const struct transfer *t, struct err *err)
{
    struct statvfs system;

    if (!t->wanted.has_size || statvfs(t->download->store, &system) != 0)
        return RC_OK;
    uint64_t room = (uint64_t)system.f_bavail * system.f_frsize, needed = t->wanted.size - t->have;
    if (needed == 0 || room > needed + ROOM_TO_LEAVE)
        return RC_OK;
    enum rc rc = err_set(err, RC_FATAL, ERR_SYSTEM, "no space left in %s: %s needs %llu MB more, %llu MB are free",
                         t->download->store, t->wanted.path, (unsigned long long)(needed >> 20),
                         (unsigned long long)(room >> 20));
    err_hint(err, "make room, or name another folder by --dir");
    return rc;
}

static bool
fits_there(struct transfer *t)
{
    t->same = t->there != NULL && file_sums_read(t->there, &t->sums, NULL) == RC_OK &&
              checksum_fits(&t->wanted.checksum, &t->sums);
    return t->same;
}

/* --- the callbacks of hub_get --- */

static bool
known(void *context, const struct hub_answer *answer)
{
    struct transfer *t = context;
    struct stat status;
    char named[PATH_MAX];

    if (answer->commit[0] != '\0')
        (void)snprintf(t->commit, sizeof t->commit, "%s", answer->commit);
    if (t->wanted.checksum.kind == CHECKSUM_NONE && answer->checksum.kind != CHECKSUM_NONE) {
        t->wanted.checksum = answer->checksum;
        if (fits_there(t))
            return false;
        if (!path_of(t, t->wanted.checksum.hex, named))
            return true;
        if (stat(named, &status) == 0 && status.st_size > 0) {
            t->other_part = true;
            return false;
        }
        if (rename(t->part, named) == 0) {
            (void)snprintf(t->part, sizeof t->part, "%s", named);
            t->named = true;
        }
    }
    return true;
}

static bool
begin(void *context, const struct hub_answer *answer)
{
    struct transfer *t = context;

    if (!t->wanted.has_size && answer->has_size) {
        t->wanted.has_size = true;
        t->wanted.size = answer->size;
    }
    if (answer->from == t->have)
        return true;
    if (answer->from != 0) /* another range than was asked for */
        return false;
    if (ftruncate(t->file, 0) != 0 || lseek(t->file, 0, SEEK_SET) != 0) { /* a server without ranges sends all of it */
        t->write_errno = errno;
        return false;
    }
    t->have = 0;
    return true;
}

static bool
take(void *context, const char *bytes, size_t length)
{
    struct transfer *t = context;
    int64_t now = clock_now_ms();

    t->over = t->wanted.most > 0 && t->have + length > t->wanted.most;
    if (t->over || (t->wanted.has_size && t->have + length > t->wanted.size))
        return false;
    t->download->transferred += length;
    while (length > 0) {
        ssize_t written = write(t->file, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            t->write_errno = written < 0 ? errno : ENOSPC;
            return false;
        }
        bytes += written;
        length -= (size_t)written;
        t->have += (uint64_t)written;
    }
    if (t->download->on_progress != NULL && now - t->shown_ms >= PROGRESS_MS &&
        !(t->wanted.has_size && t->have == t->wanted.size)) {
        t->shown_ms = now;
        t->download->on_progress(t->download->context, t->wanted.path, t->have, t->wanted.size);
    }
    return true;
}

/* --- one file --- */

/* One request, from where the part ends. RC_RETRY also where it is to be asked again at once. */
static enum rc
attempt(struct transfer *t, int64_t *ret_wait_ms, struct err *err)
{
    char url[1024];
    struct hub_answer answer;

    t->other_part = false;
    t->write_errno = 0;
    *ret_wait_ms = 0;
    if (t->wanted.has_size && t->have == t->wanted.size && t->named)
        return RC_OK; /* complete already: an earlier call was ended before it could say so */
    enum rc rc = check_room(t, err);
    if (rc != RC_OK)
        return rc;
    if (!repository_file_url(t->download->name, t->download->revision, t->wanted.path, url, sizeof url))
        return err_set(err, RC_INVALID, ERR_USAGE, "the path %s is too long", t->wanted.path);
    if (lseek(t->file, (off_t)t->have, SEEK_SET) < 0)
        return cannot_write(t, errno, err);
    const struct hub_request request = {
        .path = url, .from = t->have, .known = known, .begin = begin, .take = take, .context = t};
    rc = hub_get(t->download->hub, &request, &answer, err);
    *ret_wait_ms = answer.retry_after_ms;
    if (rc == RC_CLOSED && t->write_errno != 0)
        return cannot_write(t, t->write_errno, err);
    if (rc == RC_CLOSED && t->same)
        return RC_OK;
    if (rc == RC_CLOSED && t->over) {
        (void)unlink(t->part);
        return err_set(err, RC_HALT, ERR_PROVIDER, "%s is larger than the %llu MB that such a file may have",
                       t->wanted.path, (unsigned long long)(t->wanted.most >> 20));
    }
    if (rc == RC_CLOSED && t->other_part)
        return RC_RETRY;
    if (rc == RC_CLOSED || (rc == RC_RETRY && answer.status == 416)) { /* what is there can't be its beginning */
        if (ftruncate(t->file, 0) != 0)
            return cannot_write(t, errno, err);
        t->have = 0;
        return err_set(err, RC_RETRY, ERR_TRANSIENT,
                       "%s is longer than announced, or another range came than was asked for", t->wanted.path);
    }
    if (rc == RC_OK && t->wanted.has_size && t->have < t->wanted.size)
        return err_set(err, RC_RETRY, ERR_TRANSIENT, "the transfer of %s ended after %llu of %llu bytes",
                       t->wanted.path, (unsigned long long)t->have, (unsigned long long)t->wanted.size);
    return rc;
}

static void
sleep_ms(int64_t milliseconds)
{
    struct timespec left = {.tv_sec = milliseconds / 1000, .tv_nsec = (milliseconds % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* Until the part is complete, as far as anyone can tell by its length. */
static enum rc
complete(struct transfer *t, struct err *err)
{
    int idle = 0;

    for (;;) {
        uint64_t before = t->have;
        int64_t told = 0;
        enum rc rc = attempt(t, &told, err);
        if (rc != RC_RETRY)
            return rc;
        if (t->other_part) {
            if ((rc = open_part(t, err)) != RC_OK)
                return rc;
            continue;
        }
        idle = t->have > before ? 0 : idle + 1;
        if (idle >= ATTEMPTS || told > LONGEST_TOLD_MS)
            return rc;
        int64_t wait = told > 0 ? told : clock_backoff_ms(idle, FIRST_WAIT_MS, LONGEST_WAIT_MS);
        log_event(LOG_WARNING, "tried again", LF_STR("file", t->wanted.path), LF_STR("reason", err->message),
                  LF_INT("bytes", t->have), LF_INT("wait_ms", wait));
        sleep_ms(wait);
        if ((rc = open_part(t, err)) != RC_OK)
            return rc;
    }
}

enum rc
download_file(struct download *download, const struct repository_file *file, const char *there,
              struct downloaded *ret_downloaded, struct err *err)
{
    struct transfer t = {.download = download, .wanted = *file, .there = there, .file = -1};
    struct downloaded done = {.checked = false};
    enum rc rc = RC_OK;

    (void)fits_there(&t);
    for (int wrong = 0; rc == RC_OK && !t.same;) {
        if ((rc = open_part(&t, err)) != RC_OK || (rc = complete(&t, err)) != RC_OK || t.same)
            break;
        if (fsync(t.file) != 0) {
            rc = cannot_write(&t, errno, err);
            break;
        }
        if ((rc = file_sums_read(t.part, &done.sums, err)) != RC_OK)
            break;
        done.checked = checksum_fits(&t.wanted.checksum, &done.sums);
        if (done.checked || t.wanted.checksum.kind == CHECKSUM_NONE)
            break;
        (void)unlink(t.part);
        if (++wrong == WRONG_MAX) {
            rc = err_set(err, RC_REFUSED, ERR_GATE, "%s is not the file that the hub lists: its checksum is %s, not %s",
                         t.wanted.path,
                         t.wanted.checksum.kind == CHECKSUM_SHA256 ? done.sums.sha256 : done.sums.git_blob,
                         t.wanted.checksum.hex);
            err_hint(err, "nothing was changed; if the model is being updated just now, call it again later");
        } else {
            log_event(LOG_WARNING, "fetched again: the checksum differs", LF_STR("file", t.wanted.path));
        }
    }
    close_part(&t);
    if (t.part[0] != '\0' && ((!t.named && t.same) || (rc != RC_OK && (!t.named || t.have == 0))))
        (void)unlink(t.part); /* nothing that anybody could go on with */
    if (rc != RC_OK)
        return rc;
    if (t.same) {
        done.same = done.checked = true;
        done.sums = t.sums;
    }
    (void)snprintf(done.path, sizeof done.path, "%s", t.part);
    (void)snprintf(done.commit, sizeof done.commit, "%s", t.commit);
    if (download->on_progress != NULL)
        download->on_progress(download->context, file->path, done.sums.bytes, done.sums.bytes);
    *ret_downloaded = done;
    return RC_OK;
}
