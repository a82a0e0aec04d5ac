/* cli/page.h - a page that needs nothing but itself: styles inside, no scripts, light and dark by the reader's setting.
 *
 * Text goes in by page_text, which escapes it; page_raw is for markup of ours. Threads: plain data.
 */
#ifndef REEMBED_CLI_PAGE_H
#define REEMBED_CLI_PAGE_H

#include "base/err.h"
#include "base/strbuf.h"

void page_begin(struct strbuf *page, const char *title);
void page_raw(struct strbuf *page, const char *markup);
void page_text(struct strbuf *page, const char *text);                                    /* NULL is empty */
void page_tag(struct strbuf *page, const char *tag, const char *class, const char *text); /* class may be NULL */
void page_end(struct strbuf *page);

/* Writes the page, by a temporary name beside it. RC_INVALID, ERR_USAGE: it can't be written there. */
enum rc page_write(const struct strbuf *page, const char *path, struct err *err);

#endif
