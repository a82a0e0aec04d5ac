#include "coordinator/file_field.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "coordinator/migration_file.h"

enum { KEYS_MAX = 32 };

/* --- where a key stands in the text --- */

/* The index after blanks and comments. The text has been parsed: comments and strings do end. */
static size_t
skip_blank(const char *text, size_t length, size_t at)
{
    while (at < length) {
        if (text[at] == '/' && at + 1 < length && text[at + 1] == '/') {
            const char *end = memchr(text + at, '\n', length - at);
            at = end == NULL ? length : (size_t)(end - text);
        } else if (text[at] == '/' && at + 1 < length && text[at + 1] == '*') {
            const char *end = memmem(text + at + 2, length - at - 2, "*/", 2);
            at = end == NULL ? length : (size_t)(end - text) + 2;
        } else if (memchr(" \t\r\n", text[at], 4) != NULL) {
            at++;
        } else {
            break;
        }
    }
    return at;
}

static size_t
skip_string(const char *text, size_t length, size_t at)
{
    for (at++; at < length && text[at] != '"'; at++) {
        if (text[at] == '\\')
            at++;
    }
    return at < length ? at + 1 : length;
}

/* Whether the key text[from..to) is the component number `index` of the dotted path. */
static bool
is_component(const char *path, size_t index, const char *key, size_t length, bool *ret_last)
{
    for (; index > 0; index--) {
        path = strchr(path, '.');
        if (path == NULL)
            return false;
        path++;
    }
    size_t size = strcspn(path, ".");
    *ret_last = path[size] == '\0';
    return size == length && memcmp(path, key, length) == 0;
}

/* The line of the key at `path`, or of its deepest ancestor that is there; 0 when not even that one. */
static size_t
find_line(const char *text, size_t length, const char *path)
{
    size_t best = 0;    /* offset + 1 of the deepest match */
    size_t matched = 0; /* leading components whose objects are open */
    size_t depth = 0;

    for (size_t at = skip_blank(text, length, 0); at < length; at = skip_blank(text, length, at)) {
        if (text[at] == '{' || text[at] == '[') {
            depth++;
            at++;
        } else if (text[at] == '}' || text[at] == ']') {
            if (matched > 0 && depth == matched + 1)
                break; /* the section has ended without the key */
            depth--;
            at++;
        } else if (text[at] == '"') {
            size_t end = skip_string(text, length, at);
            size_t next = skip_blank(text, length, end);
            bool last = false;
            if (next < length && text[next] == ':' && depth == matched + 1 &&
                is_component(path, matched, text + at + 1, end - at - 2, &last)) {
                best = at + 1;
                if (last)
                    break;
                next = skip_blank(text, length, next + 1);
                if (next < length && text[next] == '{')
                    matched++;
            }
            at = end;
        } else {
            at++;
        }
    }
    if (best == 0)
        return 0;
    size_t line = 1;
    for (size_t i = 0; i < best; i++)
        line += text[i] == '\n';
    return line;
}

enum rc
file_refuse(const struct file_reader *reader, const char *section, const char *key, const char *format, ...)
{
    char path[256];
    char what[768];
    const char *dot = section[0] != '\0' && key[0] != '\0' ? "." : "";
    va_list args;

    (void)snprintf(path, sizeof path, "%s%s%s", section, dot, key);
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);

    size_t line = find_line(reader->text, reader->length, path);
    const char *blank = path[0] == '\0' ? "" : " ";
    if (line == 0)
        return err_set(reader->err, RC_INVALID, ERR_USAGE, "%s: %s%s%s", reader->path, path, blank, what);
    return err_set(reader->err, RC_INVALID, ERR_USAGE, "%s:%zu: %s%s%s", reader->path, line, path, blank, what);
}

/* --- unknown keys --- */

static const struct field *
find_field(const struct field_table *table, const char *key)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->fields[i].key, key) == 0)
            return &table->fields[i];
    }
    return NULL;
}

static bool
has_field(const struct field *field, unsigned kind)
{
    return field->kinds == 0 || (field->kinds & kind) != 0;
}

/* The section that has `key`, or NULL. Words so common that several sections have them belong nowhere. */
static const char *
find_home(const struct file_reader *reader, const char *key)
{
    const char *home = NULL;
    for (const struct field_table *const *table = reader->tables; *table != NULL; table++) {
        if (find_field(*table, key) == NULL)
            continue;
        if (home != NULL)
            return NULL;
        home = (*table)->section;
    }
    return home;
}

/* "api_key" is many edits away from "api_key_env", but it is what was meant. */
static const char *
find_longer(const char *key, const char *const *keys)
{
    size_t length = strlen(key);
    for (; length >= 3 && *keys != NULL; keys++) {
        if (strncmp(*keys, key, length) == 0)
            return *keys;
    }
    return NULL;
}

static enum rc
refuse_unknown(const struct file_reader *reader, const struct field_table *table, const char *section, const char *key,
               unsigned kind)
{
    const char *keys[KEYS_MAX + 1];
    size_t count = 0;
    struct strbuf list;

    strbuf_init(&list, sizeof reader->err->hint);
    for (size_t i = 0; i < table->count && count < KEYS_MAX; i++) {
        if (!has_field(&table->fields[i], kind))
            continue;
        keys[count++] = table->fields[i].key;
        strbuf_printf(&list, "%s%s", list.length == 0 ? "" : ", ", table->fields[i].key);
    }
    keys[count] = NULL;

    const char *where = section[0] == '\0' ? "the file" : section;
    const char *meant = nearest_name(key, keys);
    if (meant == NULL)
        meant = find_longer(key, keys);
    const char *home = find_home(reader, key);
    enum rc rc = RC_INVALID;
    if (meant != NULL)
        rc = file_refuse(reader, section, key, "is no setting of %s; did you mean \"%s\"?", where, meant);
    else if (home != NULL && strcmp(home, section) != 0)
        rc = file_refuse(reader, section, key, "is no setting of %s; it belongs %s%s%s", where,
                         home[0] == '\0' ? "at the top of the file" : "in \"", home, home[0] == '\0' ? "" : "\"");
    else
        rc = file_refuse(reader, section, key, "is no setting of %s", where);
    err_hint(reader->err, "%s has: %s", where, strbuf_text(&list));
    strbuf_free(&list);
    return rc;
}

enum rc
file_fields_check(const struct file_reader *reader, const struct field_table *table, const char *section,
                  const cJSON *object, unsigned kind, const char *kind_name)
{
    if (!cJSON_IsObject(object))
        return file_refuse(reader, section, "", "must be an object: { ... }");

    const cJSON *member = NULL;
    cJSON_ArrayForEach (member, object) {
        const struct field *field = find_field(table, member->string);
        if (field == NULL)
            return refuse_unknown(reader, table, section, member->string, kind);
        if (!has_field(field, kind))
            return file_refuse(reader, section, member->string, "does not go with \"%s\"", kind_name);
    }
    return RC_OK;
}

/* --- values --- */

static void
describe_range(const struct field *field, char *out, size_t size)
{
    bool whole = field->kind == FIELD_COUNT || field->kind == FIELD_SIZE || field->kind == FIELD_INT || field->whole;
    const char *what = whole ? "a whole number" : "a number";
    if (field->above)
        (void)snprintf(out, size, "%s above %.15g", what, field->minimum);
    else if (field->maximum > 0)
        (void)snprintf(out, size, "%s from %.15g to %.15g", what, field->minimum, field->maximum);
    else
        (void)snprintf(out, size, "%s, %.15g or more", what, field->minimum);
    if (field->above && field->maximum > 0) {
        size_t length = strlen(out);
        (void)snprintf(out + length, size - length, ", at most %.15g", field->maximum);
    }
}

static enum rc
read_number(const struct file_reader *reader, const char *section, const struct field *field, const cJSON *value,
            double *ret_number)
{
    char range[128];
    /* The largest whole number that a double holds exactly; more is a slip of the finger anyway. */
    double maximum = field->maximum > 0 ? field->maximum : 9007199254740992.0;
    bool whole = field->kind == FIELD_COUNT || field->kind == FIELD_SIZE || field->kind == FIELD_INT || field->whole;

    describe_range(field, range, sizeof range);
    if (!cJSON_IsNumber(value))
        return file_refuse(reader, section, field->key, "must be %s%s", range,
                           field->kind == FIELD_OPTIONAL ? ", or null for none" : "");
    double number = value->valuedouble;
    /* Written so that NaN fails it; infinity is above every maximum. */
    bool inside = number >= field->minimum && number <= maximum && !(field->above && number <= field->minimum);
    if (!inside || (whole && number != floor(number)))
        return file_refuse(reader, section, field->key, "must be %s, not %.15g", range, number);
    *ret_number = number;
    return RC_OK;
}

static enum rc
read_text(const struct file_reader *reader, const char *section, const struct field *field, const cJSON *value,
          const char **ret_text)
{
    if (!cJSON_IsString(value))
        return file_refuse(reader, section, field->key, "must be a text in quotes");
    const char *text = value->valuestring;
    if (field->kind == FIELD_TEXT && text[strspn(text, " \t\r\n")] == '\0')
        return file_refuse(reader, section, field->key, "must not be empty");
    *ret_text = arena_copy(reader->arena, text, strlen(text));
    return *ret_text == NULL ? err_memory(reader->err) : RC_OK;
}

static enum rc
read_word(const struct file_reader *reader, const char *section, const struct field *field, const cJSON *value,
          int *ret_index)
{
    char words[256] = "";
    const char *known[KEYS_MAX + 1];
    size_t count = 0;

    for (int i = 0; field->words[i] != NULL; i++) {
        if (field->words[i][0] == '\0')
            continue;
        if (cJSON_IsString(value) && strcmp(value->valuestring, field->words[i]) == 0) {
            *ret_index = i;
            return RC_OK;
        }
        size_t length = strlen(words);
        (void)snprintf(words + length, sizeof words - length, "%s%s", count == 0 ? "" : ", ", field->words[i]);
        if (count < KEYS_MAX)
            known[count++] = field->words[i];
    }
    known[count] = NULL;
    if (!cJSON_IsString(value))
        return file_refuse(reader, section, field->key, "must be one of %s", words);

    const char *meant = nearest_name(value->valuestring, known);
    enum rc rc =
        file_refuse(reader, section, field->key, "must be one of %s, not \"%.40s\"", words, value->valuestring);
    if (meant != NULL)
        err_hint(reader->err, "did you mean \"%s\"?", meant);
    return rc;
}

static enum rc
read_field(const struct file_reader *reader, const char *section, const struct field *field, const cJSON *value,
           void *out)
{
    void *place = (char *)out + field->offset;
    double number = 0;
    enum rc rc = RC_OK;

    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_ANY_TEXT:
        return read_text(reader, section, field, value, (const char **)place);
    case FIELD_SWITCH:
    case FIELD_TRISTATE:
        if (!cJSON_IsBool(value))
            return file_refuse(reader, section, field->key, "must be true or false");
        if (field->kind == FIELD_SWITCH)
            *(bool *)place = cJSON_IsTrue(value);
        else
            *(int *)place = cJSON_IsTrue(value) ? 1 : 0;
        return RC_OK;
    case FIELD_WORD:
        return read_word(reader, section, field, value, (int *)place);
    case FIELD_COUNT:
    case FIELD_SIZE:
    case FIELD_INT:
    case FIELD_NUMBER:
    case FIELD_OPTIONAL:
        rc = read_number(reader, section, field, value, &number);
        if (rc != RC_OK)
            return rc;
        break;
    case FIELD_SECTION:
        return RC_OK;
    }
    if (field->kind == FIELD_COUNT)
        *(int64_t *)place = (int64_t)number;
    else if (field->kind == FIELD_SIZE)
        *(size_t *)place = (size_t)number;
    else if (field->kind == FIELD_INT)
        *(int *)place = (int)number;
    else if (field->kind == FIELD_NUMBER)
        *(double *)place = number;
    else
        *(struct optional_number *)place = (struct optional_number){.given = true, .value = number};
    return RC_OK;
}

enum rc
file_fields_read(const struct file_reader *reader, const struct field_table *table, const char *section,
                 const cJSON *object, void *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, field->key);
        if (value == NULL || cJSON_IsNull(value)) {
            if (field->required)
                return file_refuse(reader, section, field->key, "is missing");
            continue;
        }
        enum rc rc = read_field(reader, section, field, value, out);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* --- printing --- */

void
file_number_json(double value, struct strbuf *out)
{
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    strbuf_puts(out, digits);
}

static void
text_json(const char *text, struct strbuf *out)
{
    if (text == NULL)
        strbuf_puts(out, "null");
    else
        strbuf_json(out, text, strlen(text));
}

void
file_fields_json(const struct field_table *table, const void *in, unsigned kind, struct strbuf *out)
{
    const char *comma = "";
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        const void *place = (const char *)in + field->offset;
        if (field->kind == FIELD_SECTION || !has_field(field, kind))
            continue;
        strbuf_printf(out, "%s\"%s\":", comma, field->key);
        comma = ",";
        switch (field->kind) {
        case FIELD_TEXT:
        case FIELD_ANY_TEXT:
            text_json(*(const char *const *)place, out);
            break;
        case FIELD_SWITCH:
            strbuf_puts(out, *(const bool *)place ? "true" : "false");
            break;
        case FIELD_TRISTATE: {
            int value = *(const int *)place;
            strbuf_puts(out, value == 1 ? "true" : value == 0 ? "false" : "null");
            break;
        }
        case FIELD_WORD: {
            const char *word = field->words[*(const int *)place];
            text_json(word[0] == '\0' ? NULL : word, out);
            break;
        }
        case FIELD_COUNT:
            strbuf_printf(out, "%lld", (long long)*(const int64_t *)place);
            break;
        case FIELD_SIZE:
            if (*(const size_t *)place == 0)
                strbuf_puts(out, "null");
            else
                strbuf_printf(out, "%zu", *(const size_t *)place);
            break;
        case FIELD_INT:
            strbuf_printf(out, "%d", *(const int *)place);
            break;
        case FIELD_NUMBER:
            file_number_json(*(const double *)place, out);
            break;
        case FIELD_OPTIONAL: {
            const struct optional_number *number = place;
            if (number->given)
                file_number_json(number->value, out);
            else
                strbuf_puts(out, "null");
            break;
        }
        case FIELD_SECTION:
            break;
        }
    }
}
