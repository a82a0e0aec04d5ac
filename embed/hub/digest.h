/* embed/hub/digest.h - SHA-256 and SHA-1, by OpenSSL. Apart from the rest because its headers take names that are ours.
 *
 * Threads: a digest belongs to one thread.
 */
#ifndef REEMBED_EMBED_HUB_DIGEST_H
#define REEMBED_EMBED_HUB_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

enum digest_kind { DIGEST_SHA1, DIGEST_SHA256 };
enum { DIGEST_HEX_MAX = 65 };

struct digest;

struct digest *digest_new(enum digest_kind kind);  /* NULL: no memory, or the library has not this one */
struct digest *digest_free(struct digest *digest); /* NULL is fine; returns NULL */
bool digest_add(struct digest *digest, const void *bytes, size_t length);
bool digest_hex(struct digest *digest, char ret_hex[DIGEST_HEX_MAX]); /* once, at the end; lower case */

#endif
