#include "embed/http/request.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* Stand for the places of the texts while the frame is made. No name, extra member or template holds them. */
#define TEXTS_MARK "\x02texts\x02"
#define TEXT_MARK  "\x02text\x02"

struct fill {
    const struct dialect *dialect;
    const char *model;
    size_t dimensions;
    struct request_choice choice;
};

/* The value of a "$name", as JSON text in `buf`; NULL: leave the member out. */
static const char *
value_of(const struct fill *fill, const char *name, struct strbuf *buf)
{
    const struct dialect *dialect = fill->dialect;

    strbuf_reset(buf);
    if (strcmp(name, "$texts") == 0)
        strbuf_json(buf, TEXTS_MARK, strlen(TEXTS_MARK));
    else if (strcmp(name, "$text") == 0)
        strbuf_json(buf, TEXT_MARK, strlen(TEXT_MARK));
    else if (strcmp(name, "$model") == 0)
        strbuf_json(buf, fill->model, strlen(fill->model));
    else if (strcmp(name, "$encoding") == 0)
        return fill->choice.base64 ? dialect->encoding_base64 : dialect->encoding_floats;
    else if (strcmp(name, "$input") == 0)
        return fill->choice.query ? dialect->input_query : dialect->input_document;
    else if (strcmp(name, "$truncate") == 0)
        return fill->choice.truncate ? dialect->truncate_on : dialect->truncate_off;
    else if (strcmp(name, "$dimensions") == 0 && fill->choice.dimensions)
        strbuf_printf(buf, "%zu", fill->dimensions);
    return buf->length > 0 ? strbuf_text(buf) : NULL;
}

/* "models/$model" */
static bool
fill_inside(const struct fill *fill, cJSON *item, const char *place)
{
    struct strbuf buf;

    strbuf_init(&buf, 4096);
    strbuf_add(&buf, item->valuestring, (size_t)(place - item->valuestring));
    strbuf_puts(&buf, fill->model);
    strbuf_puts(&buf, place + strlen("$model"));
    bool filled = !buf.failed && cJSON_SetValuestring(item, strbuf_text(&buf)) != NULL;
    strbuf_free(&buf);
    return filled;
}

/* Puts the values into the children of `parent`, recursively. False when out of memory. */
static bool
fill_children(const struct fill *fill, cJSON *parent)
{
    struct strbuf buf;
    bool filled = true;

    strbuf_init(&buf, 4096);
    for (cJSON *item = parent->child, *next; item != NULL && filled; item = next) {
        next = item->next;
        if (!cJSON_IsString(item)) {
            filled = fill_children(fill, item);
            continue;
        }
        const char *place = strstr(item->valuestring, "$model");
        if (item->valuestring[0] != '$') {
            filled = place == NULL || fill_inside(fill, item, place);
            continue;
        }
        const char *value = value_of(fill, item->valuestring, &buf);
        if (buf.failed) { /* no value is not the same as nothing to say */
            filled = false;
            continue;
        }
        if (value == NULL) {
            cJSON_Delete(cJSON_DetachItemViaPointer(parent, item));
            continue;
        }
        cJSON *made = cJSON_Parse(value);
        if (made == NULL) {
            filled = false;
        } else if (cJSON_IsArray(parent)) {
            filled = cJSON_ReplaceItemViaPointer(parent, item, made);
        } else {
            char *name = strdup(item->string);
            filled = name != NULL && cJSON_ReplaceItemInObjectCaseSensitive(parent, name, made);
            if (!filled)
                cJSON_Delete(made);
            free(name);
        }
    }
    strbuf_free(&buf);
    return filled;
}

static bool
add_extra(cJSON *body, const cJSON *extra)
{
    const cJSON *member;

    cJSON_ArrayForEach (member, extra) {
        cJSON_DeleteItemFromObjectCaseSensitive(body, member->string);
        if (cJSON_IsNull(member))
            continue;
        cJSON *copy = cJSON_Duplicate(member, true);
        if (copy == NULL || !cJSON_AddItemToObject(body, member->string, copy)) {
            cJSON_Delete(copy);
            return false;
        }
    }
    return true;
}

enum part { PART_MADE, PART_WITHOUT_MARK, PART_NO_MEMORY };

/* Cuts the printed JSON at the mark (a string of its own) into what is before and after it. */
static enum part
split(const char *printed, const char *mark, char **ret_head, char **ret_tail)
{
    struct strbuf quoted;
    const char *place = NULL;

    strbuf_init(&quoted, 64);
    enum part part = PART_NO_MEMORY;

    strbuf_json(&quoted, mark, strlen(mark));
    if (!quoted.failed) {
        place = strstr(printed, strbuf_text(&quoted));
        part = PART_WITHOUT_MARK;
    }
    if (place != NULL) {
        *ret_head = strndup(printed, (size_t)(place - printed));
        *ret_tail = strdup(place + quoted.length);
        part = *ret_head != NULL && *ret_tail != NULL ? PART_MADE : PART_NO_MEMORY;
    }
    strbuf_free(&quoted);
    return part;
}

static enum part
make_part(const struct fill *fill, const char *template, const cJSON *extra, const char *mark, char **ret_head,
          char **ret_tail)
{
    enum part part = PART_NO_MEMORY;
    char *printed = NULL;
    cJSON *wrapped = cJSON_CreateArray(); /* so that a template may be a bare "$text" */
    cJSON *root = cJSON_Parse(template);

    if (wrapped == NULL || root == NULL || !cJSON_AddItemToArray(wrapped, root)) {
        cJSON_Delete(root);
        goto out;
    }
    if (!fill_children(fill, wrapped))
        goto out;
    root = wrapped->child;
    if (extra != NULL && !add_extra(root, extra))
        goto out;
    printed = cJSON_PrintUnformatted(root);
    if (printed != NULL)
        part = split(printed, mark, ret_head, ret_tail);
out:
    cJSON_Delete(wrapped);
    cJSON_free(printed);
    return part;
}

static struct request_choice
choice_of(size_t number)
{
    return (struct request_choice){
        .base64 = number & 1, .dimensions = number & 2, .truncate = number & 4, .query = number & 8};
}

static size_t
choice_number(struct request_choice choice)
{
    return (size_t)choice.base64 | (size_t)choice.dimensions << 1 | (size_t)choice.truncate << 2 |
           (size_t)choice.query << 3;
}

enum rc
request_form_make(const struct dialect *dialect, const char *model, size_t dimensions, const struct cJSON *extra,
                  struct request_form **ret_form, struct err *err)
{
    struct request_form *form = calloc(1, sizeof *form);

    if (form == NULL)
        return err_memory(err);
    json_watch_memory(); /* cJSON would rather print a body without a member than say that one is missing */
    for (size_t i = 0; i < REQUEST_CHOICES; i++) {
        struct request_frame *frame = &form->frame[i];
        struct fill fill = {dialect, model, dimensions, choice_of(i)};

        enum part body = make_part(&fill, dialect->body, extra, TEXTS_MARK, &frame->head, &frame->tail);
        enum part text = make_part(&fill, dialect->text, NULL, TEXT_MARK, &frame->text_head, &frame->text_tail);
        if (body == PART_NO_MEMORY || text == PART_NO_MEMORY || json_memory_failed()) {
            request_form_free(form);
            return err_memory(err);
        }
        if (body == PART_WITHOUT_MARK || text == PART_WITHOUT_MARK) {
            request_form_free(form);
            err_set(err, RC_INVALID, ERR_USAGE, "no request can be made for dialect \"%s\" and this provider.extra",
                    dialect->name);
            err_hint(err, "provider.extra may not replace the member that holds the texts");
            return RC_INVALID;
        }
    }
    *ret_form = form;
    return RC_OK;
}

struct request_form *
request_form_free(struct request_form *form)
{
    for (size_t i = 0; form != NULL && i < REQUEST_CHOICES; i++) {
        free(form->frame[i].head);
        free(form->frame[i].tail);
        free(form->frame[i].text_head);
        free(form->frame[i].text_tail);
    }
    free(form);
    return NULL;
}

void
request_write(const struct request_form *form, struct request_choice choice, const struct text *texts, size_t count,
              struct strbuf *body)
{
    const struct request_frame *frame = &form->frame[choice_number(choice)];

    strbuf_puts(body, frame->head);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            strbuf_putc(body, ',');
        strbuf_puts(body, frame->text_head);
        strbuf_json(body, texts[i].bytes, texts[i].length);
        strbuf_puts(body, frame->text_tail);
    }
    strbuf_puts(body, frame->tail);
}
