#include "embed/onnx/graph.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "embed/onnx/ort_library.h"

enum { MAX_INPUTS = 3, MAX_NAME = 128 };

enum input_kind { INPUT_IDS, INPUT_MASK, INPUT_TYPES, INPUT_UNKNOWN };

struct graph_input {
    char name[MAX_NAME];
    enum input_kind kind;
    int element;
};

struct graph {
    struct ort_api api;
    struct ort_env *env;
    struct ort_session *session;
    struct ort_memory_info *memory;
    struct graph_input inputs[MAX_INPUTS];
    size_t input_count;
    char output[MAX_NAME];
};

/* Releases the status. `what` says what could not be done. */
static enum rc
ort_failed(const struct graph *graph, struct ort_status *status, enum rc rc, const char *what, const char *path,
           struct err *err)
{
    err_set(err, rc, rc == RC_INVALID ? ERR_USAGE : ERR_SYSTEM, "%s %s: %.800s", what, path,
            graph->api.error_message(status));
    graph->api.release_status(status);
    return rc;
}

static enum rc
create_session(struct graph *graph, const struct graph_options *wanted, struct err *err)
{
    int threads = wanted->run_threads > 0 ? wanted->run_threads : 1;
    const struct ort_api *api = &graph->api;
    struct ort_session_options *options = NULL;
    struct ort_status *status;
    enum rc rc = RC_OK;

    /* Memory patterns are kept for each shape and gain nothing where shapes vary. */
    if ((status = api->create_env(ORT_LOG_FATAL, "reembed", &graph->env)) ||
        (status = api->create_cpu_memory(ORT_DEVICE_ALLOCATOR, ORT_MEMORY_DEFAULT, &graph->memory)) ||
        (status = api->create_session_options(&options)) || (status = api->set_log_severity(options, ORT_LOG_FATAL)) ||
        (status = api->set_optimization(options, ORT_OPTIMIZE_ALL)) ||
        (status = api->set_intra_threads(options, threads)) || (status = api->set_inter_threads(options, 1)) ||
        (status = api->disable_mem_pattern(options)) ||
        (status = api->create_session(graph->env, wanted->path, options, &graph->session))) {
        rc = ort_failed(graph, status, RC_INVALID, "ONNX Runtime cannot load", wanted->path, err);
        err_hint(err, "the file may be broken or cut short, or made for a newer ONNX Runtime than %s: fetch it again",
                 api->version);
    }
    if (options)
        api->release_session_options(options);
    return rc;
}

/* Name, element type and rank of an input or output; ret_last is the last dimension, -1 where it is free. */
struct port {
    char name[MAX_NAME];
    int element; /* 0: not a tensor */
    size_t rank;
    int64_t last;
};

static struct ort_status *
port_read(const struct graph *graph, bool output, size_t index, struct port *ret_port)
{
    const struct ort_api *api = &graph->api;
    struct ort_allocator *allocator;
    struct ort_type_info *type = NULL;
    const struct ort_tensor_info *tensor = NULL;
    struct ort_status *status;
    char *name = NULL;
    int64_t shape[8] = {0};

    *ret_port = (struct port){.last = -1};
    if ((status = api->default_allocator(&allocator)))
        return status;
    status = output ? api->output_name(graph->session, index, allocator, &name)
                    : api->input_name(graph->session, index, allocator, &name);
    if (status)
        return status;
    size_t length = strnlen(name, MAX_NAME - 1);
    memcpy(ret_port->name, name, length);
    if ((status = api->allocator_free(allocator, name)))
        return status;
    status = output ? api->output_type(graph->session, index, &type) : api->input_type(graph->session, index, &type);
    if (!status)
        status = api->tensor_of_type(type, &tensor);
    if (!status && tensor) {
        if (!(status = api->element_type(tensor, &ret_port->element)) &&
            !(status = api->rank(tensor, &ret_port->rank)) && ret_port->rank > 0 && ret_port->rank <= 8 &&
            !(status = api->shape(tensor, shape, ret_port->rank)))
            ret_port->last = shape[ret_port->rank - 1];
    }
    if (type)
        api->release_type(type);
    return status;
}

static enum input_kind
input_kind(const char *name)
{
    static const struct {
        const char *part;
        enum input_kind kind;
    } parts[] = {
        {"mask", INPUT_MASK}, {"type_ids", INPUT_TYPES}, {"segment_ids", INPUT_TYPES}, {"input_ids", INPUT_IDS}};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(name, parts[i].part))
            return parts[i].kind;
    }
    return INPUT_UNKNOWN;
}

static enum rc
find_inputs(struct graph *graph, const char *path, struct err *err)
{
    struct ort_status *status = graph->api.input_count(graph->session, &graph->input_count);
    bool seen[INPUT_UNKNOWN] = {false};

    if (status)
        return ort_failed(graph, status, RC_INVALID, "cannot read the inputs of", path, err);
    if (graph->input_count > MAX_INPUTS)
        return err_set(err, RC_INVALID, ERR_USAGE, "%s has %zu inputs; a sentence encoder has two or three", path,
                       graph->input_count);
    for (size_t i = 0; i < graph->input_count; i++) {
        struct graph_input *input = &graph->inputs[i];
        struct port port;

        if ((status = port_read(graph, false, i, &port)))
            return ort_failed(graph, status, RC_INVALID, "cannot read the inputs of", path, err);
        memcpy(input->name, port.name, sizeof input->name);
        input->kind = input_kind(port.name);
        input->element = port.element;
        if (input->kind == INPUT_UNKNOWN || seen[input->kind] || port.rank != 2 ||
            (port.element != ORT_ELEMENT_INT64 && port.element != ORT_ELEMENT_INT32))
            return err_set(err, RC_INVALID, ERR_USAGE,
                           "%s wants an input \"%s\"; only input_ids, attention_mask and token_type_ids are known",
                           path, port.name);
        seen[input->kind] = true;
    }
    if (!seen[INPUT_IDS] || !seen[INPUT_MASK])
        return err_set(err, RC_INVALID, ERR_USAGE, "%s has no input_ids or no attention_mask", path);
    return RC_OK;
}

/* Higher is better; 0 is no choice. */
static int
output_rating(const struct port *port)
{
    if (port->element != ORT_ELEMENT_FLOAT || (port->rank != 2 && port->rank != 3) || port->last == 1)
        return 0;
    if (port->rank == 2)
        return 1;
    return strcmp(port->name, "last_hidden_state") == 0 || strcmp(port->name, "token_embeddings") == 0 ? 3 : 2;
}

static enum rc
find_output(struct graph *graph, const char *wanted, const char *path, struct err *err)
{
    size_t count = 0;
    struct ort_status *status = graph->api.output_count(graph->session, &count);
    int best = 0;

    for (size_t i = 0; i < count && !status; i++) {
        struct port port;

        if ((status = port_read(graph, true, i, &port)))
            break;
        int rating = output_rating(&port);
        if (wanted && strcmp(wanted, port.name) != 0)
            continue;
        if (wanted && rating == 0)
            return err_set(err, RC_INVALID, ERR_USAGE,
                           "the output \"%s\" of %s does not hold float numbers of rank 2 or 3", wanted, path);
        if (rating > best) {
            best = rating;
            memcpy(graph->output, port.name, sizeof graph->output);
        }
    }
    if (status)
        return ort_failed(graph, status, RC_INVALID, "cannot read the outputs of", path, err);
    if (best == 0 && wanted)
        return err_set(err, RC_INVALID, ERR_USAGE, "%s has no output \"%s\"", path, wanted);
    if (best == 0)
        return err_set(err, RC_INVALID, ERR_USAGE, "%s has no output of float numbers of rank 2 or 3", path);
    return RC_OK;
}

enum rc
graph_open(const struct graph_options *options, struct graph **ret_graph, struct err *err)
{
    struct graph *graph = calloc(1, sizeof *graph);
    const char *path = options->path;
    enum rc rc;

    if (!graph)
        return err_memory(err);
    if ((rc = ort_library_open(options->library, &graph->api, err)) != RC_OK ||
        (rc = create_session(graph, options, err)) != RC_OK || (rc = find_inputs(graph, path, err)) != RC_OK ||
        (rc = find_output(graph, options->output, path, err)) != RC_OK) {
        graph_close(graph);
        return rc;
    }
    *ret_graph = graph;
    return RC_OK;
}

struct graph *
graph_close(struct graph *graph)
{
    if (!graph)
        return NULL;
    if (graph->session)
        graph->api.release_session(graph->session);
    if (graph->memory)
        graph->api.release_memory(graph->memory);
    if (graph->env)
        graph->api.release_env(graph->env);
    free(graph);
    return NULL;
}

const char *
graph_library_version(const struct graph *graph)
{
    return graph->api.version;
}

/* --- running --- */

static enum rc
buffers_reserve(struct graph_buffers *buffers, size_t numbers, struct err *err)
{
    if (numbers <= buffers->capacity)
        return RC_OK;
    graph_buffers_clear(buffers);
    for (size_t i = 0; i < MAX_INPUTS; i++) {
        buffers->input[i] = calloc(numbers, sizeof(int64_t));
        if (!buffers->input[i])
            return err_memory(err);
    }
    buffers->capacity = numbers;
    return RC_OK;
}

void
graph_buffers_clear(struct graph_buffers *buffers)
{
    for (size_t i = 0; i < MAX_INPUTS; i++) {
        free(buffers->input[i]);
        buffers->input[i] = NULL;
    }
    buffers->capacity = 0;
}

static int64_t
number_at(const struct graph_batch *batch, enum input_kind kind, size_t row, size_t at)
{
    bool inside = at < batch->lengths[row];

    switch (kind) {
    case INPUT_IDS:
        return inside ? batch->ids[row][at] : batch->pad_id;
    case INPUT_MASK:
        return inside;
    default:
        return 0;
    }
}

static void
fill_input(const struct graph_batch *batch, const struct graph_input *input, void *numbers)
{
    size_t n = 0;

    for (size_t row = 0; row < batch->count; row++) {
        for (size_t at = 0; at < batch->length; at++, n++) {
            int64_t number = number_at(batch, input->kind, row, at);

            if (input->element == ORT_ELEMENT_INT64)
                ((int64_t *)numbers)[n] = number;
            else
                ((int32_t *)numbers)[n] = (int32_t)number;
        }
    }
}

static enum rc
read_output(const struct graph *graph, const struct graph_batch *batch, struct graph_output *output, struct err *err)
{
    const struct ort_api *api = &graph->api;
    struct ort_tensor_info *info = NULL;
    int64_t shape[3] = {0};
    void *numbers = NULL;
    struct ort_status *status = api->tensor_of_value(output->value, &info);

    if (!status && !(status = api->rank(info, &output->rank)) && (output->rank == 2 || output->rank == 3) &&
        !(status = api->shape(info, shape, output->rank)))
        status = api->tensor_data(output->value, &numbers);
    if (info)
        api->release_tensor(info);
    if (status)
        return ort_failed(graph, status, RC_FATAL, "cannot read output", graph->output, err);

    int64_t dimensions = output->rank == 3 ? shape[2] : shape[1];
    if (!numbers || shape[0] != (int64_t)batch->count || (output->rank == 3 && shape[1] != (int64_t)batch->length) ||
        dimensions <= 0)
        return err_set(err, RC_FATAL, ERR_SYSTEM,
                       "the output \"%s\" has the shape %lld x %lld x %lld for %zu texts of %zu tokens", graph->output,
                       (long long)shape[0], (long long)shape[1], (long long)shape[2], batch->count, batch->length);
    output->numbers = numbers;
    output->dimensions = (size_t)dimensions;
    return RC_OK;
}

enum rc
graph_run(const struct graph *graph, const struct graph_batch *batch, struct graph_buffers *buffers,
          struct graph_output *ret_output, struct err *err)
{
    const struct ort_api *api = &graph->api;
    const int64_t shape[2] = {(int64_t)batch->count, (int64_t)batch->length};
    size_t numbers = batch->count * batch->length;
    struct ort_value *inputs[MAX_INPUTS] = {NULL};
    const char *input_names[MAX_INPUTS];
    const char *output_name = graph->output;
    struct ort_status *status = NULL;
    enum rc rc = buffers_reserve(buffers, numbers, err);

    *ret_output = (struct graph_output){.value = NULL};
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < graph->input_count && !status; i++) {
        const struct graph_input *input = &graph->inputs[i];
        size_t size = input->element == ORT_ELEMENT_INT64 ? sizeof(int64_t) : sizeof(int32_t);

        input_names[i] = input->name;
        fill_input(batch, input, buffers->input[i]);
        status =
            api->create_tensor(graph->memory, buffers->input[i], numbers * size, shape, 2, input->element, &inputs[i]);
    }
    if (!status)
        status = api->run(graph->session, NULL, input_names, (const struct ort_value *const *)inputs,
                          graph->input_count, &output_name, 1, &ret_output->value);
    for (size_t i = 0; i < graph->input_count; i++) {
        if (inputs[i])
            api->release_value(inputs[i]);
    }
    if (status)
        rc = ort_failed(graph, status, RC_FATAL, "the model does not run, output", graph->output, err);
    else
        rc = read_output(graph, batch, ret_output, err);
    if (rc != RC_OK)
        graph_release(graph, ret_output);
    return rc;
}

void
graph_release(const struct graph *graph, struct graph_output *output)
{
    if (output->value)
        graph->api.release_value(output->value);
    output->value = NULL;
    output->numbers = NULL;
}
