#include "embed/hub/checksum.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed/hub/digest.h"

enum { READ_BYTES = 64 * 1024, SHA1_HEX = 40, SHA256_HEX = 64 };

struct checksum
checksum_of_text(const char *text, size_t length)
{
    struct checksum sum = {.kind = CHECKSUM_NONE};
    size_t digits = 0;

    length = strnlen(text, length);
    if (length > 2 && (text[0] == 'W' || text[0] == 'w') && text[1] == '/')
        text += 2, length -= 2;
    if (length > 1 && text[0] == '"' && text[length - 1] == '"')
        text++, length -= 2;
    if (length != SHA1_HEX && length != SHA256_HEX)
        return sum;
    for (; digits < length && isxdigit((unsigned char)text[digits]); digits++)
        sum.hex[digits] = (char)tolower((unsigned char)text[digits]);
    if (digits != length)
        return (struct checksum){.kind = CHECKSUM_NONE};
    sum.hex[digits] = '\0';
    sum.kind = length == SHA256_HEX ? CHECKSUM_SHA256 : CHECKSUM_GIT_BLOB;
    return sum;
}

/* Both sums in one pass; the git one begins with the length, which the file has from the start. */
static enum rc
read_sums(int file, const char *path, uint64_t length, struct digest *sha256, struct digest *sha1,
          struct file_sums *sums, struct err *err)
{
    unsigned char buffer[READ_BYTES];
    char head[32];
    int head_length = snprintf(head, sizeof head, "blob %llu", (unsigned long long)length);
    bool added = digest_add(sha1, head, (size_t)head_length + 1);

    for (;;) {
        ssize_t count = read(file, buffer, sizeof buffer);
        if (count == 0)
            break;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_set(err, RC_FATAL, ERR_SYSTEM, "can't read %s: %s", path, strerror(errno));
        added = added && digest_add(sha256, buffer, (size_t)count) && digest_add(sha1, buffer, (size_t)count);
        sums->bytes += (uint64_t)count;
    }
    if (!added || !digest_hex(sha256, sums->sha256) || !digest_hex(sha1, sums->git_blob))
        return err_set(err, RC_FATAL, ERR_SYSTEM, "the checksum of %s can't be computed", path);
    return RC_OK;
}

enum rc
file_sums_read(const char *path, struct file_sums *ret_sums, struct err *err)
{
    struct file_sums sums = {0};
    struct stat status;
    enum rc rc;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct digest *sha256 = digest_new(DIGEST_SHA256), *sha1 = digest_new(DIGEST_SHA1);

    if (file < 0)
        rc = errno == ENOENT || errno == ENOTDIR
                 ? RC_AGAIN
                 : err_set(err, RC_FATAL, ERR_SYSTEM, "can't read %s: %s", path, strerror(errno));
    else if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        rc = err_set(err, RC_FATAL, ERR_SYSTEM, "%s is no file", path);
    else if (sha256 == NULL || sha1 == NULL)
        rc = err_memory(err);
    else
        rc = read_sums(file, path, (uint64_t)status.st_size, sha256, sha1, &sums, err);
    digest_free(sha256);
    digest_free(sha1);
    if (file >= 0)
        (void)close(file);
    if (rc == RC_OK)
        *ret_sums = sums;
    return rc;
}

bool
checksum_fits(const struct checksum *wanted, const struct file_sums *sums)
{
    switch (wanted->kind) {
    case CHECKSUM_SHA256:
        return strcmp(wanted->hex, sums->sha256) == 0;
    case CHECKSUM_GIT_BLOB:
        return strcmp(wanted->hex, sums->git_blob) == 0;
    case CHECKSUM_NONE:
        break;
    }
    return false;
}
