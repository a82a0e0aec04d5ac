#include "cli/serve_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "cli/session.h"
#include "coordinator/exit_code.h"

/* The first line of a file. */
static enum rc
read_token(const char *path, char token[SERVE_TOKEN_MAX + 2], struct err *err)
{
    FILE *file = fopen(path, "re");
    size_t length = 0;

    if (file != NULL) {
        length = fread(token, 1, SERVE_TOKEN_MAX + 1, file);
        (void)fclose(file);
    }
    token[length] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    if (token[0] == '\0')
        return err_set(err, RC_INVALID, ERR_USAGE, "--token-file %s: %s", path,
                       file == NULL ? strerror(errno) : "there is nothing in it");
    return RC_OK;
}

static enum rc
open_server(const struct invocation *invocation, const char *listen, const struct measurements *measurements,
            struct server **ret_server, struct err *err)
{
    char token[SERVE_TOKEN_MAX + 2] = "";
    const char *path = option_text(invocation->arguments, "token-file");
    const char *variable = getenv("REEMBED_SERVE_TOKEN");
    enum rc rc = RC_OK;

    if (path != NULL)
        rc = read_token(path, token, err);
    else if (variable != NULL)
        (void)snprintf(token, sizeof token, "%s", variable);
    const struct serve_options options = {
        .listen = listen,
        .database_url = invocation->common.database_url,
        .token = token[0] == '\0' ? NULL : token,
        .allow_control = option_given(invocation->arguments, "allow-control"),
        .measurements = measurements,
    };
    if (rc == RC_OK)
        rc = server_open(&options, ret_server, err);
    explicit_bzero(token, sizeof token);
    return rc;
}

enum rc
serve_beside(const struct invocation *invocation, struct measurements **ret_measurements, struct server **ret_server,
             struct err *err)
{
    struct measurements *measurements = calloc(1, sizeof *measurements);
    if (measurements == NULL)
        return err_memory(err);
    enum rc rc = open_server(invocation, option_text(invocation->arguments, "listen"), measurements, ret_server, err);
    if (rc != RC_OK) {
        free(measurements);
        return rc;
    }
    log_event(LOG_INFO, "listening", LF_STR("url", server_url(*ret_server)));
    *ret_measurements = measurements;
    return RC_OK;
}

int
serve_run(const struct invocation *invocation, struct err *err)
{
    static const struct timespec a_moment = {.tv_nsec = 50000000};
    const char *listen = option_text(invocation->arguments, "listen");
    struct server *server = NULL;
    struct db *db = NULL;

    enum rc rc = session_open(invocation, &db, err); /* a wrong address of the database is seen at once */
    db_close(db);
    if (rc == RC_OK)
        rc = open_server(invocation, listen == NULL ? SERVE_DEFAULT_LISTEN : listen, NULL, &server, err);
    if (rc != RC_OK)
        return exit_code_of(rc, err);
    log_event(LOG_INFO, "listening", LF_STR("url", server_url(server)));
    output_print(&invocation->out, "Listening on %s until SIGTERM.\n", server_url(server));
    output_next(&invocation->out, "open %s, or let Prometheus scrape %smetrics", server_url(server),
                server_url(server));
    (void)output_finish(&invocation->out, err);
    while (!atomic_load(invocation->stop))
        (void)nanosleep(&a_moment, NULL);
    server_close(server);
    return EXIT_DONE;
}
