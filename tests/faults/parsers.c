/* Whatever reads text: files, replies, tokenizers, identifiers, lines. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "coordinator/migration_file.h"
#include "db/params.h"
#include "db/template.h"
#include "embed/http/dialect.h"
#include "embed/http/reply.h"
#include "embed/http/request.h"
#include "embed/wordpiece.h"
#include "tests/faults/subjects.h"

#define EXAMPLE REEMBED_SOURCE_DIR "/examples/complete.json"

static enum rc
wrong(struct err *err, const char *what)
{
    return err_set(err, RC_INVALID, ERR_NONE, "%s", what);
}

static enum rc
read_json(struct err *err)
{
    cJSON *root = NULL;
    enum rc rc = json_read_file(EXAMPLE, &root, err);

    if (rc == RC_OK && !cJSON_GetObjectItemCaseSensitive(root, "documents"))
        rc = wrong(err, "not the whole tree");
    cJSON_Delete(root);
    return rc;
}

static enum rc
read_migration_file(struct err *err)
{
    static char whole[8192];
    struct migration_file *file = NULL;
    struct strbuf text;
    enum rc rc = migration_file_read(EXAMPLE, &file, err);

    if (rc != RC_OK)
        return rc;
    strbuf_init(&text, (size_t)1 << 20);
    migration_file_config_json(file, &text);
    migration_file_provider_note(file, &text);
    if (text.failed)
        rc = err_memory(err);
    else if (whole[0] == '\0' && text.length < sizeof whole)
        memcpy(whole, strbuf_text(&text), text.length + 1);
    else if (strcmp(whole, strbuf_text(&text)) != 0)
        rc = wrong(err, "another configuration");
    strbuf_free(&text);
    migration_file_free(file);
    return rc;
}

/* What is wrong with a file is said, or that memory is gone; never something else. */
static enum rc
read_wrong_file(struct err *err)
{
    static const char text[] = "{\"id\": \"a\", \"collection\": \"b\", \"documents\": {\"tabel\": \"c\"}}";
    struct migration_file *file = NULL;
    enum rc rc = migration_file_parse("wrong.json", text, strlen(text), &file, err);

    migration_file_free(file);
    return rc == RC_INVALID && strstr(err->message, "tabel") ? RC_OK : rc;
}

/* --- an embeddings server's dialects --- */

/* A body that lacks a member would be the worst: the server would answer something else. */
static enum rc
write_requests(struct err *err)
{
    static char whole[32][1024]; /* of the first call, which has all the memory it wants */

    const struct text texts[] = {{.bytes = "first", .length = 5}, {.bytes = "second \"text\"", .length = 13}};
    enum rc rc = RC_OK;

    for (const struct dialect *dialect = dialects; dialect->name && rc == RC_OK; dialect++) {
        if (strcmp(dialect->name, "openai") != 0 && strcmp(dialect->name, "gemini") != 0) /* the others are between */
            continue;
        struct request_form *form = NULL;
        struct strbuf body;
        strbuf_init(&body, (size_t)1 << 20);
        rc = request_form_make(dialect, "model", 3, NULL, &form, err);
        if (rc == RC_OK) {
            request_write(form, (struct request_choice){.dimensions = true}, texts, 2, &body);
            if (body.failed)
                rc = err_memory(err);
            else if (!strstr(strbuf_text(&body), "second \\\"text\\\"") || body.length >= sizeof whole[0])
                rc = wrong(err, "not the texts");
            else if (whole[dialect - dialects][0] == '\0')
                memcpy(whole[dialect - dialects], strbuf_text(&body), body.length + 1);
            else if (strcmp(whole[dialect - dialects], strbuf_text(&body)) != 0)
                rc = wrong(err, "another body");
        }
        strbuf_free(&body);
        request_form_free(form);
    }
    return rc;
}

static enum rc
read_reply(struct err *err)
{
    static const char text[] = "{\"model\":\"m\",\"data\":[{\"index\":1,\"embedding\":[1,0,0]},"
                               "{\"index\":0,\"embedding\":[0,1,0]},{\"index\":2,\"embedding\":[0,null,0]}],"
                               "\"usage\":{\"total_tokens\":7}}";
    static struct reply_shape shape;
    static struct reply reply;
    float vectors[3][3];
    struct text_result results[3] = {{.status = TEXT_EMBEDDED}};
    const char *problem = NULL;
    enum rc rc = RC_OK;
    struct arena *arena = arena_new(0);
    const struct reply_target target = {
        .count = 3, .dimensions = 3, .vectors = &vectors[0][0], .results = results, .arena = arena};

    if (!arena)
        return err_memory(err);
    if (!reply_shape_compile(&dialects[0].reply, &shape)) {
        rc = wrong(err, "no shape");
    } else if (!reply_begin(&reply, &shape, &target)) {
        rc = err_memory(err);
    } else {
        for (size_t i = 0; i < strlen(text) && reply_feed(&reply, text + i, 1); i++)
            ;
        enum reply_verdict verdict = reply_end(&reply, &problem);
        if (verdict == REPLY_NO_MEMORY)
            rc = err_memory(err);
        else if (verdict != REPLY_VECTORS || vectors[0][1] != 1 || vectors[1][0] != 1 ||
                 results[2].status != TEXT_INVALID_VECTOR)
            rc = wrong(err, "another reply");
    }
    arena_free(arena);
    return rc;
}

/* --- models --- */

static enum rc
tokenize(struct err *err)
{
    static const char json[] =
        "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
        "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",2],\"sep\":[\"[SEP]\",3]},"
        "\"added_tokens\":[{\"id\":4,\"content\":\"<mask>\",\"special\":true,\"normalized\":false,\"lstrip\":true},"
        "{\"id\":5,\"content\":\"A B\",\"normalized\":true}],"
        "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"max_input_chars_per_word\":100,\"vocab\":{"
        "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"the\":6,\"##m\":7}}}";
    static const char text[] = "Th\xc3\xa9 them <mask> the The THEM a b unknown the them the them the them";
    struct wordpiece *tokenizer = NULL;
    struct wordpiece_ids ids = {.ids = NULL};
    enum rc rc = wordpiece_parse(json, strlen(json), "built in", &tokenizer, err);

    if (rc == RC_OK && (rc = wordpiece_encode(tokenizer, text, strlen(text), 0, &ids)) != RC_OK)
        rc = rc == RC_FATAL ? err_memory(err) : rc;
    if (rc == RC_OK && (ids.count < 20 || ids.ids[0] != 2 || ids.ids[1] != 6))
        rc = wrong(err, "other ids");
    wordpiece_ids_free(&ids);
    wordpiece_free(tokenizer);
    return rc;
}

/* --- the database's side --- */

static enum rc
render_template(struct err *err)
{
    const struct template_value values[] = {{"docs", "public.docs"}, {"id", "\"Id\""}};
    char *sql = NULL;
    enum rc rc = template_render("SELECT {id} FROM {docs} WHERE {id} > $1", values, 2, &sql, err);

    if (rc == RC_OK && strcmp(sql, "SELECT \"Id\" FROM public.docs WHERE \"Id\" > $1") != 0)
        rc = wrong(err, "other SQL");
    free(sql);
    return rc;
}

static enum rc
add_params(struct err *err)
{
    struct params params = PARAMS_INIT;
    struct vector_types types = {.vector = 1, .vector_array = 2};
    static float row[1000];
    const float *rows[] = {row, NULL, row};

    params_add_text(&params, "a text");
    params_add_int8(&params, 7);
    params_add_vectors(&params, &types, VECTOR_FLOAT4, rows, 3, 1000);
    params_add_json(&params, "{}");
    enum rc rc = params.rc;
    if (rc != RC_OK)
        *err = params.err;
    else if (params.count != 4)
        rc = wrong(err, "not all of them");
    params_clear(&params);
    return rc;
}

const struct subject parser_subjects[] = {
    {.name = "a JSON file", .run = read_json},
    {.name = "a migration file", .run = read_migration_file},
    {.name = "a migration file with a mistake", .run = read_wrong_file},
    {.name = "requests to a server", .run = write_requests},
    {.name = "a reply", .run = read_reply},
    {.name = "a tokenizer and a text", .run = tokenize},
    {.name = "a statement's template", .run = render_template},
    {.name = "a statement's parameters", .run = add_params},
};
const size_t parser_subject_count = sizeof parser_subjects / sizeof *parser_subjects;
