/* bench-capture - what change capture costs the application: its statements a second without triggers, with the plainest
 * triggers that could record the same, and with those of reembed.
 *
 * Four kinds of writes on a table of 1 kB documents, one connection: update and insert of one row, update and insert of
 * 1,000 rows a statement. The three take turns slice by slice; the ratios are those of the medians. The change logs are
 * emptied before each slice, as a drainer would keep them.
 *
 * The plainest: one statement trigger an event, straight into a log with one key column. It serves one space, knows
 * neither expressions nor filters, and where it fails the application's write fails. It is the limit of the method.
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
    {"insert, 1 row", "INSERT INTO docs (id, body) SELECT $2, body FROM texts WHERE id = 1 + $1 % 1000", 1},
    {"update, 1,000 rows", "UPDATE docs SET body = left(body, 1000) || $2 WHERE id >= $1 AND id < $1 + 1000", 1000},
    {"insert, 1,000 rows", "INSERT INTO docs (id, body) SELECT $2 * 1000 + id, body FROM texts WHERE $1 > 0", 1000},
};

static void
make_documents(struct db *db)
{
    char sql[256];

    snprintf(sql, sizeof sql,
             "INSERT INTO docs SELECT g, body FROM generate_series(1, %d) g JOIN texts ON id = 1 + g %% 1000",
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

enum manner { WITHOUT, PLAINEST, REEMBED, MANNERS };

static const char *const plainest[] = {
    "CREATE TABLE plain_changes (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc_id bigint)",
    "CREATE FUNCTION plain_insert() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
    "SET search_path = pg_catalog, pg_temp AS $$ BEGIN "
    "INSERT INTO public.plain_changes (doc_id) SELECT id FROM new_rows; RETURN NULL; END $$",
    "CREATE FUNCTION plain_update() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
    "SET search_path = pg_catalog, pg_temp AS $$ BEGIN INSERT INTO public.plain_changes (doc_id) "
    "SELECT coalesce(n.id, o.id) FROM new_rows n FULL JOIN old_rows o ON n.id = o.id "
    "WHERE n.id IS NULL OR o.id IS NULL OR n.body IS DISTINCT FROM o.body; RETURN NULL; END $$",
    "CREATE TRIGGER plain_insert AFTER INSERT ON docs REFERENCING NEW TABLE AS new_rows "
    "FOR EACH STATEMENT EXECUTE FUNCTION plain_insert()",
    "CREATE TRIGGER plain_update AFTER UPDATE ON docs REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows "
    "FOR EACH STATEMENT EXECUTE FUNCTION plain_update()",
};

static void
capture_by(struct db *db, enum manner manner)
{
    static const char *const wanted[MANNERS] = {"false", "t.tgname LIKE 'plain%%'", "t.tgname LIKE 'reembed%%'"};
    static const char all[] =
        "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'docs'::regclass "
        "AND NOT tgisinternal LOOP EXECUTE format('ALTER TABLE docs %%s TRIGGER %%I', "
        "CASE WHEN %s THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END, t.tgname); END LOOP; END $$";
    char sql[sizeof all + 64];

    snprintf(sql, sizeof sql, all, wanted[manner]);
    run_sql(db, sql);
    run_sql(db, "TRUNCATE reembed_data.docs_changes, plain_changes");
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
    run_sql(db, "CREATE TABLE texts AS SELECT g AS id, (SELECT string_agg(md5(g::text || k), ' ') FROM "
                "generate_series(1, 31) k) AS body FROM generate_series(1, 1000) g");
    run_sql(db, "CREATE UNIQUE INDEX ON texts (id)");
    run_sql(db, "CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL)");
    for (size_t i = 0; i < sizeof plainest / sizeof *plainest; i++)
        run_sql(db, plainest[i]);
    run_sql(
        db,
        "SELECT reembed.create_migration('bench', '{\"collection\": \"docs\", \"documents\": {\"table\": \"docs\", \"id\": \"id\", "
        "\"content\": \"body\", \"where\": null}, \"source\": null, \"target\": {\"model\": \"bench\", \"dimensions\": 3, \"type\": \"vector\", "
        "\"metric\": \"cosine\", \"placement\": \"side\", \"index\": {\"method\": \"none\"}}, \"backfill\": {}, \"gates\": {}, \"limits\": {}, "
        "\"database\": {}}', false)");
    run_sql(db, "SELECT reembed.start('bench')");
    run_sql(db, "SELECT reembed.install_capture('docs')");
    printf("statements a second without change capture, with the plainest there could be, and with reembed's\n"
           "%d rounds of %.1f s, medians\n",
           rounds, seconds);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        double rates[MANNERS][MAX_ROUNDS], middle[MANNERS];
        capture_by(db, WITHOUT);
        make_documents(db);
        for (int round = 0; round < rounds; round++)
            for (int manner = 0; manner < MANNERS; manner++) {
                capture_by(db, (enum manner)manner);
                rates[manner][round] = slice(db, kind, seconds);
            }
        for (int manner = 0; manner < MANNERS; manner++)
            middle[manner] = median(rates[manner], rounds);
        printf("  %-20s %9.1f   plainest %9.1f (%.2f)   reembed %9.1f (%.2f)\n", kinds[kind].name, middle[WITHOUT],
               middle[PLAINEST], middle[PLAINEST] / middle[WITHOUT], middle[REEMBED],
               middle[REEMBED] / middle[WITHOUT]);
    }
    db_close(db);
    return 0;
}
