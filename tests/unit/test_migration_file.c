/* What the migration file means: defaults, where values come from, what is printed of it, how it is refused. */
#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "coordinator/file_provider.h"
#include "tests/unit/migration_file_text.h"

static const char small_file[] =
    "{\n"
    "  \"id\": \"docs-a-to-b\", // comments are fine\n"
    "  \"collection\": \"docs\",\n"
    "  \"documents\": { \"table\": \"public.docs\", \"id\": \"id\", \"content\": \"body\" },\n"
    "  \"source\": { \"model\": \"all-minilm-l6-v2\", \"column\": \"embedding\" },\n"
    "  \"target\": {\n"
    "    \"model\": \"bge-base-en-v1.5\",\n"
    "    \"provider\": { \"kind\": \"hashing\" }\n"
    "  },\n"
    "}\n";

/* Sets a dotted path inside a tree; the parents are created as objects. */
static void
set_path(cJSON *root, const char *path, const char *json)
{
    char key[64];
    cJSON *object = root;
    for (;;) {
        size_t length = strcspn(path, ".");
        (void)snprintf(key, sizeof key, "%.*s", (int)length, path);
        if (path[length] == '\0')
            break;
        cJSON *next = cJSON_GetObjectItemCaseSensitive(object, key);
        if (!cJSON_IsObject(next)) {
            cJSON_DeleteItemFromObjectCaseSensitive(object, key);
            next = cJSON_AddObjectToObject(object, key);
        }
        object = next;
        path += length + 1;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    if (json != NULL) {
        cJSON *value = cJSON_Parse(json);
        cr_assert_not_null(value, "the test's own JSON: %s", json);
        cJSON_AddItemToObject(object, key, value);
    }
}

char *
file_text_with(const char *path, const char *json)
{
    cJSON *root = cJSON_Parse("{\"id\":\"docs-a-to-b\",\"collection\":\"docs\","
                              "\"documents\":{\"table\":\"public.docs\",\"id\":\"id\",\"content\":\"body\"},"
                              "\"source\":{\"model\":\"all-minilm-l6-v2\",\"column\":\"embedding\"},"
                              "\"target\":{\"model\":\"bge-base-en-v1.5\",\"provider\":{\"kind\":\"hashing\"}}}");
    set_path(root, path, json);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    return text;
}

struct migration_file *
parse_with(const char *path, const char *json, struct err *err)
{
    struct migration_file *file = NULL;
    char *text = file_text_with(path, json);
    enum rc rc = migration_file_parse("some.json", text, strlen(text), &file, err);
    free(text);
    if (rc != RC_OK) {
        cr_assert_null(file);
        cr_assert(rc == RC_INVALID && err->class == ERR_USAGE, "%s: %s", rc_name(rc), err->message);
    }
    return file;
}

const char *
refusal_of(const char *path, const char *json)
{
    static char text[2048];
    struct err err = ERR_INIT;
    struct migration_file *file = parse_with(path, json, &err);
    cr_assert_null(file, "%s = %s was taken", path, json);
    (void)snprintf(text, sizeof text, "%s %s", err.message, err.hint);
    return text;
}

static struct migration_file *
parse_ok(const char *text)
{
    struct err err = ERR_INIT;
    struct migration_file *file = NULL;
    enum rc rc = migration_file_parse("some.json", text, strlen(text), &file, &err);
    cr_assert(rc == RC_OK, "%s (%s)", err.message, err.hint);
    return file;
}

static struct migration_file *
taken_with(const char *path, const char *json)
{
    struct err err = ERR_INIT;
    struct migration_file *file = parse_with(path, json, &err);
    cr_assert_not_null(file, "%s = %s: %s", path, json, err.message);
    return file;
}

static void
assert_refused(const char *path, const char *json, const char *part)
{
    const char *text = refusal_of(path, json);
    cr_assert_not_null(strstr(text, part), "%s = %s is refused with\n  %s\nand not with\n  %s", path, json, text, part);
}

/* --- defaults --- */

Test(migration_file, a_short_file_is_completed_by_the_defaults_of_the_contract)
{
    struct migration_file *file = parse_ok(small_file);

    cr_assert_str_eq(file->id, "docs-a-to-b");
    cr_assert_str_eq(file->collection, "docs");
    cr_assert_null(file->documents.where);
    cr_assert(file->source.present);
    cr_assert_not(file->source.has_provider);
    cr_assert_str_eq(file->source.table, "public.docs");
    cr_assert_str_eq(file->source.id, "id");
    cr_assert_eq(file->target.dimensions, 768);
    cr_assert_eq(file->target.type, VECTOR_TYPE_VECTOR);
    cr_assert_eq(file->target.metric, METRIC_COSINE);
    cr_assert_eq(file->target.placement, PLACEMENT_SIDE);
    cr_assert_null(file->target.table);
    cr_assert_eq(file->target.index.method, INDEX_HNSW);
    cr_assert_eq(file->target.index.m, 16);
    cr_assert_eq(file->target.index.ef_construction, 64);
    cr_assert_eq(file->backfill.batch_size, 100);
    cr_assert_eq(file->backfill.max_concurrent, 4);
    cr_assert(file->backfill.dual_write);
    cr_assert_float_eq(file->backfill.target_query_threshold, 0.8, 0);
    cr_assert_float_eq(file->backfill.rollback_window_secs, 86400, 0);
    cr_assert(file->gates.auto_cutover);
    cr_assert_eq(file->gates.max_failed, 0);
    cr_assert_float_eq(file->gates.max_change_lag_secs, 30, 0);
    cr_assert_not(file->gates.min_overlap_at_10.given);
    cr_assert_not(file->gates.min_recall_change.given);
    cr_assert_not(file->gates.min_index_recall.given);
    cr_assert_not(file->limits.requests_per_minute.given);
    cr_assert_not(file->limits.max_cost.given);
    cr_assert_float_eq(file->database.lease_secs, 60, 0);
    cr_assert_float_eq(file->database.statement_timeout_secs, 30, 0);
    cr_assert_float_eq(file->database.lock_timeout_secs, 2, 0);
    cr_assert_eq(file->database.writers, 1);

    const struct provider_options *provider = &file->target.provider;
    cr_assert_eq(provider->kind, PROVIDER_HASHING);
    cr_assert_str_eq(provider->model, "bge-base-en-v1.5");
    cr_assert_eq(provider->dimensions, 768);
    cr_assert_eq(provider->on_too_long, POLICY_TRUNCATE);
    cr_assert_eq(provider->on_empty, POLICY_SKIP);
    cr_assert_eq(provider->normalize, -1);
    cr_assert_eq(provider->send_dimensions, -1);
    cr_assert_str_eq(provider->query_prefix, "Represent this sentence for searching relevant passages: ");
    cr_assert_null(provider->document_prefix);
    migration_file_free(file);
}

Test(migration_file, every_key_of_the_contract_is_taken)
{
    static const char text[] =
        "{ \"id\": \"m\", \"collection\": \"docs\",\n"
        "  \"documents\": { \"table\": \"public.docs\", \"id\": \"id\", \"content\": \"title || body\", \"where\": \"live\" },\n"
        "  \"source\": { \"model\": \"old\", \"table\": \"public.vectors\", \"id\": \"doc\", \"column\": \"v\",\n"
        "    \"provider\": { \"kind\": \"onnx\", \"path\": \"/models/old\", \"pooling\": \"cls\", \"normalize\": false,\n"
        "                  \"max_tokens\": 256, \"threads\": 2, \"output\": \"hidden\" } },\n"
        "  \"target\": { \"model\": \"new\", \"dimensions\": 384, \"type\": \"halfvec\", \"metric\": \"l2\",\n"
        "    \"placement\": \"column\", \"table\": \"public.filled\", \"index\": { \"method\": \"ivfflat\", \"lists\": 50 },\n"
        "    \"provider\": { \"kind\": \"openai\", \"url\": \"http://127.0.0.1:8080/v1\", \"dialect\": \"tei\",\n"
        "      \"model\": \"org/new\", \"send_dimensions\": true, \"timeout_secs\": 2.5, \"extra\": { \"user\": \"me\" },\n"
        "      \"max_items\": 32, \"max_request_tokens\": 5000, \"max_request_bytes\": 100000,\n"
        "      \"document_prefix\": \"d: \", \"query_prefix\": \"\", \"on_too_long\": \"fail\", \"on_empty\": \"fail\" } },\n"
        "  \"backfill\": { \"batch_size\": 7, \"max_concurrent\": 9, \"dual_write\": false,\n"
        "                \"target_query_threshold\": 0.5, \"rollback_window_secs\": 0.5 },\n"
        "  \"gates\": { \"auto_cutover\": false, \"max_failed\": 3, \"max_change_lag_secs\": 1.5,\n"
        "             \"min_overlap_at_10\": 0.3, \"min_recall_change\": -0.01, \"min_index_recall\": 0.95 },\n"
        "  \"limits\": { \"requests_per_minute\": 60, \"tokens_per_minute\": 1000, \"max_tokens\": 5, \"max_cost\": 1.25,\n"
        "              \"price_per_million_tokens\": 0.02, \"max_documents_per_second\": 10, \"max_replica_lag_secs\": 3 },\n"
        "  \"database\": { \"lease_secs\": 0.02, \"statement_timeout_secs\": 5, \"lock_timeout_secs\": 0.5, \"writers\": 2 } }";
    struct migration_file *file = parse_ok(text);
    const struct provider_options *source = &file->source.provider;
    const struct provider_options *target = &file->target.provider;

    cr_assert_str_eq(file->documents.content, "title || body");
    cr_assert_str_eq(file->documents.where, "live");
    cr_assert_str_eq(file->source.table, "public.vectors");
    cr_assert_str_eq(file->source.id, "doc");
    cr_assert(file->source.has_provider);
    cr_assert_eq(source->kind, PROVIDER_ONNX);
    cr_assert_str_eq(source->path, "/models/old");
    cr_assert_eq(source->pooling, POOLING_CLS);
    cr_assert_eq(source->normalize, 0);
    cr_assert_eq(source->max_tokens, 256);
    cr_assert_eq(source->threads, 2);
    cr_assert_str_eq(source->output, "hidden");
    cr_assert_eq(source->dimensions, 0);
    cr_assert_eq(file->target.type, VECTOR_TYPE_HALFVEC);
    cr_assert_eq(file->target.metric, METRIC_L2);
    cr_assert_eq(file->target.placement, PLACEMENT_COLUMN);
    cr_assert_str_eq(file->target.table, "public.filled");
    cr_assert_eq(file->target.index.method, INDEX_IVFFLAT);
    cr_assert_eq(file->target.index.lists, 50);
    cr_assert_eq(target->kind, PROVIDER_OPENAI);
    cr_assert_str_eq(target->url, "http://127.0.0.1:8080/v1");
    cr_assert_str_eq(target->dialect, "tei");
    cr_assert_str_eq(target->model, "org/new");
    cr_assert_eq(target->dimensions, 384);
    cr_assert_eq(target->send_dimensions, 1);
    cr_assert_float_eq(target->timeout_secs, 2.5, 0);
    cr_assert_str_eq(cJSON_GetObjectItem(target->extra, "user")->valuestring, "me");
    cr_assert_eq(target->max_items, 32);
    cr_assert_eq(target->max_request_tokens, 5000);
    cr_assert_eq(target->max_request_bytes, 100000);
    cr_assert_str_eq(target->document_prefix, "d: ");
    cr_assert_str_eq(target->query_prefix, "");
    cr_assert_eq(target->on_too_long, POLICY_FAIL);
    cr_assert_eq(target->on_empty, POLICY_FAIL);
    cr_assert_null(target->api_key);
    cr_assert_eq(file->backfill.batch_size, 7);
    cr_assert_not(file->backfill.dual_write);
    cr_assert_float_eq(file->gates.min_recall_change.value, -0.01, 0);
    cr_assert_float_eq(file->limits.max_cost.value, 1.25, 0);
    cr_assert_float_eq(file->database.lease_secs, 0.02, 0);
    cr_assert_eq(file->database.writers, 2);
    migration_file_free(file);
}

Test(migration_file, a_source_may_be_null_or_left_out)
{
    struct migration_file *file = taken_with("source", "null");
    cr_assert_not(file->source.present);
    migration_file_free(file);
    file = taken_with("source", NULL);
    cr_assert_not(file->source.present);
    migration_file_free(file);
}

Test(migration_file, null_stands_for_the_default)
{
    struct migration_file *file = taken_with("backfill", "{\"batch_size\": null}");
    cr_assert_eq(file->backfill.batch_size, 100);
    migration_file_free(file);
    file = taken_with("limits", "null");
    cr_assert_not(file->limits.max_tokens.given);
    migration_file_free(file);
}

/* --- models, types, indexes --- */

Test(migration_file, dimensions_of_a_known_model_need_not_be_given)
{
    struct migration_file *file = taken_with("target.model", "\"Sentence-Transformers/all_MiniLM_L6_v2\"");
    cr_assert_eq(file->target.dimensions, 384);
    migration_file_free(file);
    assert_refused("target.model", "\"my-own\"",
                   "target.dimensions is missing, and the model \"my-own\" is not known by name");
}

Test(migration_file, more_than_2000_dimensions_make_a_halfvec)
{
    struct migration_file *file = taken_with("target.dimensions", "2000");
    cr_assert_eq(file->target.type, VECTOR_TYPE_VECTOR);
    migration_file_free(file);
    file = taken_with("target.dimensions", "2001");
    cr_assert_eq(file->target.type, VECTOR_TYPE_HALFVEC);
    migration_file_free(file);
    assert_refused("target",
                   "{\"model\":\"m\",\"dimensions\":2001,\"type\":\"vector\",\"provider\":{\"kind\":\"hashing\"}}",
                   "target.type \"vector\" takes an index up to 2000 dimensions, not 2001 use \"halfvec\"");
    assert_refused("target.dimensions", "4001", "target.dimensions is 4001; an index takes up to 4000");
    file = taken_with("target",
                      "{\"model\":\"m\",\"dimensions\":16000,\"index\":\"none\",\"provider\":{\"kind\":\"hashing\"}}");
    cr_assert_eq(file->target.index.method, INDEX_NONE);
    migration_file_free(file);
}

Test(migration_file, an_index_is_an_object_or_a_word)
{
    struct migration_file *file = taken_with("target.index", "\"as_source\"");
    cr_assert_eq(file->target.index.method, INDEX_AS_SOURCE);
    migration_file_free(file);
    file = taken_with("target.index", "{\"method\": \"none\"}");
    cr_assert_eq(file->target.index.method, INDEX_NONE);
    migration_file_free(file);
    file = taken_with("target.index", "{\"m\": 48}");
    cr_assert_eq(file->target.index.ef_construction, 96, "pgvector wants at least twice m");
    migration_file_free(file);
    assert_refused("target.index", "{\"m\": 48, \"ef_construction\": 64}",
                   "target.index.ef_construction must be at least twice m, here 96");
    assert_refused("target.index", "{\"method\": \"ivfflat\", \"m\": 16}",
                   "target.index.m does not go with \"ivfflat\"");
    assert_refused("target.index", "{\"lists\": 10}", "target.index.lists does not go with \"hnsw\"");
    assert_refused("target.index", "\"hsnw\"",
                   "must be one of hnsw, ivfflat, none, as_source, not \"hsnw\" did you mean \"hnsw\"?");
    assert_refused("target.index", "[]", "target.index must be an object, or one of");

    char *text = file_text_with("source", "null");
    cJSON *root = cJSON_Parse(text);
    set_path(root, "target.index", "\"as_source\"");
    free(text);
    text = cJSON_Print(root);
    cJSON_Delete(root);
    struct err err = ERR_INIT;
    cr_assert_eq(migration_file_parse("some.json", text, strlen(text), &file, &err), RC_INVALID);
    cr_assert_not_null(strstr(err.message, "but there is no source"));
    free(text);
}

Test(migration_file, prefixes_come_from_the_model_table_unless_given)
{
    struct migration_file *file = taken_with("target.model", "\"intfloat/multilingual-e5-small\"");
    cr_assert_str_eq(file->target.provider.document_prefix, "passage: ");
    cr_assert_str_eq(file->target.provider.query_prefix, "query: ");
    migration_file_free(file);
    file = taken_with("target.provider", "{\"kind\":\"hashing\",\"query_prefix\":\"\"}");
    cr_assert_str_eq(file->target.provider.query_prefix, "", "an empty prefix was asked for");
    migration_file_free(file);
    file = taken_with("target.provider", "{\"kind\":\"hashing\",\"model\":\"multilingual-e5-base\"}");
    cr_assert_str_eq(file->target.provider.query_prefix, "query: ", "the name that the provider knows counts first");
    migration_file_free(file);
}

/* --- keys, addresses, folders --- */

static const char with_key[] = "{\"kind\":\"openai\",\"url\":\"https://h/v1\",\"api_key_env\":\"REEMBED_TEST_KEY\"}";

Test(migration_file, the_key_comes_from_the_environment_and_is_never_shown)
{
    setenv("REEMBED_TEST_KEY", "sk-very-secret-4711", 1);
    struct migration_file *file = taken_with("target.provider", with_key);
    cr_assert_str_eq(file->target.provider.api_key, "sk-very-secret-4711");

    char line[] = "the key is sk-very-secret-4711";
    log_scrub(line);
    cr_assert_null(strstr(line, "secret"), "registered with the log: %s", line);

    struct strbuf out;
    strbuf_init(&out, 65536);
    migration_file_config_json(file, &out);
    migration_file_provider_note(file, &out);
    cr_assert_null(strstr(strbuf_text(&out), "sk-very"));
    cr_assert_null(strstr(strbuf_text(&out), "https://h"));
    cr_assert_null(strstr(strbuf_text(&out), "REEMBED_TEST_KEY"));
    strbuf_free(&out);
    migration_file_free(file);
}

Test(migration_file, an_unset_or_empty_key_variable_is_refused_by_name)
{
    unsetenv("REEMBED_TEST_KEY");
    assert_refused("target.provider", with_key,
                   "target.provider.api_key_env names the environment variable REEMBED_TEST_KEY, which is not set");
    setenv("REEMBED_TEST_KEY", "", 1);
    assert_refused("target.provider", with_key, "which is empty");
    setenv("REEMBED_TEST_KEY", "two words", 1);
    assert_refused("target.provider", with_key, "a blank or a line break");
}

Test(migration_file, a_key_pasted_in_the_place_of_a_name_is_not_repeated)
{
    const char *text =
        refusal_of("target.provider", "{\"kind\":\"openai\",\"url\":\"https://h/v1\",\"api_key_env\":\"sk-abcdef\"}");
    cr_assert_null(strstr(text, "abcdef"), "%s", text);
    cr_assert_not_null(strstr(text, "must be the name of an environment variable"), "%s", text);
    text =
        refusal_of("target.provider", "{\"kind\":\"openai\",\"url\":\"https://h/v1\",\"api_key_env\":\"hf_AbCdEfGh\"}");
    cr_assert_null(strstr(text, "AbCdEfGh"), "%s", text);
    assert_refused("target.provider", "{\"kind\":\"openai\",\"url\":\"https://h/v1\",\"api_key\":\"x\"}",
                   "did you mean \"api_key_env\"?");
}

Test(migration_file, an_address_is_http_and_holds_no_password)
{
    assert_refused("target.provider", "{\"kind\":\"openai\",\"url\":\"localhost:8080\"}",
                   "must begin with http:// or https://");
    assert_refused("target.provider", "{\"kind\":\"openai\",\"url\":\"https:///v1\"}", "name a host");
    const char *text = refusal_of("target.provider", "{\"kind\":\"openai\",\"url\":\"https://me:hush@h/v1\"}");
    cr_assert_not_null(strstr(text, "target.provider.url must not hold a user name or password"), "%s", text);
    cr_assert_null(strstr(text, "hush"), "%s", text);
    assert_refused("target.provider", "{\"kind\":\"openai\"}", "target.provider.url is missing");
}

Test(migration_file, model_folders_are_looked_for_beside_the_file_first)
{
    char folder[] = "/tmp/migration_file_XXXXXX";
    char path[96];
    struct migration_file *file = NULL;
    struct err err = ERR_INIT;

    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/beside", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/some.json", folder);

    char *text = file_text_with("target.provider", "{\"kind\":\"onnx\",\"path\":\"beside\"}");
    cr_assert_eq(migration_file_parse(path, text, strlen(text), &file, &err), RC_OK, "%s", err.message);
    free(text);
    char expected[96];
    (void)snprintf(expected, sizeof expected, "%s/beside", folder);
    cr_assert_str_eq(file->target.provider.path, expected);
    migration_file_free(file);

    text = file_text_with("target.provider", "{\"kind\":\"onnx\",\"path\":\"elsewhere\"}");
    cr_assert_eq(migration_file_parse(path, text, strlen(text), &file, &err), RC_OK, "%s", err.message);
    free(text);
    cr_assert_str_eq(file->target.provider.path, "elsewhere", "the current directory is what is left");
    migration_file_free(file);
    (void)rmdir(expected);
    (void)rmdir(folder);
}

Test(migration_file, settings_of_another_kind_of_provider_are_refused)
{
    assert_refused("target.provider", "{\"kind\":\"onnx\",\"path\":\"m\",\"url\":\"http://h\"}",
                   "target.provider.url does not go with \"onnx\"");
    assert_refused("target.provider", "{\"kind\":\"hashing\",\"path\":\"m\"}", "does not go with \"hashing\"");
    assert_refused("target.provider", "{\"kind\":\"onyx\"}", "did you mean \"onnx\"?");
    assert_refused("target.provider", "{\"path\":\"m\"}", "target.provider.kind is missing");
    assert_refused("target.provider", "{\"kind\":\"onnx\"}", "target.provider.path is missing");
    assert_refused("target.provider", NULL, "target.provider is missing");
    assert_refused("target.provider", "{\"kind\":\"openai\",\"url\":\"http://h\",\"extra\":[]}",
                   "target.provider.extra must be an object");
}

/* --- examples --- */

static struct migration_file *
read_example(const char *name)
{
    char path[512];
    struct migration_file *file = NULL;
    struct err err = ERR_INIT;
    setenv("OPENAI_API_KEY", "sk-of-the-example", 1);
    (void)snprintf(path, sizeof path, "%s/examples/%s.json", REEMBED_SOURCE_DIR, name);
    cr_assert_eq(migration_file_read(path, &file, &err), RC_OK, "%s %s", err.message, err.hint);
    return file;
}

/* Every member of `expected` must be in `shown`, at any depth. */
static void
assert_shown(const cJSON *expected, const cJSON *shown, const char *where)
{
    const cJSON *member = NULL;
    cJSON_ArrayForEach (member, expected) {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(shown, member->string);
        cr_assert_not_null(other, "%s.%s is not in examples/complete.json", where, member->string);
        if (cJSON_IsObject(member))
            assert_shown(member, other, member->string);
    }
}

Test(migration_file, the_examples_are_migration_files)
{
    static const char *const names[] = {"minimal", "onnx", "openai", "self-hosted", "complete"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        migration_file_free(read_example(names[i]));
}

Test(migration_file, the_complete_example_has_every_setting_and_the_defaults)
{
    struct migration_file *file = read_example("complete");
    struct migration_file *bare = parse_ok(small_file);
    cJSON *shown = NULL;
    struct strbuf config;

    strbuf_init(&config, 65536);
    migration_file_config_json(file, &config);
    cJSON *stored = cJSON_Parse(strbuf_text(&config));
    cr_assert_eq(json_read_file(REEMBED_SOURCE_DIR "/examples/complete.json", &shown, NULL), RC_OK);
    assert_shown(stored, shown, "");
    const cJSON *source = cJSON_GetObjectItem(cJSON_GetObjectItem(shown, "source"), "provider");
    const cJSON *target = cJSON_GetObjectItem(cJSON_GetObjectItem(shown, "target"), "provider");
    for (size_t i = 0; i < file_provider_table.count; i++) {
        const char *key = file_provider_table.fields[i].key;
        cr_assert(cJSON_HasObjectItem(source, key) || cJSON_HasObjectItem(target, key) ? 1 : 0, "provider.%s", key);
    }
    cr_assert_eq(memcmp(&file->backfill, &bare->backfill, sizeof bare->backfill), 0, "backfill");
    cr_assert_eq(memcmp(&file->gates, &bare->gates, sizeof bare->gates), 0, "gates");
    cr_assert_eq(memcmp(&file->limits, &bare->limits, sizeof bare->limits), 0, "limits");
    cr_assert_eq(memcmp(&file->database, &bare->database, sizeof bare->database), 0, "database");
    cJSON_Delete(stored);
    cJSON_Delete(shown);
    strbuf_free(&config);
    migration_file_free(file);
    migration_file_free(bare);
}

/* --- what is stored --- */

Test(migration_file, the_configuration_is_canonical)
{
    struct migration_file *file = parse_ok(small_file);
    struct strbuf out;
    strbuf_init(&out, 65536);
    migration_file_config_json(file, &out);
    cr_assert_str_eq(
        strbuf_text(&out),
        "{\"id\":\"docs-a-to-b\",\"collection\":\"docs\","
        "\"documents\":{\"table\":\"public.docs\",\"id\":\"id\",\"content\":\"body\",\"where\":null},"
        "\"source\":{\"model\":\"all-minilm-l6-v2\",\"table\":\"public.docs\",\"id\":\"id\",\"column\":\"embedding\"},"
        "\"target\":{\"model\":\"bge-base-en-v1.5\",\"dimensions\":768,\"type\":\"vector\",\"metric\":\"cosine\","
        "\"placement\":\"side\",\"table\":null,\"index\":{\"method\":\"hnsw\",\"m\":16,\"ef_construction\":64}},"
        "\"backfill\":{\"batch_size\":100,\"max_concurrent\":4,\"dual_write\":true,\"target_query_threshold\":0.8,"
        "\"rollback_window_secs\":86400},"
        "\"gates\":{\"auto_cutover\":true,\"max_failed\":0,\"max_change_lag_secs\":30,\"min_overlap_at_10\":null,"
        "\"min_recall_change\":null,\"min_index_recall\":null},"
        "\"limits\":{\"requests_per_minute\":null,\"tokens_per_minute\":null,\"max_tokens\":null,\"max_cost\":null,"
        "\"price_per_million_tokens\":null,\"max_documents_per_second\":null,\"max_replica_lag_secs\":null,"
        "\"max_wal_bytes_per_second\":null,\"max_waiting_locks\":null,\"active_hours\":null},"
        "\"database\":{\"lease_secs\":60,\"statement_timeout_secs\":30,\"lock_timeout_secs\":2,\"writers\":1}}");

    strbuf_reset(&out);
    migration_file_provider_note(file, &out);
    cr_assert_str_eq(
        strbuf_text(&out),
        "{\"source\":null,\"target\":{\"kind\":\"hashing\",\"model\":\"bge-base-en-v1.5\","
        "\"document_prefix\":null,\"query_prefix\":\"Represent this sentence for searching relevant passages: \","
        "\"on_too_long\":\"truncate\",\"on_empty\":\"skip\",\"max_tokens\":null}}");
    strbuf_free(&out);
    migration_file_free(file);
}

Test(migration_file, the_stored_configuration_reads_back_as_json_whatever_the_names_hold)
{
    struct migration_file *file = taken_with("documents.content", "\"\\\"Title\\\" || E'\\\\n' || \\\"straße\\\"\"");
    struct strbuf out;
    strbuf_init(&out, 65536);
    migration_file_config_json(file, &out);
    cJSON *root = cJSON_Parse(strbuf_text(&out));
    cr_assert_not_null(root, "%s", strbuf_text(&out));
    cr_assert_str_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "documents"), "content")->valuestring,
                     "\"Title\" || E'\\n' || \"straße\"");
    cJSON_Delete(root);
    strbuf_free(&out);
    migration_file_free(file);
}
