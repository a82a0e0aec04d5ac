/* bench-capture - what change capture costs the application: its statements a second without and with the triggers.
 *
 * Four kinds of writes on a table of 1 kB documents, one connection: update and insert of one row, update and insert of
 * 1,000 rows a statement. Each slice runs without and with capture in turn (A B A B ...); the ratio is that of the medians.
 * The change log is emptied before each slice, as a drainer would keep it.
 *
 * usage: bench-capture --database-url URL [--rounds 5] [--seconds 2]
 * The database must be empty and have the extension vector.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/connection.h"
#include "db/params.h"
#include "db/schema.h"

#define DOCUMENTS  100000
#define MAX_ROUNDS 25

static void
die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench-capture: %s: %s\n", what, err->message);
    exit(1);
}

static void
run_sql(struct db *db, const char *sql)
{
    struct err err = ERR_INIT;

    if (db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err) != RC_OK)
        die(sql, &err);
}

static const struct {
    const char *name;
    const char *sql; /* $1: a row to begin with; $2: a number that was never used before */
    int rows;
} kinds[] = {
    {"update, 1 row", "UPDATE docs SET body = body || 'x' WHERE id = $1 AND $2 > 0", 1},
    {"insert, 1 row", "INSERT INTO docs (id, body) SELECT $2, repeat('word ', 200) WHERE $1 > 0", 1},
    {"update, 1,000 rows", "UPDATE docs SET body = left(body, 1000) || $2 WHERE id >= $1 AND id < $1 + 1000", 1000},
    {"insert, 1,000 rows",
     "INSERT INTO docs (id, body) SELECT $2 * 1000 + g, repeat('word ', 200) FROM generate_series(0, 999) g WHERE $1 > 0",
     1000},
};

static void
make_documents(struct db *db)
{
    char sql[256];

    snprintf(sql, sizeof sql, "INSERT INTO docs SELECT g, repeat('word ', 200) FROM generate_series(1, %d) g",
             DOCUMENTS);
    run_sql(db, "TRUNCATE docs");
    run_sql(db, sql);
    run_sql(db, "VACUUM ANALYZE docs");
    run_sql(db, "CHECKPOINT");
}

/* Statements a second. */
static double
slice(struct db *db, size_t kind, double seconds)
{
    static int64_t fresh = 1000000;
    struct params params = PARAMS_INIT;
    struct err err = ERR_INIT;
    int64_t start = clock_now_us(), count = 0;

    while ((double)(clock_now_us() - start) < seconds * 1e6) {
        params_reset(&params);
        params_add_int8(&params, 1 + random() % (DOCUMENTS - 1000));
        params_add_int8(&params, fresh++);
        if (db_exec(db, kinds[kind].sql, &params, NULL, &err) != RC_OK)
            die(kinds[kind].sql, &err);
        count++;
    }
    params_clear(&params);
    return (double)count / ((double)(clock_now_us() - start) / 1e6);
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void
capture(struct db *db, bool on)
{
    static const char all[] =
        "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'docs'::regclass "
        "AND NOT tgisinternal LOOP EXECUTE format('ALTER TABLE docs %s TRIGGER %%I', t.tgname); END LOOP; END $$";
    char sql[sizeof all + 32];

    snprintf(sql, sizeof sql, all, on ? "ENABLE ALWAYS" : "DISABLE");
    run_sql(db, sql);
    run_sql(db, "TRUNCATE reembed_data.docs_changes");
}

int
main(int argc, char **argv)
{
    const char *url = NULL;
    double seconds = 2;
    int rounds = 5;
    struct db *db = NULL;
    struct err err = ERR_INIT;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--database-url") == 0)
            url = argv[i + 1];
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (int)strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
    }
    if (!url || rounds < 1 || rounds > MAX_ROUNDS || seconds <= 0) {
        fprintf(stderr, "usage: bench-capture --database-url URL [--rounds N] [--seconds S]\n");
        return 2;
    }
    if (db_open(&(struct db_options){.url = url, .statement_timeout_ms = DB_NO_TIMEOUT}, &db, &err) != RC_OK ||
        schema_install(db, &err) != RC_OK)
        die("can't begin", &err);
    run_sql(db, "CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL)");
    run_sql(
        db,
        "SELECT reembed.create_migration('bench', '{\"collection\": \"docs\", \"documents\": {\"table\": \"docs\", \"id\": \"id\", "
        "\"content\": \"body\", \"where\": null}, \"source\": null, \"target\": {\"model\": \"bench\", \"dimensions\": 3, \"type\": \"vector\", "
        "\"metric\": \"cosine\", \"placement\": \"side\", \"index\": {\"method\": \"none\"}}, \"backfill\": {}, \"gates\": {}, \"limits\": {}, "
        "\"database\": {}}', false)");
    run_sql(db, "SELECT reembed.start('bench')");
    run_sql(db, "SELECT reembed.install_capture('docs')");
    printf("statements a second without and with change capture, %d rounds of %.1f s, medians\n", rounds, seconds);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        double without[MAX_ROUNDS], with[MAX_ROUNDS];
        capture(db, false);
        make_documents(db);
        for (int round = 0; round < rounds; round++) {
            capture(db, false);
            without[round] = slice(db, kind, seconds);
            capture(db, true);
            with[round] = slice(db, kind, seconds);
        }
        double a = median(without, rounds), b = median(with, rounds);
        printf("  %-20s %9.1f %9.1f   ratio %.2f\n", kinds[kind].name, a, b, b / a);
    }
    db_close(db);
    return 0;
}
