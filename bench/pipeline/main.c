/* bench-pipeline - how much of what the server can take the whole `reembed run` uses.
 *
 * Both sides in one go, on one server, over the same documents and the same vectors (those of embed/hashing.h):
 *   unnest   one connection: read a window by keyset, INSERT ... SELECT FROM unnest(...), wait, repeat
 *   copy     the same with COPY ... FROM STDIN (FORMAT binary)
 *   reembed  the program from start to completed: schema, capture, count, chunks, fenced writes, exact sweep, flip
 *   empty    the same over one document: what a run costs however many there are
 * in turn, for as many rounds as asked; the ratio is that of the medians. What a document costs beyond the empty run must
 * not depend on how many there are.
 *
 * usage: bench-pipeline --database-url URL --reembed BINARY [--documents 200000] [--dimensions 384] [--rounds 3]
 * The database must be empty and have the extension vector; everything is made in it anew each round.
 */
#include <endian.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "db/connection.h"
#include "db/params.h"
#include "db/result.h"
#include "db/schema.h"
#include "embed/hashing.h"
#include "whole_run.h"

#define WINDOW     500
#define MAX_ROUNDS 15

struct figure {
    double seconds[MAX_ROUNDS];
    double working[MAX_ROUNDS]; /* reembed: from the end of the count to completed */
    double cpu[MAX_ROUNDS];     /* of the client */
    long peak_kb;
};

static void
die(const char *what, const struct err *err)
{
    fprintf(stderr, "bench-pipeline: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

static void
run_sql(struct db *db, const char *sql)
{
    struct err err = ERR_INIT;

    if (db_exec_raw(db, sql, DB_NO_TIMEOUT, DB_NO_TIMEOUT, &err) != RC_OK)
        die(sql, &err);
}

static void
make_documents(struct db *db, long documents)
{
    char sql[512];

    run_sql(db, "DROP TABLE IF EXISTS docs");
    run_sql(db, "CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL)");
    snprintf(
        sql, sizeof sql,
        "INSERT INTO docs SELECT g, (SELECT string_agg(md5(g::text || k::text), ' ') FROM generate_series(1, 31) k) "
        "FROM generate_series(1, %ld) g",
        documents);
    run_sql(db, sql);
    run_sql(db, "DROP TABLE IF EXISTS one_doc");
    run_sql(db, "CREATE TABLE one_doc (LIKE docs INCLUDING ALL)");
    run_sql(db, "INSERT INTO one_doc SELECT * FROM docs LIMIT 1");
    run_sql(db, "VACUUM ANALYZE");
}

/* --- hand-written --- */

struct window {
    size_t count;
    struct doc_key keys[WINDOW];
    const unsigned char *hashes[WINDOW];
    const float *rows[WINDOW];
};

static PGresult *
read_window(struct db *db, struct params *params, int64_t after, struct window *window, float *vectors,
            size_t dimensions, uint64_t seed)
{
    struct err err = ERR_INIT;
    PGresult *rows = NULL;

    params_reset(params);
    params_add_int8(params, after);
    params_add_int4(params, WINDOW);
    if (db_exec(db, "SELECT id, md5(body)::uuid AS hash, body FROM docs WHERE id > $1 ORDER BY id LIMIT $2", params,
                &rows, &err) != RC_OK)
        die("read", &err);
    window->count = (size_t)result_rows(rows);
    for (size_t i = 0; i < window->count; i++) {
        struct db_text body = result_text_at(rows, (int)i, 2);
        window->keys[i] = result_key_at(rows, (int)i, 0);
        window->hashes[i] = result_uuid_at(rows, (int)i, 1);
        window->rows[i] = vectors + i * dimensions;
        hashing_vector(seed, body.bytes, body.length, dimensions, vectors + i * dimensions);
    }
    return rows;
}

static void
raw_unnest(struct db *db, const struct vector_types *types, size_t dimensions, uint64_t seed)
{
    struct params params = PARAMS_INIT;
    struct err err = ERR_INIT;
    struct window window;
    float *vectors = calloc(WINDOW * dimensions, sizeof *vectors);
    int64_t after = 0;

    if (!vectors)
        die("out of memory", NULL);
    for (;;) {
        PGresult *rows = read_window(db, &params, after, &window, vectors, dimensions, seed);
        if (window.count > 0) {
            after = result_int64(rows, (int)window.count - 1, "id");
            params_reset(&params);
            params_add_key_array(&params, PG_INT8, window.keys, window.count);
            params_add_uuid_array(&params, window.hashes, window.count);
            params_add_vectors(&params, types, VECTOR_FLOAT4, window.rows, window.count, dimensions);
            if (db_exec(db, "INSERT INTO raw_target SELECT u.id, 1, u.h, u.v FROM unnest($1, $2, $3) AS u(id, h, v)",
                        &params, NULL, &err) != RC_OK)
                die("insert", &err);
        }
        PQclear(rows);
        if (window.count < WINDOW)
            break;
    }
    free(vectors);
    params_clear(&params);
}

static char *
put(char *to, const void *bytes, size_t length)
{
    memcpy(to, bytes, length);
    return to + length;
}

static char *
put32(char *to, uint32_t value)
{
    value = htobe32(value);
    return put(to, &value, sizeof value);
}

static char *
put_row(char *to, const struct window *window, size_t i, size_t dimensions)
{
    uint16_t fields = htobe16(4), size = htobe16((uint16_t)dimensions), unused = 0;
    uint64_t token = htobe64(1);

    to = put(to, &fields, sizeof fields);
    to = put32(to, 8);
    to = put(to, window->keys[i].bytes, 8);
    to = put32(to, 8);
    to = put(to, &token, sizeof token);
    to = put32(to, 16);
    to = put(to, window->hashes[i], 16);
    to = put32(to, (uint32_t)(4 + dimensions * 4));
    to = put(to, &size, sizeof size);
    to = put(to, &unused, sizeof unused);
    for (size_t d = 0; d < dimensions; d++) {
        uint32_t bits;
        memcpy(&bits, window->rows[i] + d, sizeof bits);
        to = put32(to, bits);
    }
    return to;
}

/* A connection of its own: the project's layer has no COPY. */
static void
raw_copy(struct db *db, const char *url, size_t dimensions, uint64_t seed)
{
    static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
    struct params params = PARAMS_INIT;
    struct window window;
    float *vectors = calloc(WINDOW * dimensions, sizeof *vectors);
    char *buffer = malloc(64 + WINDOW * (64 + dimensions * 4));
    PGconn *conn = PQconnectdb(url);
    int64_t after = 0;

    if (!vectors || !buffer || PQstatus(conn) != CONNECTION_OK)
        die("can't connect", NULL);
    for (;;) {
        PGresult *rows = read_window(db, &params, after, &window, vectors, dimensions, seed);
        if (window.count > 0) {
            char *to = put(buffer, header, 19);
            uint16_t end = 0xffff;
            after = result_int64(rows, (int)window.count - 1, "id");
            for (size_t i = 0; i < window.count; i++)
                to = put_row(to, &window, i, dimensions);
            to = put(to, &end, sizeof end);
            PQclear(PQexec(conn, "COPY raw_target FROM STDIN (FORMAT binary)"));
            PQputCopyData(conn, buffer, (int)(to - buffer));
            PQputCopyEnd(conn, NULL);
            PGresult *done = PQgetResult(conn);
            if (PQresultStatus(done) != PGRES_COMMAND_OK)
                die(PQerrorMessage(conn), NULL);
            PQclear(done);
            PQclear(PQgetResult(conn));
        }
        PQclear(rows);
        if (window.count < WINDOW)
            break;
    }
    PQfinish(conn);
    free(buffer);
    free(vectors);
    params_clear(&params);
}

static void
measure_raw(struct db *db, const char *url, const struct vector_types *types, size_t dimensions, uint64_t seed,
            bool copy, struct figure *figure, int round)
{
    struct rusage before, after;
    char sql[256];

    snprintf(
        sql, sizeof sql,
        "CREATE TABLE raw_target (doc_id bigint PRIMARY KEY, read_token bigint NOT NULL, content_hash uuid, embedding \"%s\".vector(%zu))",
        types->schema, dimensions);
    run_sql(db, "DROP TABLE IF EXISTS raw_target");
    run_sql(db, sql);
    run_sql(db, "CHECKPOINT");
    getrusage(RUSAGE_SELF, &before);
    int64_t start = clock_now_us();
    if (copy)
        raw_copy(db, url, dimensions, seed);
    else
        raw_unnest(db, types, dimensions, seed);
    figure->seconds[round] = (double)(clock_now_us() - start) / 1e6;
    getrusage(RUSAGE_SELF, &after);
    figure->cpu[round] = rusage_cpu_seconds(&after) - rusage_cpu_seconds(&before);
    run_sql(db, "DROP TABLE raw_target");
}

/* --- reembed --- */

static double
working_seconds(struct db *db)
{
    struct err err = ERR_INIT;
    PGresult *result = NULL;

    if (db_exec(
            db,
            "SELECT extract(epoch FROM max(at) FILTER (WHERE event = 'complete') - max(at) FILTER (WHERE event = 'captured'))::float8 AS s "
            "FROM reembed.events",
            NULL, &result, &err) != RC_OK)
        die("events", &err);
    double seconds = result_float64(result, 0, "s");
    PQclear(result);
    return seconds;
}

static void
measure_reembed(struct db *db, const char *url, const char *binary, const char *table, size_t dimensions,
                struct figure *figure, int round)
{
    struct whole_run run;
    char migration[512];

    snprintf(
        migration, sizeof migration,
        "{\"id\": \"bench\", \"collection\": \"bench\", \"documents\": {\"table\": \"%s\", \"id\": \"id\", \"content\": \"body\"},\n"
        " \"source\": null, \"target\": {\"model\": \"bench\", \"dimensions\": %zu, \"index\": {\"method\": \"none\"},\n"
        " \"provider\": {\"kind\": \"hashing\"}}}\n",
        table, dimensions);
    run_sql(db, "DROP SCHEMA IF EXISTS reembed_data CASCADE");
    run_sql(db, "DROP SCHEMA IF EXISTS reembed CASCADE");
    run_sql(db, "CHECKPOINT");
    if (!whole_run(binary, url, migration, &run))
        die("reembed run failed", NULL);
    figure->seconds[round] = run.seconds;
    figure->cpu[round] = run.cpu_seconds;
    if (run.peak_kb > figure->peak_kb)
        figure->peak_kb = run.peak_kb;
    figure->working[round] = working_seconds(db);
}

/* --- report --- */

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(const double *values, int count)
{
    double sorted[MAX_ROUNDS];

    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void
print_figure(const char *name, const struct figure *figure, long documents, int rounds, double base)
{
    double seconds = median(figure->seconds, rounds);

    printf("  %-8s %9.0f docs/s   ratio to unnest %5.2f   client CPU-s per 1,000 docs %.4f", name,
           (double)documents / seconds, base / seconds, median(figure->cpu, rounds) * 1000 / (double)documents);
    if (figure->peak_kb)
        printf("   peak RSS %.1f MB", (double)figure->peak_kb / 1024);
    printf("\n");
}

int
main(int argc, char **argv)
{
    const char *url = NULL, *binary = NULL;
    long documents = 200000, dimensions = 384;
    int rounds = 3;
    struct db *db = NULL;
    struct vector_types types;
    struct err err = ERR_INIT;
    struct figure unnest = {.peak_kb = 0}, copy = {.peak_kb = 0}, ours = {.peak_kb = 0}, empty = {.peak_kb = 0};

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--database-url") == 0)
            url = argv[i + 1];
        else if (strcmp(argv[i], "--reembed") == 0)
            binary = argv[i + 1];
        else if (strcmp(argv[i], "--documents") == 0)
            documents = strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--dimensions") == 0)
            dimensions = strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (int)strtol(argv[i + 1], NULL, 10);
    }
    if (!url || !binary || documents < 1 || dimensions < 1 || dimensions > 16000 || rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(
            stderr,
            "usage: bench-pipeline --database-url URL --reembed BINARY [--documents N] [--dimensions N] [--rounds N]\n");
        return 2;
    }
    if (db_open(&(struct db_options){.url = url, .statement_timeout_ms = DB_NO_TIMEOUT}, &db, &err) != RC_OK ||
        schema_vector_types(db, &types, &err) != RC_OK)
        die("can't begin", &err);
    make_documents(db, documents);
    uint64_t seed = hashing_xxh64("bench", 5, 0);
    for (int round = 0; round < rounds; round++) {
        measure_raw(db, url, &types, (size_t)dimensions, seed, false, &unnest, round);
        measure_reembed(db, url, binary, "docs", (size_t)dimensions, &ours, round);
        measure_reembed(db, url, binary, "one_doc", (size_t)dimensions, &empty, round);
        measure_raw(db, url, &types, (size_t)dimensions, seed, true, &copy, round);
    }
    printf("%ld documents of about 1 kB, %ld dimensions, %d rounds, medians\n", documents, dimensions, rounds);
    double base = median(unnest.seconds, rounds);
    print_figure("unnest", &unnest, documents, rounds, base);
    print_figure("copy", &copy, documents, rounds, base);
    print_figure("reembed", &ours, documents, rounds, base);
    double fixed = median(empty.working, rounds), working = median(ours.working, rounds) - fixed;
    printf("  reembed beyond a run over one document (%.0f ms of work): %.0f docs/s, %.2f us a document\n", fixed * 1e3,
           (double)documents / working, working * 1e6 / (double)documents);
    db_close(db);
    return 0;
}
