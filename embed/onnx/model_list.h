/* embed/onnx/model_list.h - the model folders that one folder holds, as `model list` shows and `new` offers them.
 *
 * A folder is one when it has a tokenizer.json or a graph. It is usable when the onnx provider would take its files.
 * Ownership: a list owns its models. Threads: plain data.
 */
#ifndef REEMBED_EMBED_ONNX_MODEL_LIST_H
#define REEMBED_EMBED_ONNX_MODEL_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "embed/embedder.h"

#define MODELS_DEFAULT_FOLDER "models"
/* What `model pull` leaves in a folder that it made: where it came from. */
#define MODEL_RECORD "reembed-model.json"

struct local_model {
    char *name; /* the folder's, which is the model's */
    char *path;
    size_t dimensions; /* 0: not known */
    enum pooling pooling;
    size_t max_tokens; /* of one text, special tokens counted; 0: not known */
    uint64_t bytes;    /* of all its files */
    bool usable;
    char problem[512]; /* why not */
    char *repository;  /* NULL: no pull has made it */
    char commit[65];   /* "": not known */
};

struct model_list {
    struct local_model *models; /* by name */
    size_t count;
};

/* A folder that is not there holds none. */
enum rc model_list_read(const char *folder, struct model_list *ret_list, struct err *err);
void model_list_free(struct model_list *list); /* one of zeros is fine */

/* One folder, in the same words. What is wrong with it is in `problem`. */
enum rc local_model_read(const char *folder, const char *name, struct local_model *ret_model, struct err *err);
void local_model_free(struct local_model *model);

const char *pooling_name(enum pooling pooling); /* "mean", "cls", "last"; "" when unset */

#endif
