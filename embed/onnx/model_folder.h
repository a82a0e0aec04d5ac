/* embed/onnx/model_folder.h - what the files of a model folder say, and what the options make of it.
 *
 * Read are, as sentence-transformers writes them: modules.json, sentence_bert_config.json, the pooling module's
 * config.json, config.json, and tokenizer.json (embed/wordpiece.h). Only the graph (model.onnx or onnx/model.onnx) and
 * tokenizer.json must be there; what the others leave open is taken from the model table (embed/embedder.h) by the
 * model's name or the folder's, and after that: mean pooling, unit length, 512 tokens.
 * Options go before files, files before the table. Threads: plain data.
 */
#ifndef REEMBED_EMBED_ONNX_MODEL_FOLDER_H
#define REEMBED_EMBED_ONNX_MODEL_FOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "embed/embedder.h"
#include "embed/wordpiece.h"

struct model_folder {
    char graph[PATH_MAX];        /* the .onnx file */
    struct wordpiece *tokenizer; /* owned */
    enum pooling pooling;
    bool normalize;
    size_t max_tokens; /* of one text, special tokens counted */
};

/* RC_INVALID with what is missing or unsupported, and what to do. */
enum rc model_folder_open(const struct provider_options *options, struct model_folder *ret_folder, struct err *err);

void model_folder_close(struct model_folder *folder); /* what was never opened but zeroed is fine */

#endif
