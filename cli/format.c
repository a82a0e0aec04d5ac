#include "cli/format.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/escape.h"

const char *
format_count(int64_t count, char out[FORMAT_SIZE])
{
    char digits[24];
    uint64_t magnitude = count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)magnitude);
    size_t at = 0;

    if (count < 0)
        out[at++] = '-';
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *
format_rate(double per_second, char out[FORMAT_SIZE])
{
    if (!(per_second >= 0) || per_second > 1e15) {
        (void)snprintf(out, FORMAT_SIZE, "unknown");
    } else if (per_second >= 100) {
        char count[FORMAT_SIZE];
        (void)snprintf(out, FORMAT_SIZE, "%.40s/s", format_count(llround(per_second), count));
    } else {
        (void)snprintf(out, FORMAT_SIZE, per_second >= 1 || per_second == 0 ? "%.3g/s" : "%.2g/s", per_second);
    }
    return out;
}

const char *
format_bytes(double bytes, char out[FORMAT_SIZE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;

    if (!(bytes > 0))
        bytes = 0;
    /* 999.95 kB would print as 1000 kB. */
    for (; bytes >= 999.5 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        bytes /= 1000;
    (void)snprintf(out, FORMAT_SIZE, unit == 0 || bytes >= 9.95 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return out;
}

const char *
format_duration(double seconds, char out[FORMAT_SIZE])
{
    if (!(seconds >= 0.05)) {
        (void)snprintf(out, FORMAT_SIZE, "0 s");
        return out;
    }
    if (seconds < 9.95) {
        (void)snprintf(out, FORMAT_SIZE, "%.1f s", seconds);
        return out;
    }
    int64_t whole = seconds < 1e15 ? llround(seconds) : (int64_t)1e15;
    long long days = whole / 86400;
    long long hours = whole / 3600 % 24;
    long long minutes = whole / 60 % 60;
    if (days > 0)
        (void)snprintf(out, FORMAT_SIZE, "%lld d %lld h", days, hours);
    else if (hours > 0)
        (void)snprintf(out, FORMAT_SIZE, "%lld h %lld min", hours, minutes);
    else if (minutes > 0)
        (void)snprintf(out, FORMAT_SIZE, "%lld min %lld s", minutes, (long long)whole % 60);
    else
        (void)snprintf(out, FORMAT_SIZE, "%lld s", (long long)whole);
    return out;
}

const char *
format_share(double share, char out[FORMAT_SIZE])
{
    if (!(share > 0))
        share = 0;
    /* The small addition takes back what 0.07 * 1000 lost as a binary fraction. */
    double tenths = floor(share * 1000 + 1e-9);
    if (share < 1 && tenths >= 1000)
        tenths = 999;
    if (fmod(tenths, 10) == 0)
        (void)snprintf(out, FORMAT_SIZE, "%.0f %%", tenths / 10);
    else
        (void)snprintf(out, FORMAT_SIZE, "%.1f %%", tenths / 10);
    return out;
}

const char *
format_money(double amount, char out[FORMAT_SIZE])
{
    (void)snprintf(out, FORMAT_SIZE, amount > 0 && amount < 0.1 ? "%.4f" : "%.2f", amount);
    return out;
}

/* --- widths --- */

/* The next character: its bytes and the columns it takes. */
static size_t
next_character(const char *text, size_t left, size_t *ret_width)
{
    utf8proc_int32_t code = -1;
    utf8proc_ssize_t taken = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, &code);
    if (taken <= 0) {
        *ret_width = 1;
        return 1;
    }
    int width = utf8proc_charwidth(code);
    *ret_width = width > 0 ? (size_t)width : 0;
    return (size_t)taken;
}

size_t
format_width(const char *text)
{
    size_t total = 0;
    size_t left = strlen(text);
    while (left > 0) {
        size_t width = 0;
        size_t taken = next_character(text, left, &width);
        total += width;
        text += taken;
        left -= taken;
    }
    return total;
}

/* Control characters that are not ASCII move the cursor too: U+0080..U+009F, direction marks. */
static bool
is_hidden_control(const char *text, size_t left)
{
    utf8proc_int32_t code = -1;
    if (utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, &code) <= 0)
        return false;
    return (code >= 0x80 && code < 0xa0) || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

void
format_fit(const char *text, size_t width, struct strbuf *out)
{
    struct strbuf clean;
    size_t left = strlen(text);

    strbuf_init(&clean, left * ESCAPE_MAX + 1);
    while (left > 0) {
        char shown[ESCAPE_MAX];
        size_t taken = 0;
        size_t length = escape_text(text, left, shown, &taken);
        if (is_hidden_control(text, left))
            strbuf_puts(&clean, "?");
        else
            strbuf_add(&clean, shown, length);
        text += taken;
        left -= taken;
    }

    const char *bytes = strbuf_text(&clean);
    if (clean.failed) {
        out->failed = true;
    } else if (width == 0 || format_width(bytes) <= width) {
        strbuf_puts(out, bytes);
    } else {
        size_t used = 0;
        for (size_t at = 0; at < clean.length;) {
            size_t columns = 0;
            size_t taken = next_character(bytes + at, clean.length - at, &columns);
            if (used + columns > width - 1)
                break;
            strbuf_add(out, bytes + at, taken);
            used += columns;
            at += taken;
        }
        strbuf_puts(out, terminal_is_utf8() ? "…" : "~");
    }
    strbuf_free(&clean);
}

const char *
plural(int64_t count, const char *one, const char *many)
{
    return count == 1 ? one : many;
}

/* --- the terminal --- */

bool
terminal_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0')
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
    }
    return false;
}

size_t
terminal_width(int fd)
{
    struct winsize size;
    if (!isatty(fd))
        return 0;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}
