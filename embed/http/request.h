/* embed/http/request.h - requests in a dialect's form: the frame is made once, texts are written into it as they come.
 *
 * Ownership: a form owns its strings; it is read-only once made and shared by all sessions.
 */
#ifndef REEMBED_EMBED_HTTP_REQUEST_H
#define REEMBED_EMBED_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "embed/embedder.h"
#include "embed/http/dialect.h"

/* The choices that may differ from one request to the next; each doubles the number of frames. */
struct request_choice {
    bool base64;
    bool dimensions; /* ask for them */
    bool truncate;   /* let the server cut a text that is too long */
    bool query;      /* the texts are queries, not documents */
};
enum { REQUEST_CHOICES = 16 };

struct request_frame {
    char *head, *tail;           /* of the whole */
    char *text_head, *text_tail; /* of each text, around its JSON string */
};

struct request_form {
    struct request_frame frame[REQUEST_CHOICES];
};

/* `extra` (may be NULL): members that are added to the body, or replace what the dialect has there; null removes.
 * RC_INVALID when the dialect's templates do not fit together, RC_FATAL when out of memory. */
enum rc request_form_make(const struct dialect *dialect, const char *model, size_t dimensions,
                          const struct cJSON *extra, struct request_form **ret_form, struct err *err);
struct request_form *request_form_free(struct request_form *form); /* NULL is fine; returns NULL */

/* Appends the body for `count` texts. A failure shows in body->failed. */
void request_write(const struct request_form *form, struct request_choice choice, const struct text *texts,
                   size_t count, struct strbuf *body);

#endif
