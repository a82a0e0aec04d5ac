#include <ctype.h>
#include <string.h>

#include "embed/embedder.h"

/* From the model cards; dimensions are the native ones. The first prefix goes before documents, the second before
 * queries. Names are lower case, with "-" for "_". */
static const struct model_facts models[] = {
    {"bge-small-en-v1.5", 384, 512, POOLING_CLS, NULL, "Represent this sentence for searching relevant passages: ", 384,
     true, false},
    {"bge-base-en-v1.5", 768, 512, POOLING_CLS, NULL, "Represent this sentence for searching relevant passages: ", 768,
     true, false},
    {"bge-large-en-v1.5", 1024, 512, POOLING_CLS, NULL,
     "Represent this sentence for searching relevant passages: ", 1024, true, false},
    {"multilingual-e5-small", 384, 512, POOLING_MEAN, "passage: ", "query: ", 384, false, false},
    {"multilingual-e5-base", 768, 512, POOLING_MEAN, "passage: ", "query: ", 768, false, false},
    {"all-minilm-l6-v2", 384, 256, POOLING_MEAN, NULL, NULL, 384, true, false},
    {"paraphrase-minilm-l3-v2", 384, 128, POOLING_MEAN, NULL, NULL, 384, true, false},
    {"paraphrase-multilingual-minilm-l12-v2", 384, 128, POOLING_MEAN, NULL, NULL, 384, false, false},
    {"all-mpnet-base-v2", 768, 384, POOLING_MEAN, NULL, NULL, 768, true, false},
    {"qwen3-embedding-0.6b", 1024, 8192, POOLING_LAST, NULL,
     "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ", 32, false, true},
    {"qwen3-embedding-4b", 2560, 8192, POOLING_LAST, NULL,
     "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ", 32, false, true},
    {"text-embedding-3-small", 1536, 8191, POOLING_UNSET, NULL, NULL, 1, false, true},
    {"text-embedding-3-large", 3072, 8191, POOLING_UNSET, NULL, NULL, 1, false, true},
};

static bool
name_matches(const char *given, const char *known)
{
    for (; *given && *known; given++, known++)
        if ((*given == '_' ? '-' : tolower((unsigned char)*given)) != *known)
            return false;
    return *given == *known;
}

const struct model_facts *
model_find(const char *name)
{
    const char *slash = name ? strrchr(name, '/') : NULL;

    if (!name)
        return NULL;
    if (slash)
        name = slash + 1;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (name_matches(name, models[i].name))
            return &models[i];
    return NULL;
}

const struct model_facts *
model_at(size_t place)
{
    return place < sizeof models / sizeof models[0] ? &models[place] : NULL;
}
