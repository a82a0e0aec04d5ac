/* Several threads: schema installations that race, cancels from outside while the owner reconnects. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/schema.h"
#include "tests/db/fresh_database.h"

enum { INSTALLERS = 8, ROUNDS = 20 };

static struct fresh_database database;
static pthread_barrier_t barrier;
static atomic_bool finished;

static void *
install(void *ignored)
{
    struct err err = ERR_INIT;
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    pthread_barrier_wait(&barrier);
    if (schema_install(db, &err) != RC_OK) {
        fprintf(stderr, "schema_install: %s\n", err.message);
        abort();
    }
    if (schema_check(db, &err) != RC_OK)
        abort();
    db_close(db);
    return ignored;
}

static void *
cancel_again_and_again(void *db)
{
    while (!atomic_load(&finished))
        (void)db_cancel(db, NULL); /* nothing may be connected right now */
    return NULL;
}

static void
installations_race(void)
{
    pthread_t threads[INSTALLERS];
    int installed = 0;
    int latest = 0;
    struct err err = ERR_INIT;

    pthread_barrier_init(&barrier, NULL, INSTALLERS);
    for (int i = 0; i < INSTALLERS; i++)
        pthread_create(&threads[i], NULL, install, NULL);
    for (int i = 0; i < INSTALLERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);

    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    if (schema_version(db, &installed, &latest, &err) != RC_OK || installed != latest ||
        must_read_int64(db, "select count(*) as v from reembed.schema_version") != latest)
        abort();
    db_close(db);
}

static void
cancels_race_with_statements_and_reconnects(void)
{
    pthread_t thread;
    struct err err = ERR_INIT;
    struct db *db = fresh_database_connect(&database, (struct db_options){0});
    int cancelled = 0;

    pthread_create(&thread, NULL, cancel_again_and_again, db);
    for (int round = 0; round < ROUNDS; round++) {
        enum rc rc = db_exec(db, "select pg_sleep(20)", NULL, NULL, &err);
        /* a cancel may also hit while the settings are made; it never looks like success or a lost connection */
        if (rc != RC_CLOSED && rc != RC_RETRY) {
            fprintf(stderr, "%s: %s\n", rc_name(rc), err.message);
            abort();
        }
        cancelled += rc == RC_CLOSED;
        while ((rc = db_reconnect(db, NULL, &err)) == RC_CLOSED || rc == RC_RETRY)
            ;
        if (rc != RC_OK)
            abort();
    }
    atomic_store(&finished, true);
    pthread_join(thread, NULL);
    db_close(db);
    if (cancelled == 0) {
        fputs("no cancel was seen as one\n", stderr);
        abort();
    }
}

int
main(void)
{
    fresh_database_create(&database, false);
    installations_race();
    cancels_race_with_statements_and_reconnects();
    fresh_database_drop(&database);
    return 0;
}
