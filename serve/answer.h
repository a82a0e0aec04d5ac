/* serve/answer.h - what goes back over HTTP, always with the headers that keep a browser from guessing.
 *
 * Threads: the one that handles the connection.
 */
#ifndef REEMBED_SERVE_ANSWER_H
#define REEMBED_SERVE_ANSWER_H

#include <microhttpd.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/strbuf.h"

#define ANSWER_JSON "application/json"
#define ANSWER_TEXT "text/plain; charset=utf-8"

/* Sends the text and leaves `body` empty. A body that could not be built is a 500. */
enum MHD_Result answer_send(struct MHD_Connection *connection, unsigned status, const char *type, struct strbuf *body);

/* {"error": message, "hint": hint or null} */
enum MHD_Result answer_error(struct MHD_Connection *connection, unsigned status, const struct err *err);

/* The same for a message of our own. */
enum MHD_Result answer_refuse(struct MHD_Connection *connection, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 401 with the scheme to use. */
enum MHD_Result answer_unauthorized(struct MHD_Connection *connection);

/* HTML with a policy of its own. */
enum MHD_Result answer_html(struct MHD_Connection *connection, const char *policy, struct strbuf *body);

/* serve/page.c. The page: its text with a nonce of this answer alone, which the policy names. */
enum MHD_Result answer_page(struct MHD_Connection *connection);

/* The HTTP status of an error of db/connection.h. */
unsigned answer_status(enum rc rc, const struct err *err);

#endif
