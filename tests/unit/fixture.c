#include "fixture.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "embed/unicode.h"

void
fixture_open(struct fixture *fixture, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : REEMBED_FIXTURES "/", name);
    *fixture = (struct fixture){.file = fopen(path, "rb")};
    cr_assert_not_null(fixture->file, "%s", path);
}

bool
fixture_next(struct fixture *fixture)
{
    ssize_t length = getline(&fixture->line, &fixture->capacity, fixture->file);
    fixture->number += length > 0;
    return length > 0;
}

void
fixture_close(struct fixture *fixture)
{
    fclose(fixture->file);
    free(fixture->line);
    free(fixture->text);
}

static const char *
value_at(const struct fixture *fixture, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(fixture->line, quoted);
    cr_assert_not_null(at, "line %zu has no %s", fixture->number, key);
    return at + strlen(quoted);
}

static uint32_t
hex4(const char *digits)
{
    char text[5] = {digits[0], digits[1], digits[2], digits[3], 0};
    return (uint32_t)strtoul(text, NULL, 16);
}

const char *
fixture_text(struct fixture *fixture, const char *key, size_t *ret_length)
{
    static const char escapes[] = "b\bf\fn\nr\rt\t\"\"\\\\//";
    const char *at = value_at(fixture, key);
    size_t length = 0;

    free(fixture->text);
    fixture->text = malloc(strlen(at) + 1);
    cr_assert(fixture->text && *at == '"');
    for (at++; *at != '"'; at++) {
        uint32_t code = (unsigned char)*at;

        if (code == '\\' && at[1] == 'u') {
            code = hex4(at + 2);
            at += 5;
            if (code >= 0xD800 && code < 0xDC00) {
                code = 0x10000 + ((code - 0xD800) << 10) + (hex4(at + 3) - 0xDC00);
                at += 6;
            }
            length += unicode_write(code, fixture->text + length);
            continue;
        }
        if (code == '\\')
            code = (unsigned char)strchr(escapes, *++at)[1];
        fixture->text[length++] = (char)code;
    }
    fixture->text[length] = '\0';
    *ret_length = length;
    return fixture->text;
}

size_t
fixture_numbers(const struct fixture *fixture, const char *key, double *numbers, size_t capacity)
{
    const char *at = value_at(fixture, key);
    bool array = *at == '[';
    size_t count = 0;

    for (at += array; count < capacity && *at != ']'; at += *at == ',') {
        char *end;
        numbers[count++] = strtod(at, &end);
        cr_assert(end > at);
        at = end;
        if (!array)
            break;
    }
    return count;
}

const char *
fixture_model(const char *name, const char *file)
{
    static char path[PATH_MAX + 100];
    const char *folder = getenv("REEMBED_TEST_MODELS");

    snprintf(path, sizeof path, "%s/%s/%s", folder ? folder : REEMBED_SOURCE_DIR "/models", name, file);
    if (access(path, R_OK) != 0)
        return NULL;
    path[strlen(path) - strlen(file) - 1] = '\0';
    return path;
}
