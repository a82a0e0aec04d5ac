#include "corpus.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum rc
add_line(struct corpus *corpus, const char *line, size_t length, size_t number, struct err *err)
{
    cJSON *root = cJSON_ParseWithLength(line, length);
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(root, "text");
    struct document *grown;

    if (!cJSON_IsString(text)) {
        cJSON_Delete(root);
        return err_set(err, RC_INVALID, ERR_USAGE, "line %zu holds no \"text\"", number);
    }
    grown = realloc(corpus->documents, (corpus->count + 1) * sizeof *grown);
    if (grown)
        corpus->documents = grown;
    char *copy = strdup(text->valuestring);
    cJSON_Delete(root);
    if (!grown || !copy) {
        free(copy);
        return err_memory(err);
    }
    grown[corpus->count++] = (struct document){.bytes = copy, .length = strlen(copy)};
    corpus->bytes += strlen(copy);
    return RC_OK;
}

enum rc
corpus_read(const char *path, size_t limit, struct corpus *ret_corpus, struct err *err)
{
    struct corpus corpus = {.documents = NULL};
    FILE *file = fopen(path, "rb");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    enum rc rc = RC_OK;

    if (!file)
        return err_set(err, RC_INVALID, ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
    while (rc == RC_OK && (limit == 0 || corpus.count < limit) && (length = getline(&line, &capacity, file)) > 0)
        rc = add_line(&corpus, line, (size_t)length, corpus.count + 1, err);
    free(line);
    fclose(file);
    if (rc == RC_OK && corpus.count == 0)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s holds no texts", path);
    if (rc != RC_OK)
        corpus_free(&corpus);
    else
        *ret_corpus = corpus;
    return rc;
}

static int
by_length(const void *left, const void *right)
{
    const struct encoded *a = left, *b = right;
    return a->length < b->length ? -1 : a->length > b->length;
}

enum rc
corpus_encode(struct corpus *corpus, const struct wordpiece *tokenizer, size_t max_tokens, struct err *err)
{
    struct wordpiece_ids ids = {.ids = NULL};
    enum rc rc = RC_OK;

    corpus->encoded = calloc(corpus->count, sizeof *corpus->encoded);
    corpus->sorted = calloc(corpus->count, sizeof *corpus->sorted);
    if (!corpus->encoded || !corpus->sorted)
        return err_memory(err);
    for (size_t i = 0; i < corpus->count && rc == RC_OK; i++) {
        const struct document *document = &corpus->documents[i];
        struct encoded *encoded = &corpus->encoded[i];

        rc = wordpiece_encode(tokenizer, document->bytes, document->length, max_tokens, &ids);
        if (rc == RC_OK && (encoded->ids = malloc(ids.count * sizeof *encoded->ids))) {
            memcpy(encoded->ids, ids.ids, ids.count * sizeof *encoded->ids);
            encoded->length = (uint32_t)ids.count;
            corpus->tokens += ids.count;
        } else {
            rc = err_memory(err);
        }
    }
    wordpiece_ids_free(&ids);
    memcpy(corpus->sorted, corpus->encoded, corpus->count * sizeof *corpus->sorted);
    qsort(corpus->sorted, corpus->count, sizeof *corpus->sorted, by_length);
    return rc;
}

void
corpus_free(struct corpus *corpus)
{
    for (size_t i = 0; i < corpus->count; i++) {
        free((char *)(uintptr_t)corpus->documents[i].bytes);
        if (corpus->encoded)
            free(corpus->encoded[i].ids);
    }
    free(corpus->documents);
    free(corpus->encoded);
    free(corpus->sorted);
    *corpus = (struct corpus){.documents = NULL};
}
