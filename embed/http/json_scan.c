#include "embed/http/json_scan.h"

#include <math.h>
#include <string.h>
#include <strings.h>

unsigned
scan_paths_add(struct scan_paths *paths, const char *path)
{
    if (paths->count >= SCAN_MAX_PATHS)
        return 0;
    size_t steps = 0;

    while (*path != '\0') {
        if (steps >= SCAN_MAX_STEPS)
            return 0;
        struct scan_step *step = &paths->path[paths->count].step[steps++];

        if (strncmp(path, "[]", 2) == 0) {
            *step = (struct scan_step){.each = true};
            path += 2;
        } else {
            size_t length = strcspn(path, ".[");
            if (length == 0 || length > SCAN_MAX_NAME)
                return 0;
            *step = (struct scan_step){.length = (uint8_t)length};
            memcpy(step->name, path, length);
            path += length;
        }
        if (*path == '.')
            path++;
    }
    paths->path[paths->count].steps = steps;
    return 1u << paths->count++;
}

void
scanner_begin(struct scanner *scanner, const struct scan_paths *paths, const struct scan_events *events, void *context)
{
    scanner->paths = paths;
    scanner->events = events;
    scanner->context = context;
    scanner->state = SCAN_VALUE;
    scanner->depth = 0;
    scanner->inside = 0;
    scanner->selected = 0;
    scanner->escape = 0;
    scanner->length = 0;
    scanner->position = 0;
    for (size_t i = 0; i < paths->count; i++) {
        scanner->inside |= (uint16_t)(1u << i);
        if (paths->path[i].steps == 0)
            scanner->selected |= (uint16_t)(1u << i);
    }
}

static bool
failed(struct scanner *scanner)
{
    scanner->state = SCAN_FAILED;
    return false;
}

/* Of the paths in `mask`, those that end after `steps` steps. */
static uint16_t
paths_of_length(const struct scan_paths *paths, uint16_t mask, int steps)
{
    uint16_t found = 0;

    for (size_t i = 0; i < paths->count; i++)
        if (mask >> i & 1 && paths->path[i].steps == (size_t)steps)
            found |= (uint16_t)(1u << i);
    return found;
}

/* The value that begins now lies in the container on top: which paths does it lie on? */
static void
step_into_element(struct scanner *scanner)
{
    const struct scan_frame *frame = &scanner->frame[scanner->depth - 1];

    scanner->inside = frame->each;
    scanner->selected = frame->each == 0 ? 0 : paths_of_length(scanner->paths, frame->each, scanner->depth);
}

static void
step_into_member(struct scanner *scanner)
{
    const struct scan_frame *frame = &scanner->frame[scanner->depth - 1];
    size_t step = (size_t)scanner->depth - 1;

    scanner->inside = 0;
    for (size_t i = 0; i < scanner->paths->count && frame->inside != 0; i++) {
        if (!(frame->inside >> i & 1) || scanner->paths->path[i].steps <= step)
            continue;
        const struct scan_step *wanted = &scanner->paths->path[i].step[step];
        if (!wanted->each && wanted->length == scanner->length &&
            memcmp(wanted->name, scanner->word, wanted->length) == 0)
            scanner->inside |= (uint16_t)(1u << i);
    }
    scanner->selected = paths_of_length(scanner->paths, scanner->inside, scanner->depth);
}

static bool
open_container(struct scanner *scanner, bool object)
{
    if (scanner->depth >= SCAN_MAX_DEPTH)
        return failed(scanner);
    struct scan_frame *frame = &scanner->frame[scanner->depth];
    uint16_t each = 0;

    if (!object)
        for (size_t i = 0; i < scanner->paths->count; i++)
            if (scanner->inside >> i & 1 && scanner->paths->path[i].steps > (size_t)scanner->depth &&
                scanner->paths->path[i].step[scanner->depth].each)
                each |= (uint16_t)(1u << i);
    *frame =
        (struct scan_frame){.object = object, .selected = scanner->selected, .inside = scanner->inside, .each = each};
    scanner->depth++;
    if (frame->selected != 0 &&
        !scanner->events->begin(scanner->context, frame->selected, object ? SCAN_OBJECT : SCAN_ARRAY))
        return failed(scanner);
    scanner->state = object ? SCAN_FIRST_NAME : SCAN_FIRST_ELEMENT;
    return true;
}

static void
value_done(struct scanner *scanner)
{
    scanner->state = scanner->depth == 0 ? SCAN_DONE : SCAN_AFTER;
}

static bool
close_container(struct scanner *scanner, bool object)
{
    if (scanner->depth == 0 || scanner->frame[scanner->depth - 1].object != object)
        return failed(scanner);
    uint16_t selected = scanner->frame[--scanner->depth].selected;

    if (selected != 0 && !scanner->events->end(scanner->context, selected, object ? SCAN_OBJECT : SCAN_ARRAY))
        return failed(scanner);
    value_done(scanner);
    return true;
}

static bool
number_done(struct scanner *scanner)
{
    if (!number_complete(&scanner->number))
        return failed(scanner);
    if (scanner->selected != 0 &&
        !scanner->events->number(scanner->context, scanner->selected, number_float(&scanner->number), &scanner->number))
        return failed(scanner);
    value_done(scanner);
    return true;
}

static bool
word_done(struct scanner *scanner)
{
    static const struct {
        const char *word;
        enum scan_type type;
        float value;
    } words[] = {
        {"null", SCAN_NULL, 0},
        {"true", SCAN_TRUE, 0},
        {"false", SCAN_FALSE, 0},
        {"nan", SCAN_NUMBER, NAN},
        {"infinity", SCAN_NUMBER, INFINITY},
        {"inf", SCAN_NUMBER, INFINITY},
    };
    const struct number not_finite = {.state = NUMBER_BROKEN};

    if (scanner->length > SCAN_MAX_NAME)
        return failed(scanner);
    scanner->word[scanner->length] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        bool number = words[i].type == SCAN_NUMBER;
        if ((number ? strcasecmp : strcmp)(words[i].word, scanner->word) != 0)
            continue;
        if (scanner->number.negative && !number)
            break;
        if (scanner->selected != 0 &&
            !(number ? scanner->events->number(scanner->context, scanner->selected,
                                               scanner->number.negative ? -words[i].value : words[i].value, &not_finite)
                     : scanner->events->begin(scanner->context, scanner->selected, words[i].type)))
            return failed(scanner);
        value_done(scanner);
        return true;
    }
    return failed(scanner);
}

static void
word_begin(struct scanner *scanner, bool negative)
{
    scanner->length = 0;
    scanner->number.negative = negative;
    scanner->state = SCAN_IN_WORD;
}

static bool
is_letter(char c)
{
    return (unsigned char)((c | 0x20) - 'a') < 26;
}

static bool
value_begin(struct scanner *scanner, char c)
{
    switch (c) {
    case '{':
        return open_container(scanner, true);
    case '[':
        return open_container(scanner, false);
    case '"':
        scanner->escape = 0;
        scanner->state = SCAN_IN_STRING;
        if (scanner->selected != 0 && !scanner->events->begin(scanner->context, scanner->selected, SCAN_STRING))
            return failed(scanner);
        return true;
    default:
        return failed(scanner);
    }
}

static void
name_add(struct scanner *scanner, const char *bytes, size_t length)
{
    if (scanner->length > SCAN_MAX_NAME || length > (size_t)(SCAN_MAX_NAME - scanner->length)) {
        scanner->length = SCAN_MAX_NAME + 1;
        return;
    }
    memcpy(scanner->word + scanner->length, bytes, length);
    scanner->length = (uint8_t)(scanner->length + length);
}

static bool
string_piece(struct scanner *scanner, const char *bytes, size_t length)
{
    if (length == 0)
        return true;
    if (scanner->state == SCAN_IN_NAME)
        name_add(scanner, bytes, length);
    else if (scanner->selected != 0 && !scanner->events->text(scanner->context, scanner->selected, bytes, length))
        return failed(scanner);
    return true;
}

/* What is asked for is ASCII; anything above stands as a question mark, halves of surrogate pairs each. */
static bool
escape_step(struct scanner *scanner, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    if (scanner->escape == 1) {
        const char *found = c == '\0' ? NULL : strchr(from, c);
        if (c == 'u') {
            scanner->escape = 5;
            scanner->unicode = 0;
            return true;
        }
        scanner->escape = 0;
        return found != NULL ? string_piece(scanner, &to[found - from], 1) : failed(scanner);
    }
    int digit = c >= '0' && c <= '9' ? c - '0' : is_letter(c) && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
    if (digit < 0)
        return failed(scanner);
    scanner->unicode = (uint16_t)(scanner->unicode << 4 | digit);
    if (--scanner->escape > 1)
        return true;
    scanner->escape = 0;
    char plain = scanner->unicode < 0x80 ? (char)scanner->unicode : '?';
    return string_piece(scanner, &plain, 1);
}

/* The first byte from `at` on that ends a plain piece of a string: a quote, a backslash or a control character. */
static const char *
plain_end(const char *at, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;

    /* Eight at a time: a byte that is 0, or below 0x20, is one whose high bit appears when that much is taken away. */
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        uint64_t found = (quote - ones) & ~quote;
        found |= (backslash - ones) & ~backslash;
        found |= (word - ones * 0x20) & ~word;
        if ((found & highs) != 0)
            break;
    }
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
        at++;
    return at;
}

/* Reads on in a string; the first byte that was not consumed. */
static const char *
string_feed(struct scanner *scanner, const char *at, const char *end)
{
    while (at < end && scanner->state != SCAN_FAILED) {
        if (scanner->escape != 0) {
            if (!escape_step(scanner, *at++))
                break;
            continue;
        }
        const char *stop = plain_end(at, end);
        if (!string_piece(scanner, at, (size_t)(stop - at)))
            break;
        at = stop;
        if (at == end)
            break;
        if (*at == '\\') {
            scanner->escape = 1;
            at++;
            continue;
        }
        if (*at != '"') {
            failed(scanner); /* a control character */
            break;
        }
        at++;
        if (scanner->state == SCAN_IN_NAME) {
            scanner->state = SCAN_COLON;
        } else {
            if (scanner->selected != 0 && !scanner->events->end(scanner->context, scanner->selected, SCAN_STRING))
                failed(scanner);
            else
                value_done(scanner);
        }
        break;
    }
    return at;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* One byte of structure: the state is not inside a name, string, number or word. */
static bool
structure_step(struct scanner *scanner, char c)
{
    switch (scanner->state) {
    case SCAN_FIRST_ELEMENT:
        if (c == ']')
            return close_container(scanner, false);
        step_into_element(scanner);
        return value_begin(scanner, c);
    case SCAN_VALUE:
        return value_begin(scanner, c);
    case SCAN_FIRST_NAME:
        if (c == '}')
            return close_container(scanner, true);
        /* fall through */
    case SCAN_NAME:
        if (c != '"')
            return failed(scanner);
        scanner->escape = 0;
        scanner->length = 0;
        scanner->state = SCAN_IN_NAME;
        return true;
    case SCAN_COLON:
        if (c != ':')
            return failed(scanner);
        step_into_member(scanner);
        scanner->state = SCAN_VALUE;
        return true;
    case SCAN_AFTER:
        if (c == ',') {
            bool object = scanner->frame[scanner->depth - 1].object;
            if (!object)
                step_into_element(scanner);
            scanner->state = object ? SCAN_NAME : SCAN_VALUE;
            return true;
        }
        return c == '}' || c == ']' ? close_container(scanner, c == '}') : failed(scanner);
    default:
        return failed(scanner); /* SCAN_DONE: something follows the value */
    }
}

/* The numbers of a vector, without going through the states for each: the case that decides the speed. */
static const char *
numbers_feed(struct scanner *scanner, const char *at, const char *end)
{
    for (;;) {
        at = number_feed(&scanner->number, at, end);
        if (at == end)
            return at;
        if (scanner->number.state == NUMBER_MINUS && is_letter(*at)) {
            word_begin(scanner, true);
            return at;
        }
        if (!number_done(scanner))
            return at;
        if (scanner->depth == 0 || scanner->frame[scanner->depth - 1].object)
            return at;
        while (at < end && is_blank(*at))
            at++;
        if (at == end || *at != ',')
            return at;
        at++;
        scanner->state = SCAN_VALUE; /* inside and selected stay: it is the same array */
        while (at < end && is_blank(*at))
            at++;
        if (at == end || (*at != '-' && (unsigned char)(*at - '0') > 9))
            return at;
        number_begin(&scanner->number);
        scanner->state = SCAN_IN_NUMBER;
    }
}

bool
scanner_feed(struct scanner *scanner, const char *bytes, size_t length)
{
    const char *at = bytes, *end = bytes + length;

    while (at < end && scanner->state != SCAN_FAILED) {
        switch (scanner->state) {
        case SCAN_IN_NAME:
        case SCAN_IN_STRING:
            at = string_feed(scanner, at, end);
            break;
        case SCAN_IN_NUMBER:
            at = numbers_feed(scanner, at, end);
            break;
        case SCAN_IN_WORD:
            if (is_letter(*at))
                name_add(scanner, at++, 1);
            else
                word_done(scanner);
            break;
        default:
            if (is_blank(*at)) {
                at++;
                break;
            }
            if (scanner->state == SCAN_VALUE || scanner->state == SCAN_FIRST_ELEMENT) {
                if (*at == '-' || (unsigned char)(*at - '0') <= 9 || is_letter(*at)) {
                    if (scanner->state == SCAN_FIRST_ELEMENT)
                        step_into_element(scanner);
                    if (is_letter(*at)) {
                        word_begin(scanner, false);
                    } else {
                        number_begin(&scanner->number);
                        scanner->state = SCAN_IN_NUMBER;
                    }
                    break;
                }
            }
            structure_step(scanner, *at);
            at++;
        }
    }
    scanner->position += (uint64_t)(at - bytes);
    return scanner->state != SCAN_FAILED;
}

bool
scanner_end(struct scanner *scanner)
{
    if (scanner->depth == 0 && scanner->state == SCAN_IN_NUMBER)
        number_done(scanner);
    else if (scanner->depth == 0 && scanner->state == SCAN_IN_WORD)
        word_done(scanner);
    return scanner->state == SCAN_DONE;
}
