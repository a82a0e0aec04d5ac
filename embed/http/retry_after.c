#include "embed/http/retry_after.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

enum { VALUE_MAX = 64 }; /* bytes of a header's value; longer ones say nothing we know */

#define UNIX_SECONDS_2001 1000000000 /* a plain number above this is a moment, not a duration */

void
retry_after_begin(struct retry_after *retry)
{
    *retry = (struct retry_after){
        .date = -1,
        .milliseconds = -1,
        .header = -1,
        .moment = -1,
        .reset_requests = -1,
        .reset_tokens = -1,
        .reset_any = -1,
    };
}

static int64_t
capped(double milliseconds)
{
    if (!(milliseconds >= 0))
        return -1;
    return milliseconds > (double)RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : (int64_t)(milliseconds + 0.999);
}

/* A decimal number without sign or exponent; *ret_value unset when there is none. */
static size_t
decimal(const char *text, size_t length, double *ret_value)
{
    double value = 0, place = 1;
    size_t at = 0, digits = 0;
    bool fraction = false;

    for (; at < length; at++) {
        if (text[at] == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (text[at] < '0' || text[at] > '9')
            break;
        digits++;
        if (fraction)
            value += (text[at] - '0') * (place /= 10);
        else
            value = value * 10 + (text[at] - '0');
    }
    if (digits == 0)
        return 0;
    *ret_value = value;
    return at;
}

int64_t
retry_after_duration(const char *text, size_t length)
{
    static const struct {
        const char *name;
        double milliseconds;
    } units[] = {{"ms", 1},       {"us", 0.001},  {"\xC2\xB5s", 0.001}, {"ns", 0.000001},
                 {"d", 86400000}, {"h", 3600000}, {"m", 60000},         {"s", 1000}};
    double total = 0;
    size_t at = 0;

    while (at < length) {
        double value;
        size_t taken = decimal(text + at, length - at, &value);
        if (taken == 0)
            return -1;
        at += taken;
        if (at == length && at == taken)
            return capped(value * 1000); /* a plain number: seconds */

        size_t unit = 0;
        for (; unit < sizeof units / sizeof units[0]; unit++) {
            size_t size = strlen(units[unit].name);
            if (size <= length - at && strncasecmp(text + at, units[unit].name, size) == 0) {
                at += size;
                break;
            }
        }
        if (unit == sizeof units / sizeof units[0])
            return -1;
        total += value * units[unit].milliseconds;
    }
    return length == 0 ? -1 : capped(total);
}

/* The moment in Unix seconds, or -1. The three forms of RFC 9110 section 5.6.7 and ISO 8601 in UTC. */
static int64_t
moment(const char *text)
{
    char date[VALUE_MAX];
    size_t length = strlen(text);

    if (length >= sizeof date)
        return -1;
    memcpy(date, text, length + 1);
    /* curl_getdate reads no hyphens: 1994-11-06T08:49:37.5Z becomes 19941106 08:49:37. */
    if (length >= 19 && date[4] == '-' && date[7] == '-' && date[10] == 'T') {
        memmove(date + 4, date + 5, 2);
        memmove(date + 6, date + 8, 2);
        date[8] = ' ';
        memmove(date + 9, date + 11, 8);
        date[17] = '\0';
    }
    if (strchr(date, ':') == NULL)
        return -1; /* without a time of day it would be midnight */
    time_t seconds = curl_getdate(date, NULL);
    return seconds < 0 ? -1 : (int64_t)seconds;
}

static int64_t
from_now(const struct retry_after *retry, int64_t when, int64_t now)
{
    int64_t from = retry->date >= 0 ? retry->date : now;

    return when <= from ? 0 : capped((double)(when - from) * 1000);
}

/* A duration, or a moment made into one with the answer's own clock only. */
static int64_t
reset_value(const struct retry_after *retry, const char *value)
{
    int64_t duration = retry_after_duration(value, strlen(value));
    double number;

    if (duration == RETRY_AFTER_MAX_MS && decimal(value, strlen(value), &number) == strlen(value)) {
        if (number >= UNIX_SECONDS_2001 * 1000.0)
            number /= 1000; /* Unix milliseconds */
        if (number >= UNIX_SECONDS_2001 && number < 1e11)
            return retry->date >= 0 ? from_now(retry, (int64_t)number, 0) : -1;
    }
    if (duration < 0 && retry->date >= 0) {
        int64_t when = moment(value);
        return when < 0 ? -1 : from_now(retry, when, 0);
    }
    return duration;
}

static void
keep_longest(int64_t *kept, int64_t value)
{
    if (value > *kept)
        *kept = value;
}

void
retry_after_header(struct retry_after *retry, const char *line, size_t length)
{
    static const char reset[] = "x-ratelimit-reset", remaining[] = "x-ratelimit-remaining-";
    char name[VALUE_MAX], value[VALUE_MAX];
    const char *colon = memchr(line, ':', length);

    if (colon == NULL || (size_t)(colon - line) >= sizeof name)
        return;
    memcpy(name, line, (size_t)(colon - line));
    name[colon - line] = '\0';

    const char *start = colon + 1, *end = line + length;
    while (start < end && isspace((unsigned char)*start))
        start++;
    while (end > start && isspace((unsigned char)end[-1]))
        end--;
    if (start == end || (size_t)(end - start) >= sizeof value || memchr(start, '\0', (size_t)(end - start)) != NULL)
        return;
    memcpy(value, start, (size_t)(end - start));
    value[end - start] = '\0';

    double number = 0;
    bool plain = decimal(value, strlen(value), &number) == strlen(value);

    if (strcasecmp(name, "date") == 0) {
        retry->date = moment(value);
    } else if (strcasecmp(name, "retry-after-ms") == 0) {
        if (plain)
            retry->milliseconds = capped(number);
    } else if (strcasecmp(name, "retry-after") == 0) {
        if (plain)
            retry->header = capped(number * 1000);
        else
            retry->moment = moment(value);
    } else if (strncasecmp(name, remaining, sizeof remaining - 1) == 0) {
        bool left = plain && number > 0;
        if (strncasecmp(name + sizeof remaining - 1, "tokens", 6) == 0)
            retry->tokens_left = left;
        else if (strncasecmp(name + sizeof remaining - 1, "requests", 8) == 0)
            retry->requests_left = left;
    } else if (strncasecmp(name, reset, sizeof reset - 1) == 0 || strcasecmp(name, "ratelimit-reset") == 0) {
        int64_t wait = reset_value(retry, value);
        if (strcasecmp(name, "x-ratelimit-reset-requests") == 0)
            keep_longest(&retry->reset_requests, wait);
        else if (strncasecmp(name, "x-ratelimit-reset-tokens", 24) == 0)
            keep_longest(&retry->reset_tokens, wait);
        else
            keep_longest(&retry->reset_any, wait);
    }
}

int64_t
retry_after_ms(const struct retry_after *retry, int64_t now)
{
    int64_t longest = -1;

    if (retry->milliseconds >= 0)
        return retry->milliseconds;
    if (retry->header >= 0)
        return retry->header;
    if (retry->moment >= 0)
        return from_now(retry, retry->moment, now);
    /* Of two budgets the one that is not used up is no reason to wait. */
    if (!retry->requests_left)
        keep_longest(&longest, retry->reset_requests);
    if (!retry->tokens_left)
        keep_longest(&longest, retry->reset_tokens);
    keep_longest(&longest, retry->reset_any);
    return longest < 0 ? 0 : longest;
}
