#include "embed/http/reply.h"

#include <string.h>

bool
reply_shape_compile(const struct reply_paths *paths, struct reply_shape *ret_shape)
{
    bool compiled = true;

    *ret_shape = (struct reply_shape){0};
    for (size_t i = 0; i < 2 && paths->vectors[i] != NULL; i++) {
        char path[SCAN_MAX_STEPS * (SCAN_MAX_NAME + 1)];
        size_t length = strlen(paths->vectors[i]);
        const char *last = NULL;

        if (length + sizeof "[]" > sizeof path)
            return false;
        unsigned vector = scan_paths_add(&ret_shape->paths, paths->vectors[i]);
        memcpy(path, paths->vectors[i], length + 1);
        memcpy(path + length, "[]", sizeof "[]");
        unsigned element = scan_paths_add(&ret_shape->paths, path);

        /* The item is what is repeated: the vector itself, or the object around it. */
        path[length] = '\0';
        for (const char *at = path; (at = strstr(at, "[]")) != NULL; at += 2)
            last = at;
        if (last == NULL)
            return false;
        path[last - path + 2] = '\0';
        unsigned item = strlen(path) == length ? vector : scan_paths_add(&ret_shape->paths, path);

        compiled = compiled && vector != 0 && element != 0 && item != 0;
        ret_shape->vector |= vector;
        ret_shape->element |= element;
        ret_shape->item |= item;
    }
    if (paths->index != NULL)
        compiled = (ret_shape->index = scan_paths_add(&ret_shape->paths, paths->index)) != 0 && compiled;
    if (paths->model != NULL)
        compiled = (ret_shape->model = scan_paths_add(&ret_shape->paths, paths->model)) != 0 && compiled;
    for (size_t i = 0; i < REPLY_USAGE_PATHS && paths->tokens[i] != NULL; i++)
        compiled = (ret_shape->tokens[i] = scan_paths_add(&ret_shape->paths, paths->tokens[i])) != 0 && compiled;
    ret_shape->error = scan_paths_add(&ret_shape->paths, "error");
    return compiled && ret_shape->vector != 0 && ret_shape->error != 0;
}

static bool
malformed(struct reply *reply, const char *problem)
{
    if (reply->problem == NULL)
        reply->problem = problem;
    return false;
}

static void
set_result(struct reply *reply, size_t place, enum text_status status, const char *detail)
{
    reply->target.results[place] = (struct text_result){.status = status, .detail = detail};
    if (status != TEXT_EMBEDDED && detail == NULL)
        reply->no_memory = true;
}

static const char *
size_detail(struct reply *reply)
{
    return arena_printf(reply->target.arena, "the vector has %zu numbers, not %zu", reply->filled,
                        reply->target.dimensions);
}

static bool
item_done(struct reply *reply)
{
    const struct reply_target *target = &reply->target;
    size_t index = reply->has_index ? (size_t)reply->index : reply->items;

    if (!reply->has_vector)
        return malformed(reply, "an item has no vector");
    if (reply->has_index && reply->index >= target->count)
        return malformed(reply, "an index is out of range");
    if (reply->items >= target->count)
        return malformed(reply, "there are more vectors than texts");
    if (reply->seen[index])
        return malformed(reply, "an index occurs twice");

    size_t place = target->order != NULL ? target->order[index] : index;

    if (reply->is_null) {
        set_result(reply, place, TEXT_INVALID_VECTOR, "the vector is null");
    } else if (reply->filled != target->dimensions) {
        reply->mixed_sizes = reply->mixed_sizes || (reply->other_sized > 0 && reply->other_size != reply->filled);
        reply->other_size = reply->filled;
        reply->other_sized++;
        set_result(reply, place, TEXT_INVALID_VECTOR, size_detail(reply));
    } else if (!vector_is_valid(reply->staging, target->dimensions)) {
        set_result(reply, place, TEXT_INVALID_VECTOR, "the vector is all zero or has numbers that are not finite");
    } else {
        memcpy(target->vectors + place * target->dimensions, reply->staging, target->dimensions * sizeof(float));
        set_result(reply, place, TEXT_EMBEDDED, NULL);
    }
    reply->seen[index] = 1;
    reply->items++;
    reply->indexed += reply->has_index;
    return !reply->no_memory;
}

static void
item_begin(struct reply *reply)
{
    reply->has_vector = false;
    reply->is_null = false;
    reply->has_index = false;
    reply->filled = 0;
}

static bool
on_begin(void *context, unsigned selected, enum scan_type type)
{
    struct reply *reply = context;
    const struct reply_shape *shape = reply->shape;

    if (selected & shape->error)
        reply->has_error = type != SCAN_NULL && type != SCAN_FALSE;
    if (selected & shape->item) {
        item_begin(reply);
        if (!(selected & shape->vector) && type != SCAN_OBJECT && type != SCAN_NULL)
            return malformed(reply, "an item is no object");
    }
    if (selected & shape->vector || (selected & shape->item && type == SCAN_NULL)) {
        if (reply->has_vector)
            return malformed(reply, "an item has two vectors");
        reply->has_vector = true;
        reply->is_null = type == SCAN_NULL;
        if (type == SCAN_STRING) {
            base64_begin(&reply->base64, reply->staging, reply->target.dimensions);
            reply->saw_base64 = true;
        } else if (type == SCAN_ARRAY) {
            reply->saw_floats = true;
        } else if (type != SCAN_NULL) {
            return malformed(reply, "a vector is neither an array nor a string");
        }
    }
    if (selected & shape->element) {
        if (type != SCAN_NULL)
            return malformed(reply, type == SCAN_ARRAY ? "vectors are nested: the server does not pool tokens"
                                                       : "a vector holds something that is no number");
        /* null stands for NaN in JSON; one of them spoils the vector, not the reply */
        reply->is_null = true;
        reply->filled++;
    }
    if (selected & shape->index)
        return malformed(reply, "an index is no number");
    if (selected & shape->model)
        reply->model_length = 0;
    /* A null has no end of its own. */
    if (type == SCAN_NULL && selected & shape->item)
        return item_done(reply);
    return true;
}

static bool
on_number(void *context, unsigned selected, float value, const struct number *number)
{
    struct reply *reply = context;
    const struct reply_shape *shape = reply->shape;

    if (selected & shape->element) {
        if (reply->filled < reply->target.dimensions)
            reply->staging[reply->filled] = value;
        reply->filled++;
        return true;
    }
    if (selected & (shape->vector | shape->item))
        return malformed(reply, "a vector is a single number");
    if (selected & shape->index) {
        if (number->state == NUMBER_BROKEN || !number_integer(number, &reply->index))
            return malformed(reply, "an index is no whole number");
        reply->has_index = true;
    }
    for (size_t i = 0; i < REPLY_USAGE_PATHS; i++)
        if (selected & shape->tokens[i] && number->state != NUMBER_BROKEN)
            reply->has_tokens[i] = number_integer(number, &reply->tokens[i]);
    return true;
}

static bool
on_text(void *context, unsigned selected, const char *bytes, size_t length)
{
    struct reply *reply = context;

    if (selected & reply->shape->vector)
        base64_feed(&reply->base64, bytes, length);
    if (selected & reply->shape->model) {
        size_t room = sizeof reply->model - 1 - reply->model_length;
        size_t taken = length < room ? length : room;
        memcpy(reply->model + reply->model_length, bytes, taken);
        reply->model_length += taken;
        reply->model[reply->model_length] = '\0';
    }
    return true;
}

static bool
on_end(void *context, unsigned selected, enum scan_type type)
{
    struct reply *reply = context;

    if (selected & reply->shape->vector && type == SCAN_STRING) {
        if (!base64_end(&reply->base64))
            return malformed(reply, "a vector is no base64 of float32 numbers");
        reply->filled = reply->base64.count;
    }
    if (selected & reply->shape->item)
        return item_done(reply);
    return true;
}

static const struct scan_events events = {on_begin, on_number, on_text, on_end};

bool
reply_begin(struct reply *reply, const struct reply_shape *shape, const struct reply_target *target)
{
    *reply = (struct reply){.shape = shape, .target = *target};
    scanner_begin(&reply->scanner, &shape->paths, &events, reply);
    reply->staging = arena_array(target->arena, target->dimensions, sizeof(float));
    reply->seen = arena_alloc(target->arena, target->count + 1);
    if (reply->staging == NULL || reply->seen == NULL)
        return false;
    memset(reply->seen, 0, target->count + 1);
    return true;
}

bool
reply_feed(struct reply *reply, const char *bytes, size_t length)
{
    return scanner_feed(&reply->scanner, bytes, length);
}

enum reply_verdict
reply_end(struct reply *reply, const char **ret_problem)
{
    const struct reply_target *target = &reply->target;
    bool whole = scanner_end(&reply->scanner);

    *ret_problem = NULL;
    if (reply->no_memory)
        return REPLY_NO_MEMORY;
    if (reply->problem != NULL) {
        *ret_problem = reply->problem;
        return REPLY_MALFORMED;
    }
    if (!whole) {
        *ret_problem = reply->scanner.state != SCAN_FAILED
                           ? arena_printf(target->arena, "it ends in the middle, after %llu bytes",
                                          (unsigned long long)reply->scanner.position)
                           : arena_printf(target->arena, "it is no JSON (at byte %llu)",
                                          (unsigned long long)reply->scanner.position);
        return *ret_problem == NULL ? REPLY_NO_MEMORY : REPLY_MALFORMED;
    }
    if (reply->has_error && reply->items == 0) {
        *ret_problem = "it is an error";
        return REPLY_ERROR;
    }
    if (reply->items != target->count) {
        *ret_problem = arena_printf(target->arena, "it has %zu vectors for %zu texts", reply->items, target->count);
        return *ret_problem == NULL ? REPLY_NO_MEMORY : REPLY_MALFORMED;
    }
    if (reply->indexed != 0 && reply->indexed != reply->items) {
        *ret_problem = "only some items have an index";
        return REPLY_MALFORMED;
    }
    if (reply->other_sized == target->count && !reply->mixed_sizes && reply->other_size > 0) {
        *ret_problem = size_detail(&(struct reply){.filled = reply->other_size, .target = *target});
        return *ret_problem == NULL ? REPLY_NO_MEMORY : REPLY_OTHER_DIMENSIONS;
    }
    return REPLY_VECTORS;
}

bool
reply_tokens(const struct reply *reply, uint64_t *ret_tokens)
{
    for (size_t i = 0; i < REPLY_USAGE_PATHS; i++) {
        if (reply->has_tokens[i]) {
            *ret_tokens = reply->tokens[i];
            return true;
        }
    }
    return false;
}
