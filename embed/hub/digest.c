#include "embed/hub/digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct digest {
    EVP_MD_CTX *context;
};

struct digest *
digest_new(enum digest_kind kind)
{
    struct digest *digest = calloc(1, sizeof *digest);

    if (digest == NULL)
        return NULL;
    digest->context = EVP_MD_CTX_new();
    if (digest->context == NULL ||
        EVP_DigestInit_ex(digest->context, kind == DIGEST_SHA1 ? EVP_sha1() : EVP_sha256(), NULL) != 1)
        return digest_free(digest);
    return digest;
}

struct digest *
digest_free(struct digest *digest)
{
    if (digest != NULL)
        EVP_MD_CTX_free(digest->context);
    free(digest);
    return NULL;
}

bool
digest_add(struct digest *digest, const void *bytes, size_t length)
{
    return EVP_DigestUpdate(digest->context, bytes, length) == 1;
}

bool
digest_hex(struct digest *digest, char ret_hex[DIGEST_HEX_MAX])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int length = 0;

    if (EVP_DigestFinal_ex(digest->context, bytes, &length) != 1 || length * 2 >= DIGEST_HEX_MAX)
        return false;
    for (unsigned int i = 0; i < length; i++)
        (void)snprintf(ret_hex + (size_t)2 * i, 3, "%02x", bytes[i]);
    return true;
}
