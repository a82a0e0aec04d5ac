/* What users and servers may write, for every dialect: an address, a model, extra members, a text, an error's body.
 * Five lines; the first byte of the input chooses the dialect, the second the status. */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "embed/http/dialect.h"
#include "embed/http/endpoint.h"
#include "embed/http/refusal.h"
#include "embed/http/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_endpoint(const struct dialect *dialect, const char *url, const char *model)
{
    const struct provider_options open = {.url = url, .model = model},
                                  with_key = {.url = url, .model = model, .api_key = "sk-fuzz-0123456789"};
    struct endpoint endpoint;

    if (endpoint_make(dialect, &open, &endpoint, NULL) == RC_OK) {
        if (strncasecmp(endpoint.url, "http", 4) != 0 || strpbrk(endpoint.url, "\r\n") != NULL)
            abort();
        endpoint_free(&endpoint);
    }
    if (endpoint_make(dialect, &with_key, &endpoint, NULL) == RC_OK) {
        /* The fuzzer finds out what is looked for and writes it into the address itself. */
        bool given = strstr(url, "sk-fuzz") != NULL || strstr(model, "sk-fuzz") != NULL;
        if (!given && (strstr(endpoint.url, "sk-fuzz") != NULL || strstr(endpoint.shown, "sk-fuzz") != NULL))
            abort();
        endpoint_free(&endpoint);
    }
}

static void
try_request(const struct dialect *dialect, const char *model, const char *extra_text, const char *text, uint8_t bits)
{
    const struct text texts[] = {{.bytes = text, .length = strlen(text)}, {.bytes = "b", .length = 1}};
    const struct request_choice choice = {
        .base64 = bits & 1, .dimensions = bits & 2, .truncate = bits & 4, .query = bits & 8};
    cJSON *extra = cJSON_Parse(extra_text);
    struct request_form *form = NULL;
    struct strbuf body;

    strbuf_init(&body, (size_t)1 << 20);
    if (request_form_make(dialect, model, 12, cJSON_IsObject(extra) ? extra : NULL, &form, NULL) == RC_OK) {
        request_write(form, choice, texts, 2, &body);
        cJSON *root = body.failed ? NULL : cJSON_Parse(strbuf_text(&body));
        /* cJSON takes no deeper nesting than it prints, and no NUL. */
        if (root == NULL && !body.failed)
            abort();
        cJSON_Delete(root);
        request_form_free(form);
    }
    strbuf_free(&body);
    cJSON_Delete(extra);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line[5] = {0}, *copy, *at;
    size_t count = 0, dialect_count = 0;

    if (size < 2)
        return -1;
    while (dialects[dialect_count].name != NULL)
        dialect_count++;
    const struct dialect *dialect = &dialects[data[0] % dialect_count];
    long status = 300 + data[1] * 2;
    copy = at = malloc(size);
    if (copy == NULL)
        abort();
    memcpy(copy, data + 2, size - 2);
    copy[size - 2] = '\0';
    for (size_t i = 0; i + 2 < size; i++)
        if (copy[i] == '\0')
            copy[i] = ' ';
    while (count < 4 && at != NULL) {
        line[count++] = at;
        at = strchr(at, '\n');
        if (at != NULL)
            *at++ = '\0';
    }
    line[4] = at;
    for (size_t i = 0; i < 5; i++)
        if (line[i] == NULL)
            line[i] = copy + size - 2;

    try_endpoint(dialect, line[0], line[1][0] != '\0' ? line[1] : "m");
    try_request(dialect, line[1], line[2], line[3], data[1]);

    struct refusal refusal;
    refusal_read(dialect->name, status, data[1] & 1, line[4], strlen(line[4]), &refusal);
    if (refusal.message[0] == '\0' || strpbrk(refusal.message, "\r\n\x1b") != NULL || refusal.retry_after_ms < 0)
        abort();
    (void)dialect_same_model(line[1], line[3]);
    free(copy);
    return 0;
}
