/* Headers as they may come, one a line: the wait is never negative, never above the maximum. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "embed/http/retry_after.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct retry_after retry;
    const char *at = (const char *)data, *end = at + size;

    retry_after_begin(&retry);
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((line_end != NULL ? line_end : end) - at);
        char *line = malloc(length + 1); /* not NUL-terminated where it ends */
        if (line == NULL)
            abort();
        memcpy(line, at, length);
        retry_after_header(&retry, line, length);
        int64_t duration = retry_after_duration(line, length);
        if (duration < -1 || duration > RETRY_AFTER_MAX_MS)
            abort();
        free(line);
        at += length + 1;
    }
    int64_t wait = retry_after_ms(&retry, 784111777);
    if (wait < 0 || wait > RETRY_AFTER_MAX_MS)
        abort();
    return 0;
}
