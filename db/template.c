#include "db/template.h"

#include <stdbool.h>
#include <string.h>

#include "base/escape.h"

enum { RENDERED_MAX_BYTES = 4 * 1024 * 1024, NAME_MAX_LENGTH = 63 };

static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The length of the name in "{name}" at `text`, or 0 where there is no placeholder. */
static size_t
placeholder_name(const char *text)
{
    size_t length = 0;
    if (text[0] != '{' || !is_letter(text[1]))
        return 0;
    for (const char *p = text + 1; is_letter(*p) || (*p >= '0' && *p <= '9') || *p == '_'; p++)
        length++;
    return text[1 + length] == '}' ? length : 0;
}

static const char *
find_value(const struct template_value *values, size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(values[i].name, name, length) == 0 && values[i].name[length] == '\0')
            return values[i].sql;
    }
    return NULL;
}

enum rc
template_render(const char *text, const struct template_value *values, size_t count, char **ret_sql, struct err *err)
{
    struct strbuf buf;
    strbuf_init(&buf, RENDERED_MAX_BYTES);
    strbuf_puts(&buf, "");

    while (*text != '\0') {
        size_t plain = strcspn(text, "{");
        strbuf_add(&buf, text, plain);
        text += plain;
        if (*text == '\0')
            break;

        size_t length = placeholder_name(text);
        if (length == 0) {
            strbuf_putc(&buf, *text++);
            continue;
        }
        const char *sql = find_value(values, count, text + 1, length);
        if (sql == NULL) {
            strbuf_free(&buf);
            return err_set(err, RC_FATAL, ERR_DATABASE, "a statement has the placeholder {%.*s}, which has no value",
                           (int)(length > NAME_MAX_LENGTH ? NAME_MAX_LENGTH : length), text + 1);
        }
        strbuf_puts(&buf, sql);
        text += 1 + length + 1;
    }

    char *sql = strbuf_take(&buf);
    strbuf_free(&buf);
    if (sql == NULL)
        return err_memory(err);
    *ret_sql = sql;
    return RC_OK;
}

/* Half a character before a closing quote would swallow it on a server that reads another encoding. */
static enum rc
check_utf8(const char *text, struct err *err)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t length = utf8_sequence(text, left);
        if (length == 0)
            return err_set(err, RC_INVALID, ERR_USAGE, "a name or value for SQL is not valid UTF-8");
        text += length;
        left -= length;
    }
    return RC_OK;
}

/* Appends the text with each `first` or `second` doubled. */
static void
add_doubled(struct strbuf *buf, const char *text, char first, char second)
{
    for (; *text != '\0'; text++) {
        if (*text == first || *text == second)
            strbuf_putc(buf, *text);
        strbuf_putc(buf, *text);
    }
}

enum rc
template_add_identifier(struct strbuf *buf, const char *name, struct err *err)
{
    enum rc rc = check_utf8(name, err);
    if (rc != RC_OK)
        return rc;
    strbuf_putc(buf, '"');
    add_doubled(buf, name, '"', '"');
    strbuf_putc(buf, '"');
    return buf->failed ? err_memory(err) : RC_OK;
}

enum rc
template_add_literal(struct strbuf *buf, const char *value, struct err *err)
{
    enum rc rc = check_utf8(value, err);
    if (rc != RC_OK)
        return rc;
    if (strchr(value, '\\') != NULL) {
        /* E'' means the same whatever standard_conforming_strings is; the blank keeps a letter before it apart. */
        strbuf_puts(buf, " E'");
        add_doubled(buf, value, '\'', '\\');
    } else {
        strbuf_putc(buf, '\'');
        add_doubled(buf, value, '\'', '\'');
    }
    strbuf_putc(buf, '\'');
    return buf->failed ? err_memory(err) : RC_OK;
}
