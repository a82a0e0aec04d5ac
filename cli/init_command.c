/* init: the schema, and rights for two usual roles. */
#include "cli/session.h"
#include "cli/statements.h"
#include "coordinator/exit_code.h"
#include "db/schema.h"
#include "db/template.h"

static enum rc
grant(struct db *db, const char *role, const char *kind, const struct output *out, struct err *err)
{
    cJSON *answer = NULL;
    struct params params = PARAMS_INIT;

    if (role == NULL)
        return RC_OK;
    params_add_text(&params, role);
    params_add_text(&params, kind);
    enum rc rc = session_json(db, sql_call_grant_role, &params, &answer, err);
    if (rc == RC_OK)
        output_print(out, "%s is now %s %s of the schema reembed\n", role, kind[0] == 'o' ? "an" : "a", kind);
    cJSON_Delete(answer);
    params_clear(&params);
    return rc;
}

static enum rc
install(const struct invocation *invocation, struct db *db, struct err *err)
{
    int before = 0;
    int latest = 0;
    const struct output *out = &invocation->out;

    enum rc rc = schema_version(db, &before, &latest, err);
    if (rc == RC_OK)
        rc = schema_install(db, err);
    if (rc != RC_OK)
        return rc;
    if (before == 0)
        output_print(out, "The schema reembed is installed (version %d).\n", latest);
    else if (before < latest)
        output_print(out, "The schema reembed was brought from version %d to %d.\n", before, latest);
    else
        output_print(out, "The schema reembed is there already (version %d).\n", latest);
    rc = grant(db, option_text(invocation->arguments, "reader"), "reader", out, err);
    if (rc == RC_OK)
        rc = grant(db, option_text(invocation->arguments, "operator"), "operator", out, err);
    if (rc == RC_OK)
        output_next(out, "reembed plan FILE");
    return rc;
}

/* The same as SQL, behind the schema's. */
static enum rc
print_grant(FILE *stream, const char *role, const char *kind, struct err *err)
{
    struct strbuf sql;

    if (role == NULL)
        return RC_OK;
    strbuf_init(&sql, 4096);
    strbuf_puts(&sql, "SELECT reembed.grant_role(");
    enum rc rc = template_add_literal(&sql, role, err);
    if (rc == RC_OK)
        (void)fprintf(stream, "\n%s, '%s');\n", strbuf_text(&sql), kind);
    strbuf_free(&sql);
    return rc;
}

static enum rc
print_all(const struct invocation *invocation, struct err *err)
{
    FILE *stream = invocation->out.stream;
    enum rc rc = schema_print(stream, err);
    if (rc == RC_OK)
        rc = print_grant(stream, option_text(invocation->arguments, "reader"), "reader", err);
    if (rc == RC_OK)
        rc = print_grant(stream, option_text(invocation->arguments, "operator"), "operator", err);
    return rc;
}

int
init_run(const struct invocation *invocation, struct err *err)
{
    struct db *db = NULL;

    if (option_given(invocation->arguments, "print"))
        return exit_code_of(print_all(invocation, err), err);
    enum rc rc = session_open(invocation, &db, err);
    if (rc == RC_OK)
        rc = install(invocation, db, err);
    db_close(db);
    return exit_code_of(rc, err);
}
