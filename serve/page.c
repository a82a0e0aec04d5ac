/* The page: one text with its style and script inside, allowed by a nonce that is another one in each answer. */
#include <string.h>
#include <sys/random.h>

#include "serve/answer.h"
#include "serve/dashboard_html.h"

static const char place[] = "{{nonce}}";

/* False: the system has no random numbers to give. */
static bool
make_nonce(char out[33])
{
    unsigned char random[16];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    for (size_t i = 0; i < sizeof random; i++) {
        out[2 * i] = "0123456789abcdef"[random[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
    }
    out[32] = '\0';
    return true;
}

enum MHD_Result
answer_page(struct MHD_Connection *connection)
{
    char nonce[33];
    struct strbuf body, policy;
    const char *from = dashboard_html, *to;

    if (!make_nonce(nonce))
        return answer_refuse(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "no random numbers");
    strbuf_init(&body, 1 << 20);
    for (; (to = strstr(from, place)) != NULL; from = to + sizeof place - 1) {
        strbuf_add(&body, from, (size_t)(to - from));
        strbuf_puts(&body, nonce);
    }
    strbuf_puts(&body, from);
    strbuf_init(&policy, 1024);
    strbuf_printf(&policy,
                  "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; img-src data:; "
                  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                  nonce, nonce);
    enum MHD_Result sent = answer_html(connection, strbuf_text(&policy), &body);
    strbuf_free(&policy);
    return sent;
}
