/* db/template.h - SQL whose names are known at run time only: {placeholders} in a text, filled with quoted SQL.
 *
 * A placeholder is a brace, letters, digits and underscores beginning with a letter, and a brace: {docs}. Any other
 * brace stays as it is, so '{}' and '{"a": 1}' need no escape (write array['a'] instead of '{a}').
 * Values are SQL already: identifiers from template_add_identifier, literals from template_add_literal, or expressions
 * of the operator's own migration file. Anything that comes from data is a parameter, not a placeholder.
 */
#ifndef REEMBED_DB_TEMPLATE_H
#define REEMBED_DB_TEMPLATE_H

#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

struct template_value {
    const char *name;
    const char *sql; /* inserted as it is; braces inside are not looked at */
};

/* Caller frees *ret_sql. RC_FATAL when the text has a placeholder without a value (the name is in the error).
 * Values that the text does not use are fine: one list serves many statements. */
enum rc template_render(const char *text, const struct template_value *values, size_t count, char **ret_sql,
                        struct err *err);

/* Append `name` in double quotes, `value` in single quotes, by the rules of PQescapeIdentifier and PQescapeLiteral,
 * for any server setting. RC_INVALID for what is not UTF-8, RC_FATAL when `buf` has failed. */
enum rc template_add_identifier(struct strbuf *buf, const char *name, struct err *err);
enum rc template_add_literal(struct strbuf *buf, const char *value, struct err *err);

#endif
