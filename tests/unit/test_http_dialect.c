#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "embed/http/dialect.h"
#include "embed/http/endpoint.h"
#include "embed/http/refusal.h"
#include "embed/http/request.h"

static const struct dialect *
find(const char *name)
{
    const struct dialect *dialect = NULL;

    cr_assert_eq(dialect_find(name, &dialect, NULL), RC_OK);
    return dialect;
}

Test(dialect, the_default_is_openai_and_case_is_free)
{
    cr_assert_str_eq(find(NULL)->name, "openai");
    cr_assert_str_eq(find("OpenAI")->name, "openai");
    cr_assert_str_eq(find("llama-server")->name, "llama-server");
}

Test(dialect, an_unknown_one_is_refused_with_the_nearest)
{
    const struct dialect *dialect = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(dialect_find("olama", &dialect, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "olama"));
    cr_assert_not_null(strstr(err.hint, "ollama"));
    cr_assert_eq(dialect_find("something else", &dialect, &err), RC_INVALID);
    cr_assert_null(dialect);
}

Test(dialect, every_row_is_whole)
{
    for (const struct dialect *dialect = dialects; dialect->name != NULL; dialect++) {
        struct reply_shape shape;
        struct request_form *form = NULL;

        cr_assert(reply_shape_compile(&dialect->reply, &shape), "%s", dialect->name);
        cr_assert_eq(request_form_make(dialect, "m", 8, NULL, &form, NULL), RC_OK, "%s", dialect->name);
        form = request_form_free(form);
        cr_assert(dialect->path[0] == '/' && dialect->key_header != NULL && dialect->key_prefix != NULL);
        cr_assert(dialect->encoding_base64 != NULL || strstr(dialect->body, "$encoding") == NULL);
        cr_assert_eq(dialect->info_path == NULL, dialect->info_max_items == NULL);
    }
}

Test(dialect, the_same_model_by_another_spelling)
{
    cr_assert(dialect_same_model("text-embedding-3-small", "text-embedding-3-small"));
    cr_assert(dialect_same_model("text-embedding-ada-002", "text-embedding-ada-002-v2"));
    cr_assert(dialect_same_model("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"));
    cr_assert(dialect_same_model("all-minilm", "all-minilm:latest"));
    cr_assert(dialect_same_model("Mistral-Embed", "mistral-embed-2312"));
    cr_assert_not(dialect_same_model("text-embedding-3-small", "text-embedding-3-large"));
    cr_assert_not(dialect_same_model("e5-small", "e5-small-multilingual"));
    cr_assert_not(dialect_same_model("all-minilm", "all-minilm:33m"));
    cr_assert_not(dialect_same_model("a", "b"));
    cr_assert_not(dialect_same_model("all-minilm", "all"));
}

/* --- addresses --- */

static enum rc
make(const char *dialect, const char *url, const char *key, struct endpoint *endpoint, struct err *err)
{
    const struct provider_options options = {
        .kind = PROVIDER_OPENAI, .model = "org/mo del", .url = url, .api_key = key, .send_dimensions = -1};

    *err = (struct err)ERR_INIT;
    return endpoint_make(find(dialect), &options, endpoint, err);
}

static void
goes_to(const char *dialect, const char *url, const char *wanted, const char *info)
{
    struct endpoint endpoint;
    struct err err;

    cr_assert_eq(make(dialect, url, NULL, &endpoint, &err), RC_OK, "%s: %s", url, err.message);
    cr_assert_str_eq(endpoint.url, wanted);
    if (info == NULL)
        cr_assert_null(endpoint.info_url);
    else
        cr_assert_str_eq(endpoint.info_url, info);
    endpoint_free(&endpoint);
}

Test(endpoint, the_dialect_adds_the_rest_of_the_address)
{
    goes_to("openai", "https://api.openai.com/v1", "https://api.openai.com/v1/embeddings", NULL);
    goes_to("openai", "https://api.openai.com/v1/", "https://api.openai.com/v1/embeddings", NULL);
    goes_to("openai", "https://api.openai.com/v1/embeddings", "https://api.openai.com/v1/embeddings", NULL);
    goes_to("openai", "http://h:81", "http://h:81/embeddings", NULL);
    goes_to("openai", "http://h/v1?team=a#x", "http://h/v1/embeddings?team=a", NULL);
    goes_to("azure", "https://r.openai.azure.com",
            "https://r.openai.azure.com/openai/deployments/org/mo%20del/embeddings?api-version=2024-10-21", NULL);
    goes_to("azure", "https://r.openai.azure.com/openai/deployments/org/mo%20del/?api-version=2023-05-15",
            "https://r.openai.azure.com/openai/deployments/org/mo%20del/embeddings?api-version=2023-05-15", NULL);
    goes_to("tei", "http://h:8080", "http://h:8080/embed", "http://h:8080/info");
    goes_to("tei", "http://h:8080/v1", "http://h:8080/embed", "http://h:8080/info");
    goes_to("tei-openai", "http://h:8080/v1", "http://h:8080/v1/embeddings", "http://h:8080/info");
    goes_to("ollama", "http://localhost:11434", "http://localhost:11434/api/embed", NULL);
    goes_to("ollama", "http://localhost:11434/v1/", "http://localhost:11434/api/embed", NULL);
    goes_to("ollama", "http://localhost:11434/api", "http://localhost:11434/api/embed", NULL);
    goes_to("cohere", "https://api.cohere.com", "https://api.cohere.com/v2/embed", NULL);
    goes_to("cohere", "https://api.cohere.com/v2", "https://api.cohere.com/v2/embed", NULL);
    goes_to("gemini", "https://g/v1beta", "https://g/v1beta/models/org/mo%20del:batchEmbedContents", NULL);
}

Test(endpoint, no_address_or_another_protocol_is_refused)
{
    static const char *const urls[] = {"",        "localhost:8080", "ftp://h/v1",  "file:///etc/passwd",
                                       "http://", "h/v1",           "http://[::1", "unix:/x"};
    struct endpoint endpoint;
    struct err err;

    cr_assert_eq(make("openai", NULL, NULL, &endpoint, &err), RC_INVALID);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        cr_assert_eq(make("openai", urls[i], NULL, &endpoint, &err), RC_INVALID, "%s", urls[i]);
        cr_assert_eq(err.class, ERR_USAGE);
    }
}

Test(endpoint, a_key_leaves_over_plain_http_to_this_machine_only)
{
    static const char *const far[] = {
        "http://example.com/v1",        "http://10.0.0.1/v1",      "http://127.0.0.1.example.com/v1",
        "http://localhost.example.com", "http://[2001:db8::1]/v1", "http://notlocalhost/v1",
        "HTTP://EXAMPLE.COM/v1"};
    static const char *const near[] = {"http://localhost:1/v1", "http://127.0.0.1/v1",   "http://127.8.9.1/v1",
                                       "http://[::1]:8080/v1",  "http://a.localhost/v1", "http://LOCALHOST/v1",
                                       "https://example.com/v1"};
    struct endpoint endpoint;
    struct err err;

    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        cr_assert_eq(make("openai", far[i], "sk-key-1234", &endpoint, &err), RC_INVALID, "%s", far[i]);
        cr_assert_null(strstr(err.message, "sk-key"));
        cr_assert_eq(make("openai", far[i], NULL, &endpoint, &err), RC_OK, "%s", far[i]);
        cr_assert_null(endpoint.header);
        endpoint_free(&endpoint);
    }
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        cr_assert_eq(make("openai", near[i], "sk-key-1234", &endpoint, &err), RC_OK, "%s", near[i]);
        cr_assert_str_eq(endpoint.header, "Authorization: Bearer sk-key-1234");
        cr_assert_eq(endpoint.plain_key, strncmp(near[i], "https", 5) != 0);
        endpoint_free(&endpoint);
    }
    cr_assert_eq(make("openai", "http://user:secret99@example.com/v1", NULL, &endpoint, &err), RC_INVALID);
    cr_assert_eq(make("openai", "https://user:secret99@example.com/v1", NULL, &endpoint, &err), RC_OK);
    cr_assert_null(strstr(endpoint.shown, "secret99"));
    endpoint_free(&endpoint);
    cr_assert_eq(make("openai", "https://h", "a\r\nX-Evil: 1", &endpoint, &err), RC_INVALID);
}

Test(endpoint, each_server_gets_the_key_in_its_own_header)
{
    struct endpoint endpoint;
    struct err err;

    cr_assert_eq(make("azure", "https://h", "k123", &endpoint, &err), RC_OK);
    cr_assert_str_eq(endpoint.header, "api-key: k123");
    endpoint_free(&endpoint);
    cr_assert_eq(make("gemini", "https://h", "k123", &endpoint, &err), RC_OK);
    cr_assert_str_eq(endpoint.header, "x-goog-api-key: k123");
    cr_assert_null(strstr(endpoint.url, "k123"));
    endpoint_free(&endpoint);
}

/* --- requests --- */

static void
is_written(const char *dialect, struct request_choice choice, const char *extra_text, const char *wanted)
{
    const struct text texts[] = {{.bytes = "one", .length = 3}, {.bytes = "t\"w\no\xC3\xA9X", .length = 7}};
    struct request_form *form = NULL;
    cJSON *extra = extra_text != NULL ? cJSON_Parse(extra_text) : NULL;
    struct strbuf body;

    cr_assert_eq(request_form_make(find(dialect), "m/1", 256, extra, &form, NULL), RC_OK);
    strbuf_init(&body, 10000);
    request_write(form, choice, texts, 2, &body);
    cr_assert_str_eq(strbuf_text(&body), wanted);
    strbuf_free(&body);
    form = request_form_free(form);
    cJSON_Delete(extra);
}

#define TEXTS "[\"one\",\"t\\\"w\\no\xC3\xA9\"]"

Test(request, each_dialect_is_asked_in_its_own_form)
{
    const struct request_choice plain = {0},
                                full = {.base64 = true, .dimensions = true, .truncate = true, .query = true};

    is_written("openai", plain, NULL, "{\"model\":\"m/1\",\"input\":" TEXTS ",\"encoding_format\":\"float\"}");
    is_written("openai", full, NULL,
               "{\"model\":\"m/1\",\"input\":" TEXTS ",\"encoding_format\":\"base64\",\"dimensions\":256}");
    is_written("azure", plain, NULL, "{\"input\":" TEXTS ",\"encoding_format\":\"float\"}");
    is_written("tei", plain, NULL, "{\"inputs\":" TEXTS ",\"truncate\":false}");
    is_written("tei", full, NULL, "{\"inputs\":" TEXTS ",\"truncate\":true,\"dimensions\":256}");
    is_written("vllm", plain, NULL, "{\"model\":\"m/1\",\"input\":" TEXTS ",\"encoding_format\":\"float\"}");
    is_written("vllm", full, NULL,
               "{\"model\":\"m/1\",\"input\":" TEXTS
               ",\"encoding_format\":\"base64\",\"dimensions\":256,\"truncate_prompt_tokens\":-1}");
    is_written("ollama", plain, NULL, "{\"model\":\"m/1\",\"input\":" TEXTS ",\"truncate\":false}");
    is_written("voyage", plain, NULL,
               "{\"model\":\"m/1\",\"input\":" TEXTS ",\"input_type\":\"document\",\"truncation\":false}");
    is_written("voyage", full, NULL,
               "{\"model\":\"m/1\",\"input\":" TEXTS
               ",\"input_type\":\"query\",\"truncation\":true,\"encoding_format\":"
               "\"base64\",\"output_dimension\":256}");
    is_written("cohere", plain, NULL,
               "{\"model\":\"m/1\",\"texts\":" TEXTS ",\"input_type\":\"search_document\",\"truncate\":\"NONE\","
               "\"embedding_types\":[\"float\"]}");
    is_written("jina", full, NULL,
               "{\"model\":\"m/1\",\"input\":" TEXTS ",\"task\":\"retrieval.query\",\"truncate\":true,"
               "\"embedding_type\":\"base64\",\"dimensions\":256}");
    is_written("mistral", full, NULL,
               "{\"model\":\"m/1\",\"input\":" TEXTS ",\"encoding_format\":\"base64\",\"output_dimension\":256}");
    is_written("gemini", full, NULL,
               "{\"requests\":[{\"model\":\"models/m/1\",\"content\":{\"parts\":[{\"text\":\"one\"}]},\"taskType\":"
               "\"RETRIEVAL_QUERY\",\"outputDimensionality\":256},{\"model\":\"models/m/1\",\"content\":{\"parts\":[{"
               "\"text\":\"t\\\"w\\no\xC3\xA9\"}]},\"taskType\":\"RETRIEVAL_QUERY\",\"outputDimensionality\":256}]}");
}

Test(request, extra_members_are_added_replaced_and_removed)
{
    const struct request_choice plain = {0};
    struct request_form *form = NULL;
    cJSON *extra = cJSON_Parse("{\"input\":[\"mine\"]}");
    struct err err = ERR_INIT;

    is_written("openai", plain, "{\"user\":\"u\",\"n\":{\"a\":[1,null]},\"encoding_format\":null}",
               "{\"model\":\"m/1\",\"input\":" TEXTS ",\"user\":\"u\",\"n\":{\"a\":[1,null]}}");
    is_written("jina", plain, "{\"task\":\"text-matching\"}",
               "{\"model\":\"m/1\",\"input\":" TEXTS
               ",\"truncate\":false,\"embedding_type\":\"float\",\"task\":\"text-matching\"}");
    cr_assert_eq(request_form_make(find("openai"), "m", 1, extra, &form, &err), RC_INVALID);
    cr_assert_eq(err.class, ERR_USAGE);
    cJSON_Delete(extra);
}

/* --- refusals --- */

Test(refusal, patterns_find_words_and_numbers)
{
    uint64_t limit = 0, index = 0;

    cr_assert(refusal_match("batch size {limit}", "the batch size 32 is", &limit, &index) && limit == 32);
    cr_assert(refusal_match("input[{index}]*is {limit} t", "input[3]: length 9 is 10 u, is 512 t", &limit, &index));
    cr_assert(limit == 512 && index == 3);
    cr_assert(refusal_match("", "anything", &limit, &index));
    cr_assert(refusal_match("a*b", "xa..b", &limit, &index));
    cr_assert_not(refusal_match("a*b", "b..a", &limit, &index));
    cr_assert_not(refusal_match("size {limit}", "size x", &limit, &index));
    cr_assert_not(refusal_match("abc", "ab", &limit, &index));
}

Test(refusal, what_servers_say_is_understood)
{
    static const struct {
        const char *dialect;
        long status;
        bool retry_after;
        const char *body;
        enum refusal_kind kind;
        uint64_t limit;
        long index; /* -1: not named */
    } cases[] = {
        {"openai", 429, true,
         "{\"error\":{\"message\":\"You exceeded your current quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}",
         REFUSAL_QUOTA, 0, -1},
        {"openai", 429, true,
         "{\"error\":{\"message\":\"Rate limit reached for m on tokens per min. Limit: 1000000\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
         REFUSAL_OVERLOAD, 0, -1},
        {"openai", 429, true,
         "{\"error\":{\"message\":\"Request too large for m in organization o on tokens per min (TPM): Limit 150000, Requested 200000.\",\"type\":\"tokens\"}}",
         REFUSAL_TOKENS, 150000, -1},
        {"openai", 400, false,
         "{\"error\":{\"message\":\"Requested 354478 tokens, max 300000 tokens per request\",\"type\":\"max_tokens_per_request\"}}",
         REFUSAL_TOKENS, 300000, -1},
        {"openai", 400, false,
         "{\"error\":{\"message\":\"Invalid 'input[17]': maximum input length is 8192 tokens.\"}}", REFUSAL_TOO_LONG,
         8192, 17},
        {"openai", 400, false, "{\"error\":{\"message\":\"Invalid 'input': maximum context length is 8192 tokens.\"}}",
         REFUSAL_TOO_LONG, 8192, -1},
        {"openai", 400, false, "{\"error\":{\"message\":\"This model does not support specifying dimensions.\"}}",
         REFUSAL_DIMENSIONS, 0, -1},
        {"openai", 401, false,
         "{\"error\":{\"message\":\"Incorrect API key provided: sk-a***.\",\"code\":\"invalid_api_key\"}}", REFUSAL_KEY,
         0, -1},
        {"openai", 403, false, "{\"error\":{\"message\":\"maximum allowed batch size 3\"}}", REFUSAL_KEY, 0, -1},
        {"openai", 404, false,
         "{\"error\":{\"message\":\"The model `x` does not exist\",\"code\":\"model_not_found\"}}", REFUSAL_MODEL, 0,
         -1},
        {"openai", 402, false, "", REFUSAL_QUOTA, 0, -1},
        {"openai", 400, false, "{\"error\":{\"message\":\"'$.input' is invalid.\"}}", REFUSAL_OTHER, 0, -1},
        {"openai", 413, false, "<html><head><title>413 Request Entity Too Large</title></head></html>", REFUSAL_BYTES,
         0, -1},
        {"openai", 500, false, "oops", REFUSAL_SERVER, 0, -1},
        {"openai", 424, false, "{}", REFUSAL_SERVER, 0, -1},
        {"openai", 503, false, "", REFUSAL_SERVER, 0, -1},
        {"openai", 503, true, "", REFUSAL_OVERLOAD, 0, -1},
        {"openai", 529, false, "", REFUSAL_OVERLOAD, 0, -1},
        {"openai", 408, false, "", REFUSAL_TRANSPORT, 0, -1},
        {"openai", 301, false, "", REFUSAL_REDIRECT, 0, -1},
        {"openai", 400, false, "{\"error\":{\"message\":\"Unsupported value: encoding_format\"}}", REFUSAL_ENCODING, 0,
         -1},
        {"azure", 400, false, "{\"error\":{\"message\":\"Too many inputs. The max number of inputs is 16.  We hope\"}}",
         REFUSAL_ITEMS, 16, -1},
        {"tei", 413, false,
         "{\"error\":\"batch size 64 > maximum allowed batch size 32\",\"error_type\":\"Validation\"}", REFUSAL_ITEMS,
         32, -1},
        {"tei", 422, false, "{\"error\":\"batch size 64 > maximum allowed batch size 32\"}", REFUSAL_ITEMS, 32, -1},
        {"tei", 413, false,
         "{\"error\":\"Input validation error: `inputs` must have less than 512 tokens. Given: 1024\",\"error_type\":\"Validation\"}",
         REFUSAL_TOO_LONG, 512, -1},
        {"tei", 413, false, "Failed to buffer the request body: length limit exceeded", REFUSAL_BYTES, 0, -1},
        {"tei", 429, false, "{\"error\":\"Model is overloaded\",\"error_type\":\"Overloaded\"}", REFUSAL_OVERLOAD, 0,
         -1},
        {"vllm", 400, false,
         "{\"object\":\"error\",\"message\":\"This model's maximum context length is 512 tokens. However, you requested 700 tokens in the input\",\"code\":400}",
         REFUSAL_TOO_LONG, 512, -1},
        {"vllm", 400, false,
         "{\"object\":\"error\",\"message\":\"The decoder prompt (length 8193) is longer than the maximum model length of 8192.\",\"code\":400}",
         REFUSAL_TOO_LONG, 8192, -1},
        {"ollama", 404, false, "{\"error\":\"model \\\"x\\\" not found, try pulling it first\"}", REFUSAL_MODEL, 0, -1},
        {"ollama", 400, false, "{\"error\":\"the input length exceeds the context length\"}", REFUSAL_TOO_LONG, 0, -1},
        {"ollama", 500, false, "{\"error\":\"the input length exceeds the context length\"}", REFUSAL_TOO_LONG, 0, -1},
        {"ollama", 400, false, "{\"error\":\"the input length exceeds the batch size; increase num_batch\"}",
         REFUSAL_TOO_LONG, 0, -1},
        {"infinity", 422, false,
         "{\"detail\":[{\"loc\":[\"body\",\"input\",3],\"msg\":\"String should have at most 122880 characters\"}]}",
         REFUSAL_TOO_LONG, 0, -1},
        {"llama-server", 500, false,
         "{\"error\":{\"code\":500,\"message\":\"input (518 tokens) is too large to process. increase the physical batch size (current batch size: 512)\"}}",
         REFUSAL_TOO_LONG, 512, -1},
        {"infinity", 422, false,
         "{\"detail\":[{\"loc\":[\"body\",\"input\"],\"msg\":\"List should have at most 2048 items after validation, not 3000\"}]}",
         REFUSAL_ITEMS, 2048, -1},
        {"voyage", 400, false,
         "{\"detail\":\"Request to model 'voyage-2' failed. The example at index 5 in your batch has too many tokens and does not fit into the model's context window of 4000 tokens.\"}",
         REFUSAL_TOO_LONG, 4000, 5},
        {"voyage", 400, false,
         "{\"detail\":\"The max allowed tokens per submitted batch is 120000. Your batch has 130000 tokens.\"}",
         REFUSAL_TOKENS, 120000, -1},
        {"cohere", 400, false,
         "{\"message\":\"invalid request: total number of texts must be at most 96 - received 100\"}", REFUSAL_ITEMS,
         96, -1},
        {"cohere", 429, false,
         "{\"message\":\"You are using a Trial key, which is limited to 1000 API calls / month.\"}", REFUSAL_QUOTA, 0,
         -1},
        {"cohere", 429, false,
         "{\"message\":\"You are using a Trial key, which is limited to 40 API calls / minute.\"}", REFUSAL_OVERLOAD, 0,
         -1},
        {"jina", 400, false,
         "{\"detail\":{\"message\":\"Input text exceeds the model's maximum of 8194 tokens.\",\"code\":\"INPUT_TOKEN_LIMIT_EXCEEDED\"}}",
         REFUSAL_TOO_LONG, 8194, -1},
        {"mistral", 400, false,
         "{\"object\":\"error\",\"message\":\"Too many inputs in request, split into more batches.\",\"code\":\"3210\"}",
         REFUSAL_ITEMS, 0, -1},
        {"mistral", 400, false,
         "{\"object\":\"error\",\"message\":\"Too many tokens overall, split into more batches.\",\"code\":\"3210\"}",
         REFUSAL_TOKENS, 0, -1},
        {"mistral", 400, false, "{\"message\":\"Input id 3 has 9000 tokens, exceeding max 8192 tokens.\"}",
         REFUSAL_TOO_LONG, 8192, 3},
        {"mistral", 400, false, "{\"object\":\"error\",\"message\":\"Invalid model: x\"}", REFUSAL_MODEL, 0, -1},
        {"gemini", 400, false,
         "{\"error\":{\"code\":400,\"message\":\"* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\",\"status\":\"INVALID_ARGUMENT\"}}",
         REFUSAL_ITEMS, 100, -1},
        {"gemini", 400, false,
         "{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\"}}", REFUSAL_KEY, 0,
         -1},
        {"gemini", 429, false,
         "{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"quotaId\":\"EmbedContentRequestsPerMinutePerUser\"}]}}",
         REFUSAL_OVERLOAD, 0, -1},
        {"gemini", 429, false,
         "{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota\",\"details\":[{\"quotaId\":\"EmbedContentRequestsPerDayPerUser\"}]}}",
         REFUSAL_QUOTA, 0, -1},
        {"gemini", 400, false, "{\"error\":{\"message\":\"Request payload size exceeds the limit: 10000 bytes.\"}}",
         REFUSAL_BYTES, 10000, -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct refusal refusal;
        refusal_read(cases[i].dialect, cases[i].status, cases[i].retry_after, cases[i].body, strlen(cases[i].body),
                     &refusal);
        cr_assert_eq(refusal.kind, cases[i].kind, "%s: kind %d, not %d", cases[i].body, refusal.kind, cases[i].kind);
        cr_assert_eq(refusal.limit, cases[i].limit, "%s", cases[i].body);
        cr_assert_eq(refusal.has_index, cases[i].index >= 0, "%s", cases[i].body);
        if (refusal.has_index)
            cr_assert_eq((long)refusal.index, cases[i].index);
        cr_assert_neq(refusal.message[0], '\0');
        cr_assert_null(strchr(refusal.message, '\n'));
    }
}

Test(refusal, the_wait_in_geminis_body_is_found)
{
    const char *body =
        "{\"error\":{\"code\":429,\"message\":\"slow\",\"details\":[{\"a\":1},{\"@type\":\"x.RetryInfo\","
        "\"retryDelay\":\"34.5s\"}]}}";
    struct refusal refusal;

    refusal_read("gemini", 429, false, body, strlen(body), &refusal);
    cr_assert_eq(refusal.retry_after_ms, 34500);
}

Test(refusal, messages_are_one_clean_line)
{
    struct refusal refusal;
    const char *body = "{\"error\":{\"message\":\"a\\nb\\u001b[31m\\u0000c \\ud800 d\"}}",
               binary[] = "\x00\xff\x1b\n\r junk";

    refusal_read("openai", 400, false, body, strlen(body), &refusal);
    cr_assert_null(strpbrk(refusal.message, "\n\r\x1b"));
    refusal_read("openai", 400, false, binary, sizeof binary - 1, &refusal);
    cr_assert_null(strpbrk(refusal.message, "\n\r\x1b"));
    refusal_read("openai", 400, false, " \n ", 3, &refusal);
    cr_assert_str_eq(refusal.message, "an empty answer");
    refusal_read("openai", 502, false, "<!doctype HTML><p>", 18, &refusal);
    cr_assert_not_null(strstr(refusal.message, "HTML"));
}

Test(refusal, no_part_of_a_key_is_left_in_a_message_however_long)
{
    struct refusal refusal;
    char body[2048];

    log_open(LOG_TEXT, LOG_ERROR);
    log_secret("sk-0123456789abcdef");
    for (int before = 330; before < 410; before++) {
        (void)snprintf(body, sizeof body, "{\"error\":{\"message\":\"%0*d sk-0123456789abcdef is wrong\"}}", before, 0);
        refusal_read("openai", 401, false, body, strlen(body), &refusal);
        cr_assert_null(strstr(refusal.message, "sk-0"), "%d: %s", before, refusal.message);
        (void)snprintf(body, sizeof body, "%0*d sk-0123456789abcdef is wrong", before - 200, 0);
        refusal_read("openai", 401, false, body, strlen(body), &refusal);
        cr_assert_null(strstr(refusal.message, "sk-0"), "%d: %s", before, refusal.message);
    }
}
