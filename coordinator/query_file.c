#include "coordinator/query_file.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RELEVANT_MAX = 100000, LINE_MAX_BYTES = 1 << 20 };

struct reading {
    const char *path;
    size_t number; /* of the line */
    size_t most;
    size_t relevant_room;
    struct arena *arena;
    struct query_file *file;
};

static enum rc
wrong(const struct reading *reading, struct err *err, const char *what)
{
    enum rc rc = err_set(err, RC_INVALID, ERR_USAGE, "%s:%zu: %s", reading->path, reading->number, what);
    err_hint(err, "one object a line: {\"text\": \"what is searched for\", \"relevant\": [\"id\", ...]}");
    return rc;
}

static enum rc
add_id(struct reading *reading, const cJSON *item, struct err *err)
{
    struct query_file *file = reading->file;
    char number[32];
    const char *text = cJSON_GetStringValue(item);

    if (cJSON_IsNumber(item) && floor(item->valuedouble) == item->valuedouble && fabs(item->valuedouble) < 9e15) {
        (void)snprintf(number, sizeof number, "%.0f", item->valuedouble);
        text = number;
    }
    if (!text)
        return wrong(reading, err, "\"relevant\" must hold ids, as texts or whole numbers");
    if (file->relevant_count == RELEVANT_MAX)
        return wrong(reading, err, "there are too many relevant ids; 100,000 are taken");
    if (file->relevant_count == reading->relevant_room) {
        size_t room = reading->relevant_room ? 2 * reading->relevant_room : 1024;
        struct db_text *more = arena_array(reading->arena, room, sizeof *more);
        if (!more)
            return err_memory(err);
        if (file->relevant_count > 0)
            memcpy(more, file->relevant, file->relevant_count * sizeof *more);
        file->relevant = more;
        reading->relevant_room = room;
    }
    char *copy = arena_copy(reading->arena, text, strlen(text));
    if (!copy)
        return err_memory(err);
    file->relevant[file->relevant_count++] = (struct db_text){copy, strlen(copy)};
    return RC_OK;
}

static enum rc
add_line(struct reading *reading, const cJSON *line, struct err *err)
{
    struct query_file *file = reading->file;
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, "text"));
    const cJSON *relevant = cJSON_GetObjectItemCaseSensitive(line, "relevant"), *item = NULL;
    struct query_line *added = &file->lines[file->count];
    enum rc rc = RC_OK;

    if (!text || text[strspn(text, " \t\r\n")] == '\0')
        return wrong(reading, err, "there is no \"text\"");
    char *copy = arena_copy(reading->arena, text, strlen(text));
    if (!copy)
        return err_memory(err);
    *added = (struct query_line){.text = {copy, strlen(copy)}, .first_relevant = file->relevant_count};
    if (cJSON_IsArray(relevant)) {
        cJSON_ArrayForEach (item, relevant)
            if (rc == RC_OK)
                rc = add_id(reading, item, err);
    } else if (relevant && !cJSON_IsNull(relevant)) {
        rc = add_id(reading, relevant, err);
    }
    added->relevant_count = file->relevant_count - added->first_relevant;
    file->count++;
    return rc;
}

static enum rc
read_lines(struct reading *reading, FILE *stream, struct err *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    enum rc rc = RC_OK;

    while (rc == RC_OK && (length = getline(&line, &room, stream)) >= 0) {
        reading->number++;
        if (line[strspn(line, " \t\r\n")] == '\0')
            continue;
        if (length > LINE_MAX_BYTES) {
            rc = wrong(reading, err, "the line is longer than 1 MB");
        } else if (reading->file->count == reading->most) {
            rc = err_set(err, RC_INVALID, ERR_USAGE, "%s holds more than %zu queries", reading->path, reading->most);
            err_hint(err, "take some of them at random: shuf -n %zu", reading->most);
        } else {
            cJSON *object = cJSON_ParseWithLength(line, (size_t)length);
            rc =
                cJSON_IsObject(object) ? add_line(reading, object, err) : wrong(reading, err, "this is no JSON object");
            cJSON_Delete(object);
        }
    }
    if (rc == RC_OK && ferror(stream))
        rc = err_set(err, RC_INVALID, ERR_USAGE, "can't read %s: %s", reading->path, strerror(errno));
    free(line);
    return rc;
}

enum rc
query_file_read(const char *path, size_t most, struct arena *arena, struct query_file *ret_file, struct err *err)
{
    struct query_file file = {.lines = arena_array(arena, most, sizeof *file.lines)};
    struct reading reading = {.path = path, .most = most, .arena = arena, .file = &file};
    bool standard = strcmp(path, "-") == 0;

    if (!file.lines)
        return err_memory(err);
    FILE *stream = standard ? stdin : fopen(path, "re");
    if (!stream)
        return err_set(err, RC_INVALID, ERR_USAGE, "can't open %s: %s", path, strerror(errno));
    enum rc rc = read_lines(&reading, stream, err);
    if (!standard)
        (void)fclose(stream);
    if (rc == RC_OK && file.count == 0)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s holds no queries", path);
    if (rc == RC_OK)
        *ret_file = file;
    return rc;
}
