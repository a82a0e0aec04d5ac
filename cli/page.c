#include "cli/page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char style[] =
    ":root{color-scheme:light dark;--ground:#fcfcfb;--card:#fff;--ink:#1c1b1a;--soft:#5d5a55;--line:#e3e0da;"
    "--error:#b3261e;--warning:#8a5300;--info:#3d5a80;--good:#1f6f43;--code:#f3f1ec}"
    "@media(prefers-color-scheme:dark){:root{--ground:#161514;--card:#201f1d;--ink:#ece9e4;--soft:#a8a29a;"
    "--line:#37342f;--error:#ff8a80;--warning:#f0b866;--info:#9db9e0;--good:#7fd3a2;--code:#2a2825}}"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:2.5rem 1.25rem 4rem;background:var(--ground);"
    "color:var(--ink);font:16px/1.5 system-ui,sans-serif}h1{font-size:1.6rem;margin:0 0 .25rem}"
    "h2{font-size:1.1rem;margin:2.25rem 0 .75rem}p{margin:.25rem 0}.soft{color:var(--soft)}.mono,code{font-family:"
    "ui-monospace,monospace;font-size:.875em}code{background:var(--code);padding:.1em .35em;border-radius:4px;"
    "overflow-wrap:anywhere}.cards{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));"
    "margin:1.25rem 0}.card,.row{background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:.75rem 1rem}.card b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}"
    ".row{margin:.5rem 0;border-left-width:4px}.row.error{border-left-color:var(--error)}.row.warning{"
    "border-left-color:var(--warning)}.row.info{border-left-color:var(--info)}.tag{font-weight:600}"
    ".tag.error,.card.error b{color:var(--error)}.tag.warning,.card.warning b{color:var(--warning)}"
    ".tag.info{color:var(--info)}.tag.good{color:var(--good)}.scroll{overflow-x:auto}.foot{margin-top:1.5rem}table{border-collapse:collapse;"
    "width:100%;font-size:.925rem}th,td{text-align:left;padding:.45rem .75rem .45rem 0;border-bottom:1px solid "
    "var(--line);vertical-align:top}th{color:var(--soft);font-weight:500}td.n,th.n{text-align:right;"
    "font-variant-numeric:tabular-nums}";

void
page_raw(struct strbuf *page, const char *markup)
{
    strbuf_puts(page, markup);
}

void
page_text(struct strbuf *page, const char *text)
{
    for (const char *c = text ? text : ""; *c; c++) {
        switch (*c) {
        case '<':
            strbuf_puts(page, "&lt;");
            break;
        case '>':
            strbuf_puts(page, "&gt;");
            break;
        case '&':
            strbuf_puts(page, "&amp;");
            break;
        case '"':
            strbuf_puts(page, "&quot;");
            break;
        default:
            strbuf_putc(page, *c);
        }
    }
}

void
page_tag(struct strbuf *page, const char *tag, const char *class, const char *text)
{
    strbuf_printf(page, "<%s", tag);
    if (class)
        strbuf_printf(page, " class=\"%s\"", class);
    strbuf_putc(page, '>');
    page_text(page, text);
    strbuf_printf(page, "</%s>", tag);
}

void
page_begin(struct strbuf *page, const char *title)
{
    strbuf_puts(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                      "content=\"width=device-width,initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" "
                      "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    page_tag(page, "title", NULL, title);
    strbuf_printf(page, "\n<style>%s</style>\n</head>\n<body>\n", style);
    page_tag(page, "h1", NULL, title);
    strbuf_putc(page, '\n');
}

void
page_end(struct strbuf *page)
{
    strbuf_puts(page, "</body>\n</html>\n");
}

enum rc
page_write(const struct strbuf *page, const char *path, struct err *err)
{
    char *temporary = NULL;
    FILE *file = NULL;
    bool written = false;

    if (page->failed || asprintf(&temporary, "%s.%ld.tmp", path, (long)getpid()) < 0)
        return err_memory(err);
    if ((file = fopen(temporary, "w")) != NULL) {
        written = fwrite(page->bytes, 1, page->length, file) == page->length;
        written = fclose(file) == 0 && written && rename(temporary, path) == 0;
    }
    enum rc rc = RC_OK;
    if (!written) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "can't write %s: %s", path, strerror(errno));
        (void)unlink(temporary);
    }
    free(temporary);
    return rc;
}
