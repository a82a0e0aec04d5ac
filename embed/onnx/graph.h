/* embed/onnx/graph.h - one loaded ONNX graph of a sentence encoder, and running it.
 *
 * Inputs go by the names that the graph gives them: input_ids and attention_mask, with or without token_type_ids, of
 * 64 or 32 bits. The output is the one that was asked for, else the first of float numbers and rank 3 (a vector a
 * token; one named last_hidden_state or token_embeddings before others), else of rank 2 (a vector a text, already
 * pooled). Names don't count for much: exporters give odd ones.
 * Runs are best kept on one thread each: embed/onnx/runner.h keeps the cores busy.
 * Threads: graph_run from any thread, each with buffers of its own.
 */
#ifndef REEMBED_EMBED_ONNX_GRAPH_H
#define REEMBED_EMBED_ONNX_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "embed/onnx/ort_api.h"

struct graph;

/* The token ids of a run, row by row, each row padded to `length`. */
struct graph_batch {
    const uint32_t *const *ids; /* count rows */
    const uint32_t *lengths;
    size_t count;
    size_t length;
    uint32_t pad_id;
};

/* What a thread needs to run the graph. Zero-initialise; graph_buffers_clear frees. */
struct graph_buffers {
    void *input[3];
    size_t capacity; /* numbers of 64 bits in each */
};

struct graph_output {
    struct ort_value *value; /* to be given to graph_release; owns `numbers` */
    const float *numbers;
    size_t rank; /* 3: count x length x dimensions, 2: count x dimensions */
    size_t dimensions;
};

struct graph_options {
    const char *path;    /* the .onnx file */
    const char *output;  /* NULL: chosen as above */
    const char *library; /* NULL: see embed/onnx/ort_library.h */
    int run_threads;     /* that one run spreads over; 0 is 1: it stays on the caller's thread */
};

/* RC_INVALID when the library, the file or the graph is not usable. */
enum rc graph_open(const struct graph_options *options, struct graph **ret_graph, struct err *err);
struct graph *graph_close(struct graph *graph); /* NULL is fine; returns NULL */

/* The output's shape is checked. RC_FATAL when the run fails. */
enum rc graph_run(const struct graph *graph, const struct graph_batch *batch, struct graph_buffers *buffers,
                  struct graph_output *ret_output, struct err *err);
void graph_release(const struct graph *graph, struct graph_output *output);

void graph_buffers_clear(struct graph_buffers *buffers);

const char *graph_library_version(const struct graph *graph);

#endif
