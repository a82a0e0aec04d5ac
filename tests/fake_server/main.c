/* fake-embedding-server: an embeddings server of any dialect whose answers can be recomputed, and that can misbehave
 * on demand. See --help. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/json.h"
#include "tests/fake_server/server.h"

static void
help(void)
{
    printf(
        "usage: fake-embedding-server [--port N] [--config FILE] [--journal FILE] [--SETTING VALUE]...\n"
        "\n"
        "Listens on 127.0.0.1 and prints the port on a line of its own (port 0, the default: a free one). Vectors are\n"
        "those of embed/hashing.h for the model's name and the text, so that a test can recompute each of them. (A\n"
        "dialect whose requests name no model takes the setting `model`.) Ends on SIGTERM or SIGINT.\n"
        "\n"
        "  --port N         to listen on\n"
        "  --config FILE    JSON object of settings; options behind it win\n"
        "  --journal FILE   one JSON line a request: at, request, connection, texts, tokens, status, outcome,\n"
        "                   violation, in_flight (with this one), hashes (XXH64 of each text, seed 0)\n"
        "  --SETTING VALUE  any of the settings below; value is JSON, or a string\n"
        "\n"
        "GET /control gives the counters, POST /control applies a JSON object of settings; {\"reset\": true} in it\n"
        "first puts counters and settings back to what they were at the start. Examples:\n"
        "\n"
        "  fake-embedding-server --dialect tei --model m --dimensions 384 --latency-ms 20\n"
        "  fake-embedding-server --fault '{\"kind\":\"status\",\"status\":429,\"at\":3,\"retry\":\"date\"}'\n"
        "  fake-embedding-server --fault '{\"kind\":\"nan\",\"marker\":\"NANDOC\"}' --requests-per-minute 100\n"
        "\n");
    settings_describe();
}

static int
usage(const char *message)
{
    fprintf(stderr, "fake-embedding-server: %s\n", message);
    return 2;
}

static enum rc
read_config(struct settings *settings, const char *path, struct err *err)
{
    cJSON *root = NULL;
    enum rc rc = json_read_file(path, &root, err);

    if (rc == RC_OK)
        rc = settings_apply(settings, root, err);
    cJSON_Delete(root);
    return rc;
}

int
main(int argc, char **argv)
{
    struct settings settings;
    struct fake fake;
    struct err err = ERR_INIT;
    const char *journal = NULL;
    uint16_t port = 0;
    int listener = -1;
    sigset_t signals;

    settings_default(&settings);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            help();
            return 0;
        }
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 >= argc)
            return usage("every option is --NAME VALUE; see --help");
        const char *name = argv[i] + 2, *value = argv[++i];
        enum rc rc = RC_OK;

        if (strcmp(name, "port") == 0) {
            unsigned long number = strtoul(value, NULL, 10);
            if (number > 65535)
                return usage("--port is from 0 to 65535");
            port = (uint16_t)number;
        } else if (strcmp(name, "journal") == 0) {
            journal = value;
        } else if (strcmp(name, "config") == 0) {
            rc = read_config(&settings, value, &err);
        } else {
            rc = settings_apply_text(&settings, name, value, &err);
        }
        if (rc != RC_OK)
            return usage(err.message);
    }

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    int stop = -1;
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0 || (stop = signalfd(-1, &signals, SFD_CLOEXEC)) < 0 ||
        !fake_open(&fake, &settings))
        return usage(strerror(errno));
    if (journal != NULL && (fake.journal = fopen(journal, "ae")) == NULL)
        return usage(strerror(errno));
    enum rc rc = server_listen(port, &listener, &port, &err);
    if (rc == RC_OK) {
        printf("%u\n", port);
        fflush(stdout);
        rc = server_run(listener, stop, &fake, &err);
        (void)close(listener);
    }
    if (rc != RC_OK)
        fprintf(stderr, "fake-embedding-server: %s\n", err.message);
    if (fake.journal != NULL)
        (void)fclose(fake.journal);
    fake_close(&fake);
    (void)close(stop);
    return rc == RC_OK ? 0 : 1;
}
