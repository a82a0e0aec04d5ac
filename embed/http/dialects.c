/* The public documentation that each row follows is named in docs/dialects.md. */
#include <string.h>
#include <strings.h>

#include "base/nearest.h"
#include "embed/http/dialect.h"

#define OPENAI_REPLY                                                                                                   \
    {                                                                                                                  \
        .vectors = {"data[].embedding"}, .index = "data[].index", .model = "model", .tokens = {                        \
            "usage.prompt_tokens",                                                                                     \
            "usage.total_tokens",                                                                                      \
            "usage.tokens"                                                                                             \
        }                                                                                                              \
    }

const struct dialect dialects[] = {
    {
        .name = "openai",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\","
                "\"dimensions\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .max_items = 2048,
        .max_request_tokens = 300000,
        .reply = OPENAI_REPLY,
        .model_is_told = true,
    },
    {
        .name = "azure",
        .path = "/openai/deployments/$model/embeddings",
        .query = "api-version=2024-10-21",
        .key_header = "api-key",
        .key_prefix = "",
        .body = "{\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\",\"dimensions\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .max_items = 2048,
        .max_request_tokens = 300000,
        .reply = OPENAI_REPLY,
    },
    {
        .name = "tei",
        .path = "/embed",
        .base_drop = "/v1",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"inputs\":[\"$texts\"],\"truncate\":\"$truncate\",\"dimensions\":\"$dimensions\"}",
        .text = "\"$text\"",
        .truncate_off = "false",
        .truncate_on = "true",
        .max_items = 32,
        .info_path = "/info",
        .info_base_drop = "/v1",
        .info_max_items = "max_client_batch_size",
        .info_max_text_tokens = "max_input_length",
        .reply = {.vectors = {"[]"}},
        .tokens_header = "x-compute-tokens",
    },
    {
        .name = "tei-openai",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\","
                "\"dimensions\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .max_items = 32,
        .info_path = "/info",
        .info_base_drop = "/v1",
        .info_max_items = "max_client_batch_size",
        .info_max_text_tokens = "max_input_length",
        .reply = OPENAI_REPLY,
    },
    {
        .name = "vllm",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\","
                "\"dimensions\":\"$dimensions\",\"truncate_prompt_tokens\":\"$truncate\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .truncate_on = "-1",
        .reply = OPENAI_REPLY,
        .model_is_told = true,
    },
    {
        .name = "ollama",
        .path = "/api/embed",
        .base_drop = "/v1",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"truncate\":\"$truncate\","
                "\"dimensions\":\"$dimensions\"}",
        .text = "\"$text\"",
        .truncate_off = "false",
        .truncate_on = "true",
        .reply = {.vectors = {"embeddings[]"}, .model = "model", .tokens = {"prompt_eval_count"}},
        .model_is_told = true,
    },
    {
        .name = "llama-server",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .reply = OPENAI_REPLY,
    },
    {
        .name = "infinity",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\","
                "\"dimensions\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .max_items = 2048,
        .reply = OPENAI_REPLY,
        .model_is_told = true,
    },
    {
        .name = "localai",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .reply = OPENAI_REPLY,
    },
    {
        .name = "voyage",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"input_type\":\"$input\",\"truncation\":\"$truncate\","
                "\"encoding_format\":\"$encoding\",\"output_dimension\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_base64 = "\"base64\"",
        .input_document = "\"document\"",
        .input_query = "\"query\"",
        .truncate_off = "false",
        .truncate_on = "true",
        .max_items = 1000,
        .max_request_tokens = 120000,
        .reply = OPENAI_REPLY,
        .model_is_told = true,
    },
    {
        .name = "cohere",
        .path = "/v2/embed",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"texts\":[\"$texts\"],\"input_type\":\"$input\",\"truncate\":\"$truncate\","
                "\"embedding_types\":\"$encoding\",\"output_dimension\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_floats = "[\"float\"]",
        .encoding_base64 = "[\"base64\"]",
        .input_document = "\"search_document\"",
        .input_query = "\"search_query\"",
        .truncate_off = "\"NONE\"",
        .truncate_on = "\"END\"",
        .max_items = 96,
        .reply = {.vectors = {"embeddings.float[]", "embeddings.base64[]"},
                  .tokens = {"meta.billed_units.input_tokens", "meta.tokens.input_tokens"}},
    },
    {
        .name = "jina",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"task\":\"$input\",\"truncate\":\"$truncate\","
                "\"embedding_type\":\"$encoding\",\"dimensions\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .input_document = "\"retrieval.passage\"",
        .input_query = "\"retrieval.query\"",
        .truncate_off = "false",
        .truncate_on = "true",
        .max_items = 512,
        .reply = OPENAI_REPLY,
        .model_is_told = true,
    },
    {
        .name = "mistral",
        .path = "/embeddings",
        .key_header = "Authorization",
        .key_prefix = "Bearer ",
        .body = "{\"model\":\"$model\",\"input\":[\"$texts\"],\"encoding_format\":\"$encoding\","
                "\"output_dimension\":\"$dimensions\"}",
        .text = "\"$text\"",
        .encoding_floats = "\"float\"",
        .encoding_base64 = "\"base64\"",
        .max_items = 256,
        .max_request_tokens = 16384,
        .reply = OPENAI_REPLY,
        .model_is_told = true,
    },
    {
        .name = "gemini",
        .path = "/models/$model:batchEmbedContents",
        .model_drop = "models/",
        .key_header = "x-goog-api-key",
        .key_prefix = "",
        .body = "{\"requests\":[\"$texts\"]}",
        .text = "{\"model\":\"models/$model\",\"content\":{\"parts\":[{\"text\":\"$text\"}]},"
                "\"taskType\":\"$input\",\"outputDimensionality\":\"$dimensions\"}",
        .input_document = "\"RETRIEVAL_DOCUMENT\"",
        .input_query = "\"RETRIEVAL_QUERY\"",
        .sends_dimensions = true,
        .max_items = 100,
        .reply = {.vectors = {"embeddings[].values"}, .tokens = {"usageMetadata.promptTokenCount"}},
    },
    {.name = NULL},
};

enum { DIALECTS_MAX = 64 };
_Static_assert(sizeof dialects / sizeof dialects[0] <= DIALECTS_MAX, "the list of names below is too short");

enum rc
dialect_find(const char *name, const struct dialect **ret_dialect, struct err *err)
{
    const char *names[DIALECTS_MAX];
    size_t count = 0;

    for (const struct dialect *dialect = dialects; dialect->name != NULL; dialect++) {
        if (name == NULL || strcasecmp(name, dialect->name) == 0) {
            *ret_dialect = dialect;
            return RC_OK;
        }
        names[count++] = dialect->name;
    }
    names[count] = NULL;
    err_set(err, RC_INVALID, ERR_USAGE, "provider.dialect: there is no dialect \"%s\"", name);
    const char *nearest = nearest_name(name, names);
    if (nearest != NULL)
        err_hint(err, "did you mean \"%s\"?", nearest);
    else
        err_hint(err, "\"openai\" fits most servers; docs/dialects.md lists all");
    return RC_INVALID;
}

const char *
dialect_model(const struct dialect *dialect, const char *model)
{
    size_t drop = dialect->model_drop != NULL ? strlen(dialect->model_drop) : 0;

    return drop > 0 && strncmp(model, dialect->model_drop, drop) == 0 ? model + drop : model;
}

/* Without an organisation ("BAAI/", "models/") and a tag. */
static const char *
bare_name(const char *name, size_t *ret_length)
{
    static const char latest[] = ":latest";
    const char *slash = strrchr(name, '/');
    const char *bare = slash != NULL ? slash + 1 : name;

    *ret_length = strlen(bare);
    if (*ret_length > sizeof latest - 1 && strcasecmp(bare + *ret_length - (sizeof latest - 1), latest) == 0)
        *ret_length -= sizeof latest - 1;
    return bare;
}

bool
dialect_same_model(const char *asked, const char *answered)
{
    size_t asked_length, answered_length;

    asked = bare_name(asked, &asked_length);
    answered = bare_name(answered, &answered_length);
    if (strncasecmp(asked, answered, asked_length < answered_length ? asked_length : answered_length) != 0)
        return false;
    if (asked_length == answered_length)
        return true;
    /* What follows must be a version, so that "e5-small" and "e5-small-multilingual" stay different. */
    const char *rest = asked_length < answered_length ? answered + asked_length : asked + answered_length;
    return (rest[0] == '-' || rest[0] == '@') && (rest[1] == 'v' || (rest[1] >= '0' && rest[1] <= '9'));
}
