/* tests/fake_server/shapes.h - how each kind of server looks from outside, written from its public documentation and
 * deliberately apart from the client's table in embed/http/dialects.c: two readings that must agree.
 */
#ifndef REEMBED_TESTS_FAKE_SERVER_SHAPES_H
#define REEMBED_TESTS_FAKE_SERVER_SHAPES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

enum reply_form { REPLY_FORM_OPENAI, REPLY_FORM_TEI, REPLY_FORM_OLLAMA, REPLY_FORM_COHERE, REPLY_FORM_GEMINI };

enum error_form {
    ERROR_FORM_OPENAI,  /* {"error":{"message","type","param","code"}} */
    ERROR_FORM_TEI,     /* {"error","error_type"} */
    ERROR_FORM_OLLAMA,  /* {"error"} */
    ERROR_FORM_DETAIL,  /* {"detail"} */
    ERROR_FORM_MESSAGE, /* {"message"} */
    ERROR_FORM_GEMINI,  /* {"error":{"code","message","status","details"}} */
    ERROR_FORM_MISTRAL, /* {"object":"error","message","type","param","code"} */
    ERROR_FORM_LLAMA,   /* {"error":{"code":500,"message","type"}} */
    ERROR_FORM_JINA,    /* {"detail":{"message","code"}} */
};

/* $LIMIT, $GIVEN, $INDEX, $MODEL and $KEY (the one that came) in a message are filled in. */
struct shape_error {
    int status;
    const char *type; /* NULL: null */
    const char *code;
    const char *message;
};

struct shape {
    const char *name;
    const char *path;  /* what follows $MODEL is compared behind it */
    const char *query; /* that must be there; NULL: any */
    const char *key_header;
    const char *key_prefix;
    const char *texts;    /* the member that holds them */
    bool has_model;       /* the body must name the model */
    bool echoes_model;    /* the reply tells a model */
    const char *encoding; /* the member; NULL: no base64 */
    const char *dimensions;
    const char *truncate;
    const char *truncate_on; /* its value as JSON that means yes */
    bool truncate_default;
    bool always_truncates;
    const char *input_type; /* required member; NULL: none */
    int max_items;
    int max_request_tokens;
    enum reply_form reply;
    enum error_form error;
    bool names_index; /* `too_long` says which text */
    struct shape_error too_many, too_many_tokens, too_long, bad_key, no_model, rate, quota, bad_encoding,
        bad_dimensions;
};

extern const struct shape shapes[]; /* ended by a NULL name */

const struct shape *shape_find(const char *name);

struct error_values {
    long long limit, given, index;
    const char *model, *key;
    long long retry_ms; /* > 0: told in the body, where the form has a place for it */
};

/* Appends the body of an error. */
void shape_error_body(const struct shape *shape, const struct shape_error *error, const struct error_values *values,
                      struct strbuf *body);

#endif
