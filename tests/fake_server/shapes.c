#include "tests/fake_server/shapes.h"

#include <string.h>

#define RATE_OPENAI                                                                                                    \
    {                                                                                                                  \
        429, "requests", "rate_limit_exceeded",                                                                        \
            "Rate limit reached for $MODEL on requests per min (RPM): Limit $LIMIT, Used $GIVEN, Requested 1."         \
    }
#define QUOTA_OPENAI                                                                                                   \
    {                                                                                                                  \
        429, "insufficient_quota", "insufficient_quota",                                                               \
            "You exceeded your current quota, please check your plan and billing details."                             \
    }
#define KEY_OPENAI                                                                                                     \
    {                                                                                                                  \
        401, "invalid_request_error", "invalid_api_key",                                                               \
            "Incorrect API key provided: $KEY. You can find your API key at your account's page."                      \
    }
#define MODEL_OPENAI                                                                                                   \
    {                                                                                                                  \
        404, "invalid_request_error", "model_not_found", "The model `$MODEL` does not exist."                          \
    }
#define NO_DIMENSIONS                                                                                                  \
    {                                                                                                                  \
        400, "invalid_request_error", NULL, "This model does not support specifying dimensions."                       \
    }
#define NO_ENCODING                                                                                                    \
    {                                                                                                                  \
        400, "invalid_request_error", NULL, "encoding_format: base64 is not one of the values: float"                  \
    }

const struct shape shapes[] = {
    {.name = "openai",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .encoding = "encoding_format",
     .dimensions = "dimensions",
     .max_items = 2048,
     .max_request_tokens = 300000,
     .names_index = true,
     .too_many =
         {400, "invalid_request_error", "array_above_max_length",
          "Invalid 'input': array too long. Expected an array with maximum length $LIMIT, but got an array with "
          "length $GIVEN instead."},
     .too_many_tokens = {400, "max_tokens_per_request", "max_tokens_per_request",
                         "Requested $GIVEN tokens, max $LIMIT tokens per request"},
     .too_long = {400, "invalid_request_error", NULL,
                  "Invalid 'input[$INDEX]': maximum input length is $LIMIT tokens."},
     .bad_key = KEY_OPENAI,
     .no_model = MODEL_OPENAI,
     .rate = RATE_OPENAI,
     .quota = QUOTA_OPENAI,
     .bad_encoding = NO_ENCODING,
     .bad_dimensions = NO_DIMENSIONS},
    {.name = "azure",
     .path = "/openai/deployments/$MODEL/embeddings",
     .query = "api-version=",
     .key_header = "api-key",
     .key_prefix = "",
     .texts = "input",
     .echoes_model = true,
     .encoding = "encoding_format",
     .dimensions = "dimensions",
     .max_items = 2048,
     .max_request_tokens = 300000,
     .too_many = {400, "invalid_request_error", NULL,
                  "Too many inputs. The max number of inputs is $LIMIT. We hope to increase the number of inputs per "
                  "request soon."},
     .too_many_tokens = {400, "max_tokens_per_request", "max_tokens_per_request",
                         "Requested $GIVEN tokens, max $LIMIT tokens per request"},
     .too_long =
         {400, "invalid_request_error", NULL,
          "This model's maximum context length is $LIMIT tokens, however you requested $GIVEN tokens ($GIVEN in "
          "your prompt; 0 for the completion). Please reduce your prompt; or completion length."},
     .bad_key = {401, NULL, "401", "Access denied due to invalid subscription key or wrong API endpoint."},
     .no_model = {404, NULL, "DeploymentNotFound", "The API deployment for this resource does not exist."},
     .rate = {429, NULL, "429", "Requests have exceeded call rate limit of your current pricing tier."},
     .quota = QUOTA_OPENAI,
     .bad_encoding = NO_ENCODING,
     .bad_dimensions = NO_DIMENSIONS},
    {.name = "tei",
     .path = "/embed",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "inputs",
     .dimensions = "dimensions",
     .truncate = "truncate",
     .truncate_on = "true",
     .max_items = 32,
     .reply = REPLY_FORM_TEI,
     .error = ERROR_FORM_TEI,
     .too_many = {413, "Validation", NULL, "batch size $GIVEN > maximum allowed batch size $LIMIT"},
     .too_long = {413, "Validation", NULL,
                  "Input validation error: `inputs` must have less than $LIMIT tokens. Given: $GIVEN"},
     .bad_key = {401, "Unauthorized", NULL, "Unauthorized"},
     .rate = {429, "Overloaded", NULL, "Model is overloaded"},
     .quota = {402, "Quota", NULL, "no credits left"},
     .bad_dimensions = {422, "Validation", NULL, "`dimensions` is not supported by this model"}},
    {.name = "tei-openai",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .echoes_model = true,
     .encoding = "encoding_format",
     .dimensions = "dimensions",
     .max_items = 32,
     .error = ERROR_FORM_TEI,
     .too_many = {413, "Validation", NULL, "batch size $GIVEN > maximum allowed batch size $LIMIT"},
     .too_long = {413, "Validation", NULL,
                  "Input validation error: `inputs` must have less than $LIMIT tokens. Given: $GIVEN"},
     .bad_key = {401, "Unauthorized", NULL, "Unauthorized"},
     .rate = {429, "Overloaded", NULL, "Model is overloaded"},
     .quota = {402, "Quota", NULL, "no credits left"},
     .bad_encoding = {422, "Validation", NULL, "unknown variant `base64`, expected `float`"},
     .bad_dimensions = {422, "Validation", NULL, "`dimensions` is not supported by this model"}},
    {.name = "vllm",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .encoding = "encoding_format",
     .dimensions = "dimensions",
     .truncate = "truncate_prompt_tokens",
     .truncate_on = "-1",
     .error = ERROR_FORM_MISTRAL,
     .too_many = {400, "BadRequestError", "400", "at most $LIMIT texts"},
     .too_long = {400, "BadRequestError", "400",
                  "This model's maximum context length is $LIMIT tokens. However, you requested $GIVEN tokens in the "
                  "input for embedding generation. Please reduce the length of the input."},
     .bad_key = {401, NULL, NULL, "Unauthorized"},
     .no_model = {404, "NotFoundError", "404", "The model `$MODEL` does not exist."},
     .rate = {429, "TooManyRequests", "429", "too many requests"},
     .quota = {402, "Quota", "402", "no credits left"},
     .bad_encoding = NO_ENCODING,
     .bad_dimensions = {400, "BadRequestError", "400",
                        "Model \"$MODEL\" does not support matryoshka representation, changing output dimensions will "
                        "lead to poor results."}},
    {.name = "ollama",
     .path = "/api/embed",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .dimensions = "dimensions",
     .truncate = "truncate",
     .truncate_on = "true",
     .truncate_default = true,
     .reply = REPLY_FORM_OLLAMA,
     .error = ERROR_FORM_OLLAMA,
     .too_many = {400, NULL, NULL, "at most $LIMIT texts"},
     .too_long = {400, NULL, NULL, "the input length exceeds the context length"},
     .bad_key = {401, NULL, NULL, "unauthorized"},
     .no_model = {404, NULL, NULL, "model \"$MODEL\" not found, try pulling it first"},
     .rate = {429, NULL, NULL, "server busy, please try again. maximum pending requests exceeded"},
     .quota = {402, NULL, NULL, "no credits left"},
     .bad_dimensions = {400, NULL, NULL, "this model does not support specifying dimensions"}},
    {.name = "llama-server",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .echoes_model = true,
     .encoding = "encoding_format",
     .error = ERROR_FORM_LLAMA,
     .too_many = {400, "invalid_request_error", NULL, "at most $LIMIT texts"},
     .too_long =
         {500, "server_error", NULL,
          "input ($GIVEN tokens) is too large to process. increase the physical batch size (current batch size: "
          "$LIMIT)"},
     .bad_key = {401, "authentication_error", NULL, "Invalid API Key"},
     .no_model = {404, "not_found_error", NULL, "model not found"},
     .rate = {503, "unavailable_error", NULL, "Loading model"},
     .quota = {402, "quota", NULL, "no credits left"},
     .bad_encoding = {400, "invalid_request_error", NULL,
                      "The format to return the embeddings in. Can be either float or base64"}},
    {.name = "infinity",
     .path = "/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .encoding = "encoding_format",
     .dimensions = "dimensions",
     .always_truncates = true,
     .max_items = 2048,
     .error = ERROR_FORM_DETAIL,
     .too_many = {422, NULL, NULL, "List should have at most $LIMIT items after validation, not $GIVEN"},
     .bad_key = {401, NULL, NULL, "Unauthorized"},
     .no_model = {400, NULL, NULL, "Invalid model: $MODEL. Model not found."},
     .rate = {429, NULL, NULL, "model overloaded, try again later"},
     .quota = {402, NULL, NULL, "no credits left"},
     .bad_encoding = {422, NULL, NULL, "encoding_format: Input should be 'float'"},
     .bad_dimensions = {422, NULL, NULL, "dimensions: Extra inputs are not permitted"}},
    {.name = "localai",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .encoding = "encoding_format",
     .error = ERROR_FORM_LLAMA,
     .too_many = {500, NULL, NULL, "too many texts"},
     .too_long = {500, NULL, NULL,
                  "rpc error: code = Unknown desc = input is too large to process. increase the physical batch size"},
     .bad_key = {401, NULL, NULL, "An authentication key is required"},
     .no_model = {404, NULL, NULL, "model not found"},
     .rate = {429, NULL, NULL, "busy"},
     .quota = {402, NULL, NULL, "no credits left"},
     .bad_encoding = NO_ENCODING},
    {.name = "voyage",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .encoding = "encoding_format",
     .dimensions = "output_dimension",
     .truncate = "truncation",
     .truncate_on = "true",
     .truncate_default = true,
     .max_items = 1000,
     .max_request_tokens = 120000,
     .error = ERROR_FORM_DETAIL,
     .names_index = true,
     .too_many = {400, NULL, NULL, "The batch size limit is $LIMIT. Your batch size is $GIVEN."},
     .too_many_tokens = {400, NULL, NULL,
                         "Request to model '$MODEL' failed. The max allowed tokens per submitted batch is $LIMIT. Your "
                         "batch has $GIVEN tokens after truncation."},
     .too_long = {400, NULL, NULL,
                  "Request to model '$MODEL' failed. The example at index $INDEX in your batch has too many tokens and "
                  "does not fit into the model's context window of $LIMIT tokens. Please lower the number of tokens in "
                  "the listed example(s) or use truncation."},
     .bad_key = {401, NULL, NULL, "Provided API key is invalid."},
     .no_model = {400, NULL, NULL, "Model $MODEL is not supported. Supported models are ['voyage-3-large']."},
     .rate = {429, NULL, NULL, "You have exceeded the rate limit of $LIMIT requests per minute."},
     .quota = {402, NULL, NULL, "no credits left"},
     .bad_encoding = {400, NULL, NULL, "encoding_format must be null"},
     .bad_dimensions = {400, NULL, NULL, "output_dimension: this model does not support specifying dimensions"}},
    {.name = "cohere",
     .path = "/v2/embed",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "texts",
     .has_model = true,
     .encoding = "embedding_types",
     .dimensions = "output_dimension",
     .truncate = "truncate",
     .truncate_on = "\"END\"",
     .truncate_default = true,
     .input_type = "input_type",
     .max_items = 96,
     .reply = REPLY_FORM_COHERE,
     .error = ERROR_FORM_MESSAGE,
     .too_many = {400, NULL, NULL, "invalid request: total number of texts must be at most $LIMIT - received $GIVEN"},
     .too_long = {400, NULL, NULL,
                  "too many tokens: max tokens per text must be less than or equal to $LIMIT - received $GIVEN"},
     .bad_key = {401, NULL, NULL, "invalid api token"},
     .no_model = {404, NULL, NULL, "model '$MODEL' not found"},
     .rate = {429, NULL, NULL, "You are using a Trial key, which is limited to $LIMIT API calls / minute."},
     .quota = {429, NULL, NULL, "You are using a Trial key, which is limited to 1000 API calls / month."},
     .bad_encoding = {400, NULL, NULL, "invalid request: embedding_types must be one of float, int8"},
     .bad_dimensions = {400, NULL, NULL, "invalid request: this model does not support specifying dimensions"}},
    {.name = "jina",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .encoding = "embedding_type",
     .dimensions = "dimensions",
     .truncate = "truncate",
     .truncate_on = "true",
     .max_items = 512,
     .error = ERROR_FORM_JINA,
     .too_many = {400, NULL, NULL, "Batch size exceeds the limit of $LIMIT"},
     .too_long = {400, NULL, "INPUT_TOKEN_LIMIT_EXCEEDED",
                  "Input text exceeds the model's maximum of $LIMIT tokens. Use 'truncate: true' to automatically "
                  "truncate, or split into smaller chunks."},
     .bad_key = {401, NULL, NULL, "Unauthorized"},
     .no_model = {404, NULL, NULL, "Model not found: $MODEL"},
     .rate = {429, NULL, "RATE_REQUEST_LIMIT_EXCEEDED", "Rate limit exceeded"},
     .quota = {402, NULL, NULL, "Insufficient balance"},
     .bad_encoding = {422, NULL, NULL, "embedding_type: Input should be 'float'"},
     .bad_dimensions = {400, NULL, NULL, "this model does not support specifying dimensions"}},
    {.name = "mistral",
     .path = "/v1/embeddings",
     .key_header = "authorization",
     .key_prefix = "Bearer ",
     .texts = "input",
     .has_model = true,
     .echoes_model = true,
     .encoding = "encoding_format",
     .dimensions = "output_dimension",
     .max_items = 256,
     .max_request_tokens = 16384,
     .error = ERROR_FORM_MISTRAL,
     .names_index = true,
     .too_many = {400, "invalid_request_prompt", "3210", "Too many inputs in request, split into more batches."},
     .too_many_tokens = {400, "invalid_request_prompt", "3210", "Too many tokens overall, split into more batches."},
     .too_long = {400, "invalid_request_prompt", "3210",
                  "Input id $INDEX has $GIVEN tokens, exceeding max $LIMIT tokens."},
     .bad_key = {401, NULL, NULL, "Unauthorized"},
     .no_model = {400, "invalid_model", "1500", "Invalid model: $MODEL"},
     .rate = {429, NULL, "1300", "Requests rate limit exceeded"},
     .quota = {402, NULL, NULL, "no credits left"},
     .bad_encoding = {422, NULL, NULL, "encoding_format: Input should be 'float'"},
     .bad_dimensions = {400, NULL, NULL, "this model does not support specifying dimensions"}},
    {.name = "gemini",
     .path = "/v1beta/models/$MODEL:batchEmbedContents",
     .key_header = "x-goog-api-key",
     .key_prefix = "",
     .texts = "requests",
     .dimensions = "outputDimensionality",
     .input_type = "taskType",
     .max_items = 100,
     .reply = REPLY_FORM_GEMINI,
     .error = ERROR_FORM_GEMINI,
     .too_many = {400, "INVALID_ARGUMENT", NULL,
                  "* BatchEmbedContentsRequest.requests: at most $LIMIT requests can be in one batch"},
     .too_long =
         {400, "INVALID_ARGUMENT", NULL,
          "Unable to submit request because the input token count is $GIVEN but the model supports up to $LIMIT."},
     .bad_key = {400, "INVALID_ARGUMENT", NULL, "API key not valid. Please pass a valid API key."},
     .no_model = {404, "NOT_FOUND", NULL, "models/$MODEL is not found for API version v1beta."},
     .rate = {429, "RESOURCE_EXHAUSTED", NULL,
              "You exceeded your current quota, please check your plan and billing details."},
     .quota = {429, "RESOURCE_EXHAUSTED", NULL,
               "You exceeded your current quota. quotaId: EmbedContentRequestsPerDayPerUserPerProjectPerModel"}},
    {.name = NULL},
};

const struct shape *
shape_find(const char *name)
{
    for (const struct shape *shape = shapes; shape->name != NULL; shape++)
        if (strcmp(shape->name, name) == 0)
            return shape;
    return NULL;
}

static void
add_message(struct strbuf *out, const char *message, const struct error_values *values)
{
    struct strbuf plain;

    strbuf_init(&plain, 65536);
    while (*message != '\0') {
        if (strncmp(message, "$LIMIT", 6) == 0) {
            strbuf_printf(&plain, "%lld", values->limit);
            message += 6;
        } else if (strncmp(message, "$GIVEN", 6) == 0) {
            strbuf_printf(&plain, "%lld", values->given);
            message += 6;
        } else if (strncmp(message, "$INDEX", 6) == 0) {
            strbuf_printf(&plain, "%lld", values->index);
            message += 6;
        } else if (strncmp(message, "$KEY", 4) == 0) {
            strbuf_puts(&plain, values->key != NULL ? values->key : "");
            message += 4;
        } else if (strncmp(message, "$MODEL", 6) == 0) {
            strbuf_puts(&plain, values->model != NULL ? values->model : "");
            message += 6;
        } else {
            strbuf_putc(&plain, *message++);
        }
    }
    strbuf_json(out, strbuf_text(&plain), plain.length);
    strbuf_free(&plain);
}

static void
add_text(struct strbuf *out, const char *text)
{
    if (text == NULL)
        strbuf_puts(out, "null");
    else
        strbuf_json(out, text, strlen(text));
}

void
shape_error_body(const struct shape *shape, const struct shape_error *error, const struct error_values *values,
                 struct strbuf *body)
{
    const char *message = error->message != NULL ? error->message : "no";

    switch (shape->error) {
    case ERROR_FORM_OPENAI:
        strbuf_puts(body, "{\"error\":{\"message\":");
        add_message(body, message, values);
        strbuf_puts(body, ",\"type\":");
        add_text(body, error->type);
        strbuf_puts(body, ",\"param\":null,\"code\":");
        add_text(body, error->code);
        strbuf_puts(body, "}}");
        break;
    case ERROR_FORM_TEI:
        strbuf_puts(body, "{\"error\":");
        add_message(body, message, values);
        strbuf_puts(body, ",\"error_type\":");
        add_text(body, error->type);
        strbuf_puts(body, "}");
        break;
    case ERROR_FORM_OLLAMA:
    case ERROR_FORM_DETAIL:
    case ERROR_FORM_MESSAGE:
        strbuf_puts(body, shape->error == ERROR_FORM_OLLAMA   ? "{\"error\":"
                          : shape->error == ERROR_FORM_DETAIL ? "{\"detail\":"
                                                              : "{\"message\":");
        add_message(body, message, values);
        strbuf_puts(body, "}");
        break;
    case ERROR_FORM_GEMINI:
        strbuf_printf(body, "{\"error\":{\"code\":%d,\"message\":", error->status);
        add_message(body, message, values);
        strbuf_puts(body, ",\"status\":");
        add_text(body, error->type);
        if (values->retry_ms > 0)
            strbuf_printf(body,
                          ",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":"
                          "\"%lld.%03llds\"}]",
                          values->retry_ms / 1000, values->retry_ms % 1000);
        strbuf_puts(body, "}}");
        break;
    case ERROR_FORM_MISTRAL:
        strbuf_puts(body, "{\"object\":\"error\",\"message\":");
        add_message(body, message, values);
        strbuf_puts(body, ",\"type\":");
        add_text(body, error->type);
        strbuf_puts(body, ",\"param\":null,\"code\":");
        add_text(body, error->code);
        strbuf_puts(body, "}");
        break;
    case ERROR_FORM_LLAMA:
        strbuf_printf(body, "{\"error\":{\"code\":%d,\"message\":", error->status);
        add_message(body, message, values);
        strbuf_puts(body, ",\"type\":");
        add_text(body, error->type);
        strbuf_puts(body, "}}");
        break;
    case ERROR_FORM_JINA:
        strbuf_puts(body, "{\"detail\":{\"message\":");
        add_message(body, message, values);
        strbuf_puts(body, ",\"code\":");
        add_text(body, error->code);
        strbuf_puts(body, "}}");
        break;
    }
}
