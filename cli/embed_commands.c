/* embed and tokenize: a model at work without a database. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/text_lines.h"
#include "coordinator/exit_code.h"
#include "coordinator/migration_file.h"
#include "embed/embedder.h"
#include "embed/wordpiece.h"
#include "worker/embed.h"

/* A batch is what is there without waiting, up to these: enough to sort by length and to fill requests. */
enum { BATCH_LINES = 256, BATCH_BYTES = 4 * 1024 * 1024, NUMBER_SIZE = 32 };

static const char canary[] = "The quick brown fox jumps over the lazy dog.";

/* --- embed --- */

struct embedding {
    const struct output *out;
    struct embedder *embedder;
    struct embed_session *session;
    size_t dimensions;
    bool query;
    bool bare; /* a model without a migration's policies: blank texts have a vector too */
    struct text_lines *lines;
    struct arena *arena; /* of one batch */
    struct embed_usage usage;
    size_t failed;
};

/* The shortest digits that give the same float32. */
static void
print_number(const struct output *out, float value)
{
    char digits[NUMBER_SIZE];
    for (int precision = 7; precision <= 9; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value)
            break;
    }
    (void)fputs(digits, out->stream);
}

static enum rc
print_result(struct embedding *work, const struct document_result *result, const float *vector, struct err *err)
{
    const struct output *out = work->out;
    struct strbuf line;

    if (result->status == DOCUMENT_EMBEDDED) {
        output_print(out, "{\"embedding\":[");
        for (size_t i = 0; i < work->dimensions; i++) {
            if (i > 0)
                (void)fputc(',', out->stream);
            print_number(out, vector[i]);
        }
        output_print(out, "]}\n");
        return RC_OK;
    }
    if (result->status == DOCUMENT_FAILED)
        work->failed++;
    strbuf_init(&line, 65536);
    const char *detail = result->detail == NULL ? "" : result->detail;
    strbuf_printf(&line, "{\"embedding\":null,\"reason\":\"%s\",\"detail\":", document_reason_name(result->reason));
    strbuf_json(&line, detail, strlen(detail));
    strbuf_puts(&line, "}\n");
    output_print(out, "%s", strbuf_text(&line));
    enum rc rc = line.failed ? err_memory(err) : RC_OK;
    strbuf_free(&line);
    return rc;
}

/* RC_CLOSED at the end of the input, with the last lines in `documents`. */
static enum rc
read_batch(struct embedding *work, struct document *documents, size_t *ret_count, struct err *err)
{
    size_t count = 0;
    size_t bytes = 0;
    enum rc rc = RC_OK;

    while (count < BATCH_LINES && bytes < BATCH_BYTES) {
        struct text text = {0};
        rc = text_lines_next(work->lines, count == 0, work->arena, &text, err);
        if (rc != RC_OK)
            break;
        documents[count++] = (struct document){.bytes = text.bytes, .length = text.length, .query = work->query};
        bytes += text.length;
    }
    *ret_count = count;
    return rc == RC_AGAIN ? RC_OK : rc;
}

/* What the policy of a migration leaves out, a model itself embeds: its special tokens are text enough. */
static enum rc
embed_blank(struct embedding *work, const struct document *document, float *vector, struct document_result *result,
            struct err *err)
{
    struct text_result given = {0};
    struct request_outcome outcome = {0};
    const char *prefix = embed_prefix(work->embedder, work->query);
    const char *text = arena_printf(work->arena, "%s%.*s", prefix, (int)document->length,
                                    document->length == 0 ? "" : document->bytes);

    if (text == NULL)
        return err_memory(err);
    const struct text whole = {.bytes = text, .length = strlen(text)};
    enum rc rc = embed_session_embed(work->session, &whole, 1, work->dimensions, vector, &given, &outcome, NULL,
                                     work->arena, err);
    if (rc == RC_OK && given.status == TEXT_EMBEDDED)
        *result = (struct document_result){.status = DOCUMENT_EMBEDDED};
    return rc;
}

static enum rc
embed_batch(struct embedding *work, const struct document *documents, size_t count, struct err *err)
{
    const struct embed_policy policy = {.canary = canary, .canary_length = sizeof canary - 1};
    float *vectors = arena_array(work->arena, count, work->dimensions * sizeof *vectors);
    struct document_result *results = arena_array(work->arena, count, sizeof *results);

    if (vectors == NULL || results == NULL)
        return err_memory(err);
    enum rc rc = embed_documents(work->session, &policy, documents, count, work->dimensions, vectors, results,
                                 &work->usage, work->arena, err);
    for (size_t i = 0; i < count && rc == RC_OK && work->bare; i++) {
        if (results[i].reason == REASON_EMPTY_CONTENT)
            rc = embed_blank(work, &documents[i], vectors + i * work->dimensions, &results[i], err);
    }
    for (size_t i = 0; i < count && rc == RC_OK; i++)
        rc = print_result(work, &results[i], vectors + i * work->dimensions, err);
    if (rc == RC_OK && fflush(work->out->stream) != 0)
        rc = RC_CLOSED; /* nobody reads any more; output_finish knows whether that is an error */
    return rc;
}

/* Lines before a bad one are answered, so that a reader sees how far it came. */
static enum rc
embed_lines(struct embedding *work, struct err *err)
{
    enum rc rc = RC_OK;
    struct document *documents = calloc(BATCH_LINES, sizeof *documents);

    if (documents == NULL)
        return err_memory(err);
    while (rc == RC_OK) {
        size_t count = 0;
        struct err read_error = ERR_INIT;
        arena_reset(work->arena);
        enum rc read = read_batch(work, documents, &count, &read_error);
        if (count > 0)
            rc = embed_batch(work, documents, count, err);
        if (rc == RC_OK && read != RC_OK) {
            rc = read;
            *err = read_error;
        }
    }
    free(documents);
    return rc == RC_CLOSED ? RC_OK : rc;
}

/* The name of a folder is the name of its model: models/all-MiniLM-L6-v2/. */
static enum rc
options_of_folder(const char *folder, struct provider_options *options, char **ret_name, struct err *err)
{
    char *path = realpath(folder, NULL);
    if (path == NULL)
        return err_set(err, RC_INVALID, ERR_USAGE, "there is no model folder %s", folder);
    *ret_name = path;
    *options = (struct provider_options){
        .kind = PROVIDER_ONNX,
        .model = strrchr(path, '/') + 1,
        .path = folder,
        .on_empty = POLICY_SKIP,
        .normalize = -1,
        .send_dimensions = -1,
    };
    return RC_OK;
}

static enum rc
read_options(const struct invocation *invocation, struct provider_options *options, struct migration_file **ret_file,
             char **ret_name, struct err *err)
{
    const char *folder = option_text(invocation->arguments, "model");
    const char *path = invocation->arguments->texts[0];
    enum rc rc = RC_OK;

    if ((folder == NULL) == (path == NULL)) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "embed needs a migration file or --model DIR%s",
                     path == NULL ? "" : ", not both");
        err_hint(err, "usage: reembed embed FILE|--model DIR < texts.jsonl");
    } else if (folder != NULL) {
        rc = options_of_folder(folder, options, ret_name, err);
    } else {
        rc = migration_file_read(path, ret_file, err);
        if (rc == RC_OK)
            *options = (*ret_file)->target.provider;
    }
    options->library = invocation->common.onnxruntime;
    return rc;
}

int
embed_run(const struct invocation *invocation, struct err *err)
{
    struct migration_file *file = NULL;
    char *name = NULL;
    struct provider_options options = {.kind = PROVIDER_HASHING};
    struct embedding work = {.out = &invocation->out, .query = option_given(invocation->arguments, "query")};

    enum rc rc = read_options(invocation, &options, &file, &name, err);
    if (rc != RC_OK)
        goto out;
    rc = embedder_open(&options, &work.embedder, err);
    if (rc != RC_OK)
        goto out;
    rc = embed_session_open(work.embedder, &work.session, err);
    if (rc != RC_OK)
        goto out;
    work.bare = file == NULL;
    work.dimensions = file != NULL ? (size_t)file->target.dimensions : embedder_dimensions(work.embedder);
    work.lines = text_lines_open(STDIN_FILENO);
    work.arena = arena_new(0);
    rc = work.lines == NULL || work.arena == NULL ? err_memory(err) : embed_lines(&work, err);
out:
    arena_free(work.arena);
    text_lines_close(work.lines);
    embed_session_close(work.session);
    embedder_close(work.embedder);
    migration_file_free(file);
    free(name);
    if (rc == RC_OK && work.failed > 0)
        return EXIT_FAILURES;
    return exit_code_of(rc, err);
}

/* --- tokenize --- */

static void
print_ids(const struct output *out, const struct wordpiece_ids *ids)
{
    output_print(out, "{\"ids\":[");
    for (size_t i = 0; i < ids->count; i++)
        output_print(out, i == 0 ? "%u" : ",%u", ids->ids[i]);
    output_print(out, "]}\n");
}

static enum rc
tokenize_lines(const struct output *out, const struct wordpiece *tokenizer, size_t max_tokens, struct err *err)
{
    struct wordpiece_ids ids = {0};
    struct text_lines *lines = text_lines_open(STDIN_FILENO);
    struct arena *arena = arena_new(0);
    enum rc rc = lines == NULL || arena == NULL ? err_memory(err) : RC_OK;

    while (rc == RC_OK) {
        struct text text = {0};
        arena_reset(arena);
        rc = text_lines_next(lines, false, arena, &text, err);
        if (rc == RC_AGAIN) { /* who waits for an answer gets it before we wait for the next line */
            rc = fflush(out->stream) == 0 ? text_lines_next(lines, true, arena, &text, err) : RC_CLOSED;
        }
        if (rc == RC_OK) {
            rc = wordpiece_encode(tokenizer, text.bytes, text.length, max_tokens, &ids);
            if (rc != RC_OK)
                (void)err_memory(err);
            else
                print_ids(out, &ids);
        }
        if (rc == RC_OK && ferror(out->stream))
            rc = RC_CLOSED;
    }
    wordpiece_ids_free(&ids);
    arena_free(arena);
    text_lines_close(lines);
    return rc == RC_CLOSED ? RC_OK : rc;
}

int
tokenize_run(const struct invocation *invocation, struct err *err)
{
    struct wordpiece *tokenizer = NULL;
    struct strbuf path;
    int64_t max_tokens = 0;
    const char *folder = option_text(invocation->arguments, "model");

    strbuf_init(&path, 65536);
    enum rc rc = RC_OK;
    if (folder == NULL) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "tokenize needs --model DIR");
        err_hint(err, "usage: reembed tokenize --model DIR < texts.jsonl");
    }
    if (rc == RC_OK)
        rc = option_count(invocation->arguments, "max-tokens", 1, 1048576, &max_tokens, err);
    if (rc == RC_OK) {
        strbuf_printf(&path, "%s/tokenizer.json", folder);
        rc = wordpiece_load(strbuf_text(&path), &tokenizer, err);
    }
    if (rc == RC_OK)
        rc = tokenize_lines(&invocation->out, tokenizer, (size_t)max_tokens, err);
    wordpiece_free(tokenizer);
    strbuf_free(&path);
    return exit_code_of(rc, err);
}
