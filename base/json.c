#include "base/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/strbuf.h"

static _Thread_local bool memory_failed;
static pthread_once_t watching = PTHREAD_ONCE_INIT;

static void *
watched_malloc(size_t size)
{
    void *memory = malloc(size);

    if (memory == NULL)
        memory_failed = true;
    return memory;
}

static void
watch(void)
{
    cJSON_Hooks hooks = {.malloc_fn = watched_malloc, .free_fn = free};

    cJSON_InitHooks(&hooks);
}

void
json_watch_memory(void)
{
    pthread_once(&watching, watch);
    memory_failed = false;
}

bool
json_memory_failed(void)
{
    return memory_failed;
}

/* Fills *err with a message that starts with name:line:column. */
static enum rc
fail_at(const char *name, const char *text, size_t at, struct err *err, const char *what)
{
    size_t line = 1;
    size_t column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xC0U) != 0x80U) {
            column++; /* a character, not a byte */
        }
    }
    return err_set(err, RC_INVALID, ERR_USAGE, "%s:%zu:%zu: %s", name, line, column, what);
}

/* The index after the string that opens at text[at]; `length` when it does not end. */
static size_t
skip_string(const char *text, size_t length, size_t at)
{
    for (at++; at < length; at++) {
        if (text[at] == '\\')
            at++;
        else if (text[at] == '"')
            return at + 1;
    }
    return length;
}

/* The index after the comment that opens at text[at]; `at` itself when none does; past `length` when it
 * does not end. */
static size_t
skip_comment(const char *text, size_t length, size_t at)
{
    if (at + 1 >= length || text[at] != '/')
        return at;
    if (text[at + 1] == '/') {
        while (at < length && text[at] != '\n')
            at++;
        return at;
    }
    if (text[at + 1] != '*')
        return at;
    for (size_t end = at + 2; end + 1 < length; end++) {
        if (text[end] == '*' && text[end + 1] == '/')
            return end + 2;
    }
    return length + 1;
}

/* Overwrites comments and trailing commas by blanks, so that every other byte keeps its place. */
static enum rc
blank_extensions(char *text, size_t length, const char *name, struct err *err)
{
    size_t comma = 0; /* index + 1 of a comma that only blanks and comments have followed; 0: none */
    char last = '[';  /* the last character that was no blank: a comma needs a value before it */

    for (size_t at = 0; at < length;) {
        if (text[at] == '"') {
            at = skip_string(text, length, at);
            comma = 0;
            last = '"';
            continue;
        }
        size_t end = skip_comment(text, length, at);
        if (end > length)
            return fail_at(name, text, at, err, "this comment does not end");
        if (end > at) {
            memset(text + at, ' ', end - at);
            at = end;
            continue;
        }
        char c = text[at];
        if (strchr(" \t\r\n", c) == NULL) {
            if ((c == ']' || c == '}') && comma != 0)
                text[comma - 1] = ' ';
            comma = c == ',' && strchr("[{,:", last) == NULL ? at + 1 : 0;
            last = c;
        }
        at++;
    }
    return RC_OK;
}

/* cJSON keeps both of two equal keys and finds the first: somebody's setting would silently not count. */
static const char *
find_duplicate(const cJSON *value)
{
    for (const cJSON *member = value->child; member != NULL; member = member->next) {
        if (cJSON_IsObject(value) && cJSON_GetObjectItemCaseSensitive(value, member->string) != member)
            return member->string;
        const char *deeper = find_duplicate(member);
        if (deeper != NULL)
            return deeper;
    }
    return NULL;
}

enum rc
json_parse(const char *text, size_t length, const char *name, cJSON **ret_root, struct err *err)
{
    enum rc rc = RC_FATAL;
    cJSON *root = NULL;
    char *plain = malloc(length + 1);

    if (plain == NULL)
        return err_memory(err);
    memcpy(plain, text, length);
    plain[length] = '\0';

    const char *nul = memchr(text, '\0', length);
    if (nul != NULL) {
        rc = fail_at(name, text, (size_t)(nul - text), err, "a NUL byte does not belong here");
        goto out;
    }
    rc = blank_extensions(plain, length, name, err);
    if (rc != RC_OK)
        goto out;

    const char *end = plain;
    json_watch_memory();
    root = cJSON_ParseWithLengthOpts(plain, length + 1, &end, true);
    if (json_memory_failed()) {
        rc = err_memory(err);
        goto out;
    }
    if (root == NULL) {
        size_t at = end < plain ? 0 : (size_t)(end - plain);
        if (at > length)
            at = length;
        rc = fail_at(name, text, at, err,
                     strspn(plain + at, " \t\r\n") + at == length ? "the JSON ends too early"
                                                                  : "this is not valid JSON");
        goto out;
    }
    const char *duplicate = find_duplicate(root);
    if (duplicate != NULL) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s: the key \"%s\" is given twice", name, duplicate);
        goto out;
    }
    *ret_root = root;
    root = NULL;
    rc = RC_OK;
out:
    cJSON_Delete(root);
    free(plain);
    return rc;
}

enum rc
json_read_file(const char *path, cJSON **ret_root, struct err *err)
{
    enum rc rc = RC_INVALID;
    bool is_stdin = strcmp(path, "-") == 0;
    struct strbuf text;

    strbuf_init(&text, JSON_FILE_MAX);
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (file == NULL) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "can't read %s: %s", path, strerror(errno));
        goto out;
    }
    char chunk[8192];
    size_t got = 0;
    while (!text.failed && (got = fread(chunk, 1, sizeof chunk, file)) > 0)
        strbuf_add(&text, chunk, got);
    if (ferror(file)) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "can't read %s: %s", path, strerror(errno));
        goto out;
    }
    if (text.failed) {
        if (text.length + got <= JSON_FILE_MAX)
            rc = err_memory(err);
        else
            rc = err_set(err, RC_INVALID, ERR_USAGE, "%s is larger than %d bytes: not a configuration file", path,
                         JSON_FILE_MAX);
        goto out;
    }
    rc = json_parse(strbuf_text(&text), text.length, is_stdin ? "standard input" : path, ret_root, err);
out:
    if (file != NULL && !is_stdin)
        (void)fclose(file);
    strbuf_free(&text);
    return rc;
}

enum rc
json_only_keys(const cJSON *object, const char *where, const char *const *keys, struct err *err)
{
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        bool known = false;
        for (const char *const *key = keys; *key != NULL && !known; key++)
            known = strcmp(member->string, *key) == 0;
        if (known)
            continue;

        const char *dot = where[0] == '\0' ? "" : ".";
        enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "unknown key \"%s%s%s\"", where, dot, member->string);
        const char *meant = nearest_name(member->string, keys);
        if (meant != NULL)
            err_hint(err, "did you mean \"%s%s%s\"?", where, dot, meant);
        return rc;
    }
    return RC_OK;
}
