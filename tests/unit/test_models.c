#include <criterion/criterion.h>
#include <string.h>

#include "embed/embedder.h"

#define BGE_QUERY  "Represent this sentence for searching relevant passages: "
#define QWEN_QUERY "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "

Test(models, knows_the_usual_ones)
{
    static const struct model_facts expected[] = {
        {"bge-small-en-v1.5", 384, 512, POOLING_CLS, NULL, BGE_QUERY, 384, true, false},
        {"bge-base-en-v1.5", 768, 512, POOLING_CLS, NULL, BGE_QUERY, 768, true, false},
        {"bge-large-en-v1.5", 1024, 512, POOLING_CLS, NULL, BGE_QUERY, 1024, true, false},
        {"multilingual-e5-small", 384, 512, POOLING_MEAN, "passage: ", "query: ", 384, false, false},
        {"multilingual-e5-base", 768, 512, POOLING_MEAN, "passage: ", "query: ", 768, false, false},
        {"all-minilm-l6-v2", 384, 256, POOLING_MEAN, NULL, NULL, 384, true, false},
        {"paraphrase-minilm-l3-v2", 384, 128, POOLING_MEAN, NULL, NULL, 384, true, false},
        {"paraphrase-multilingual-minilm-l12-v2", 384, 128, POOLING_MEAN, NULL, NULL, 384, false, false},
        {"all-mpnet-base-v2", 768, 384, POOLING_MEAN, NULL, NULL, 768, true, false},
        {"qwen3-embedding-0.6b", 1024, 8192, POOLING_LAST, NULL, QWEN_QUERY, 32, false, true},
        {"qwen3-embedding-4b", 2560, 8192, POOLING_LAST, NULL, QWEN_QUERY, 32, false, true},
        {"text-embedding-3-small", 1536, 8191, POOLING_UNSET, NULL, NULL, 1, false, true},
        {"text-embedding-3-large", 3072, 8191, POOLING_UNSET, NULL, NULL, 1, false, true},
    };

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct model_facts *want = &expected[i], *got = model_find(want->name);

        cr_assert_not_null(got, "%s", want->name);
        cr_assert_eq(got->dimensions, want->dimensions);
        cr_assert_eq(got->max_tokens, want->max_tokens);
        cr_assert_eq(got->pooling, want->pooling);
        cr_assert_eq(got->min_dimensions, want->min_dimensions);
        cr_assert_eq(got->in_process, want->in_process);
        cr_assert_eq(got->dimensions_parameter, want->dimensions_parameter);
        cr_assert_eq(got->document_prefix != NULL, want->document_prefix != NULL);
        cr_assert_eq(got->query_prefix != NULL, want->query_prefix != NULL);
        cr_assert(!want->document_prefix || strcmp(got->document_prefix, want->document_prefix) == 0);
        cr_assert(!want->query_prefix || strcmp(got->query_prefix, want->query_prefix) == 0);
    }
}

Test(models, finds_a_name_however_it_is_written)
{
    cr_assert_str_eq(model_find("sentence-transformers/All_MiniLM_L6_v2")->name, "all-minilm-l6-v2");
    cr_assert_str_eq(model_find("BAAI/bge-small-en-v1.5")->name, "bge-small-en-v1.5");
    cr_assert_null(model_find("all-minilm-l6"));
    cr_assert_null(model_find("all-minilm-l6-v2-int8"));
    cr_assert_null(model_find(""));
    cr_assert_null(model_find(NULL));
}
