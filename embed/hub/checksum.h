/* embed/hub/checksum.h - what a hub says about a file, and whether a file on disk is that one.
 *
 * Hubs are git repositories: a large file is known by the SHA-256 of its bytes (git LFS), a small one by its git blob id,
 * the SHA-1 of "blob <length>\0" and its bytes. Threads: plain data and pure functions.
 */
#ifndef REEMBED_EMBED_HUB_CHECKSUM_H
#define REEMBED_EMBED_HUB_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum checksum_kind { CHECKSUM_NONE, CHECKSUM_GIT_BLOB, CHECKSUM_SHA256 };

struct checksum {
    enum checksum_kind kind;
    char hex[65]; /* lower case */
};

/* The checksum that a text is: 64 hexadecimal digits are a SHA-256, 40 a git blob id; quotes and the W/ of an ETag are
 * taken off. CHECKSUM_NONE for anything else. `length` bytes, or up to the NUL. */
struct checksum checksum_of_text(const char *text, size_t length);

/* What was read of one file. */
struct file_sums {
    uint64_t bytes;
    char sha256[65];
    char git_blob[65];
};

/* Reads the whole file. RC_AGAIN where there is none; RC_FATAL, ERR_SYSTEM where it can't be read. */
enum rc file_sums_read(const char *path, struct file_sums *ret_sums, struct err *err);

/* CHECKSUM_NONE fits nothing. */
bool checksum_fits(const struct checksum *wanted, const struct file_sums *sums);

#endif
