/* Every kind of parameter goes to a server and comes back. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "db/schema.h"
#include "db/vector.h"
#include "tests/db/fresh_database.h"

static struct fresh_database database;
static struct db *db;
static struct params params = PARAMS_INIT;
static struct err err;
static PGresult *result;
static struct vector_types types;

static void
set_up(void)
{
    fresh_database_create(&database, true);
    db = fresh_database_connect(&database, (struct db_options){0});
    cr_assert_eq(schema_vector_types(db, &types, &err), RC_OK, "%s", err.message);
}

static void
tear_down(void)
{
    PQclear(result);
    params_clear(&params);
    db = db_close(db);
    fresh_database_drop(&database);
}

TestSuite(params_round_trip, .init = set_up, .fini = tear_down, .timeout = 60);

static void
run(const char *sql)
{
    PQclear(result);
    result = NULL;
    cr_assert_eq(db_exec(db, sql, &params, &result, &err), RC_OK, "%s: %s", sql, err.message);
    params_reset(&params);
}

/* $1 as Postgres shows it. */
static void
expect_shown(const char *expected)
{
    run("select $1::text as v");
    cr_assert_str_eq(result_string(result, 0, "v"), expected);
}

Test(params_round_trip, integers_at_their_limits)
{
    static const int64_t values[] = {0, 1, -1, INT16_MAX, INT16_MIN, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char shown[32];
        snprintf(shown, sizeof shown, "%lld", (long long)values[i]);
        params_add_int8(&params, values[i]);
        expect_shown(shown);
        params_add_int8(&params, values[i]);
        params_add_int4(&params, (int32_t)values[i]);
        params_add_int2(&params, (int16_t)values[i]);
        run("select $1 as eight, $2 as four, $3 as two, pg_typeof($2)::text as type");
        cr_assert_eq(result_int64(result, 0, "eight"), values[i]);
        cr_assert_eq(result_int64(result, 0, "four"), (int32_t)values[i]);
        cr_assert_eq(result_int64(result, 0, "two"), (int16_t)values[i]);
        cr_assert_str_eq(result_string(result, 0, "type"), "integer");
    }
    run("select 4294967295::oid as o");
    cr_assert_eq(result_int64(result, 0, "o"), 4294967295);
}

Test(params_round_trip, reals_booleans_and_nulls)
{
    params_add_float8(&params, -0.1);
    params_add_float4(&params, FLT_MIN);
    params_add_bool(&params, true);
    params_add_bool(&params, false);
    params_add_null(&params, PG_INT8);
    params_add_text(&params, NULL);
    params_add_uuid(&params, NULL);
    run("select $1 as d, $2 as f, $3 as yes, $4 as no, $5 as none, $6 as text, $7 as uuid");
    cr_assert_eq(result_float64(result, 0, "d"), -0.1);
    cr_assert_eq(result_float64(result, 0, "f"), (double)FLT_MIN);
    cr_assert(result_bool(result, 0, "yes"));
    cr_assert_not(result_bool(result, 0, "no"));
    cr_assert(result_is_null(result, 0, "none"));
    cr_assert_not(result_is_null(result, 0, "d"));
    cr_assert_null(result_string(result, 0, "text"));
    cr_assert_null(result_uuid(result, 0, "uuid"));
    cr_assert(result_has_column(result, "text"));
    cr_assert_not(result_has_column(result, "TEXT"));
    cr_assert_eq(result_type(result, "d"), PG_FLOAT8);
}

Test(params_round_trip, text_json_and_uuid)
{
    static const unsigned char uuid[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};
    params_add_text(&params, "");
    params_add_text(&params, "it's \\ \"quoted\" \xe2\x82\xac");
    params_add_bytes(&params, "abcdef", 3);
    params_add_json(&params, "{\"a\": [1, null]}");
    params_add_uuid(&params, uuid);
    run("select $1 as empty, $2 as odd, $3 as cut, $4::jsonb->'a' as inner, $4 as json, $5 as uuid, $5::text as shown, "
        "'n'::name as name, 'v'::varchar(9) as varchar, 'c'::\"char\" as c");
    cr_assert_str_eq(result_string(result, 0, "empty"), "");
    cr_assert_eq(result_text(result, 0, "empty").length, 0);
    cr_assert_str_eq(result_string(result, 0, "odd"), "it's \\ \"quoted\" \xe2\x82\xac");
    cr_assert_str_eq(result_string(result, 0, "cut"), "abc");
    cr_assert_str_eq(result_string(result, 0, "inner"), "[1, null]");
    cr_assert_str_eq(result_string(result, 0, "json"), "{\"a\": [1, null]}");
    cr_assert_eq(memcmp(result_uuid(result, 0, "uuid"), uuid, 16), 0);
    cr_assert_str_eq(result_string(result, 0, "shown"), "00010203-0405-0607-0809-0a0b0c0d0eff");
    cr_assert_str_eq(result_string(result, 0, "name"), "n");
    cr_assert_str_eq(result_string(result, 0, "varchar"), "v");
    cr_assert_str_eq(result_string(result, 0, "c"), "c");
}

Test(params_round_trip, durations_and_points_in_time)
{
    char iso[RESULT_ISO_SIZE];

    params_add_interval_ms(&params, 90061001);
    expect_shown("25:01:01.001");
    params_add_interval_ms(&params, -1);
    expect_shown("-00:00:00.001");
    params_add_timestamptz(&params, 0);
    params_add_timestamptz(&params, -1);
    run("select $1 as zero, $2 as before, 'infinity'::timestamptz as inf, '-infinity'::timestamptz as minus, "
        "'2026-01-31 12:00:00.123456+02'::timestamptz as t, '0044-03-15 12:00Z'::timestamptz as old");
    cr_assert_str_eq(result_timestamptz_iso(result, 0, "zero", iso), "2000-01-01T00:00:00.000000Z");
    cr_assert_str_eq(result_timestamptz_iso(result, 0, "before", iso), "1999-12-31T23:59:59.999999Z");
    cr_assert_str_eq(result_timestamptz_iso(result, 0, "t", iso), "2026-01-31T10:00:00.123456Z");
    cr_assert_str_eq(result_timestamptz_iso(result, 0, "old", iso), "0044-03-15T12:00:00.000000Z");
    cr_assert_str_eq(result_timestamptz_iso(result, 0, "inf", iso), "infinity");
    cr_assert_str_eq(result_timestamptz_iso(result, 0, "minus", iso), "-infinity");
}

Test(params_round_trip, arrays_with_nulls_and_without_elements)
{
    const int64_t numbers[] = {INT64_MIN, 0, 7};
    const struct db_text texts[] = {{"a,b", 3}, {NULL, 0}, {"", 0}, {"\"\\", 2}};
    static const unsigned char uuid[16] = {0xab};
    const unsigned char *const uuids[] = {uuid, NULL};

    params_add_int8_array(&params, numbers, 3);
    expect_shown("{-9223372036854775808,0,7}");
    params_add_int8_array(&params, NULL, 0);
    expect_shown("{}");
    params_add_text_array(&params, texts, 4);
    expect_shown("{\"a,b\",NULL,\"\",\"\\\"\\\\\"}");
    params_add_text_array(&params, NULL, 0);
    expect_shown("{}");
    params_add_uuid_array(&params, uuids, 2);
    expect_shown("{ab000000-0000-0000-0000-000000000000,NULL}");
    params_add_uuid_array(&params, NULL, 0);
    expect_shown("{}");
}

Test(params_round_trip, keys_of_every_type_pass_through_as_they_came)
{
    static const struct {
        const char *type;
        const char *values; /* three literals */
        const char *first;
        const char *shown;
    } cases[] = {
        {"smallint", "-5, 0, 32767", "-5", "{-5,NULL,0,32767}"},
        {"integer", "-2147483648, 0, 9", "-2147483648", "{-2147483648,NULL,0,9}"},
        {"bigint", "1, 2, 9223372036854775807", "1", "{1,NULL,2,9223372036854775807}"},
        {"uuid",
         "'00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', "
         "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
         "00000000-0000-0000-0000-000000000001",
         "{00000000-0000-0000-0000-000000000001,NULL,00000000-0000-0000-0000-000000000002,"
         "ffffffff-ffff-ffff-ffff-ffffffffffff}"},
        {"text", "'', 'b', 'zoë'", "", "{\"\",NULL,b,zoë}"},
        {"varchar", "'a b', 'b', 'c'", "a b", "{\"a b\",NULL,b,c}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[512];
        struct strbuf shown;
        strbuf_init(&shown, 1024);
        snprintf(sql, sizeof sql, "select unnest(array[%s]::%s[]) as id", cases[i].values, cases[i].type);
        PGresult *ids = NULL;
        cr_assert_eq(db_exec(db, sql, NULL, &ids, &err), RC_OK, "%s", err.message);
        Oid type = result_type(ids, "id");
        cr_assert(doc_key_type_known(type));

        struct doc_key keys[4] = {
            result_key(ids, 0, "id"), {NULL, 0}, result_key(ids, 1, "id"), result_key(ids, 2, "id")};
        doc_key_print(&shown, type, keys[0]);
        cr_assert_str_eq(strbuf_text(&shown), cases[i].first);
        cr_assert(doc_key_equal(keys[2], keys[2]));
        cr_assert_not(doc_key_equal(keys[2], keys[3]));
        cr_assert_not(doc_key_equal(keys[1], keys[1]));

        params_add_key_array(&params, type, keys, 4);
        params_add_key(&params, type, keys[3]);
        params_add_key(&params, type, keys[1]);
        params_add_key_array(&params, type, NULL, 0);
        run("select $1::text as shown, $2 as last, $2 = ($1)[4] as same, $3 is null as none, cardinality($4) as empty, "
            "pg_typeof($1) = pg_typeof($4) as typed");
        cr_assert_str_eq(result_string(result, 0, "shown"), cases[i].shown);
        cr_assert(result_bool(result, 0, "same"));
        cr_assert(result_bool(result, 0, "none"));
        cr_assert(result_bool(result, 0, "typed"));
        cr_assert_eq(result_int64(result, 0, "empty"), 0);
        cr_assert(doc_key_equal(result_key(result, 0, "last"), keys[3]));
        PQclear(ids);
        strbuf_free(&shown);
    }
}

static const float float_classes[] = {0.0F,          -0.0F,       1.0F,        -1.0F,      0.1F,
                                      FLT_MAX,       -FLT_MAX,    FLT_MIN,     -FLT_MIN,   FLT_TRUE_MIN,
                                      -FLT_TRUE_MIN, FLT_EPSILON, 16777217.0F, 3.14159274F};
enum { CLASSES = sizeof float_classes / sizeof float_classes[0] };

Test(params_round_trip, vectors_of_every_class_of_floats_come_back_bit_for_bit)
{
    float back[CLASSES];
    const float *const rows[] = {float_classes, NULL, float_classes};

    params_add_vectors(&params, &types, VECTOR_FLOAT4, rows, 3, CLASSES);
    params_add_vector(&params, &types, VECTOR_FLOAT4, float_classes, CLASSES);
    params_add_vector(&params, &types, VECTOR_FLOAT4, NULL, CLASSES);
    run("select v, v is null as missing, $2 as one, $3 is null as none from unnest($1) v");
    cr_assert_eq(result_rows(result), 3);
    for (int row = 0; row < 3; row++) {
        cr_assert_eq(result_bool(result, row, "missing"), rows[row] == NULL);
        if (rows[row] == NULL)
            continue;
        memset(back, 0xff, sizeof back);
        cr_assert_eq(result_vector(result, row, "v", &types, back, CLASSES), CLASSES);
        cr_assert_eq(memcmp(back, float_classes, sizeof back), 0);
    }
    cr_assert_eq(result_vector(result, 0, "one", &types, back, 1), CLASSES);
    cr_assert(result_bool(result, 0, "none"));

    params_add_vectors(&params, &types, VECTOR_FLOAT4, NULL, 0, CLASSES);
    run("select cardinality($1) as n, pg_typeof($1)::text as type");
    cr_assert_eq(result_int64(result, 0, "n"), 0);
    cr_assert_str_eq(result_string(result, 0, "type"), "vector[]");
}

Test(params_round_trip, halves_are_rounded_as_pgvector_rounds_them)
{
    enum { DIMENSIONS = 4000 };
    static float numbers[DIMENSIONS];
    static float ours[DIMENSIONS];
    static float theirs[DIMENSIONS];
    const float *const rows[] = {numbers, NULL};
    unsigned seed = 20260131;

    for (int i = 0; i < DIMENSIONS; i++) {
        uint32_t bits = (uint32_t)rand_r(&seed) << 16 ^ (uint32_t)rand_r(&seed);
        memcpy(&numbers[i], &bits, sizeof bits);
        if (!isfinite(numbers[i]) || fabsf(numbers[i]) >= 65520.0F || i % 2 == 0)
            numbers[i] = ldexpf((float)(rand_r(&seed) % 4001 - 2000) / 997.0F, rand_r(&seed) % 30 - 25);
    }
    params_add_vectors(&params, &types, VECTOR_HALF, rows, 2, DIMENSIONS);
    params_add_vector(&params, &types, VECTOR_FLOAT4, numbers, DIMENSIONS);
    run("select ($1)[1] as ours, ($1)[2] is null as none, $2::halfvec as theirs");
    cr_assert_eq(result_vector(result, 0, "ours", &types, ours, DIMENSIONS), DIMENSIONS);
    cr_assert_eq(result_vector(result, 0, "theirs", &types, theirs, DIMENSIONS), DIMENSIONS);
    cr_assert(result_bool(result, 0, "none"));
    for (int i = 0; i < DIMENSIONS; i++)
        cr_assert_eq(memcmp(&ours[i], &theirs[i], sizeof ours[i]), 0, "%a: %a, not %a (seed 20260131)",
                     (double)numbers[i], (double)ours[i], (double)theirs[i]);
}

Test(params_round_trip, the_extension_is_found_in_any_schema)
{
    must_run(db, "create schema \"odd Place\"; alter extension vector set schema \"odd Place\"");
    cr_assert_eq(schema_vector_types(db, &types, &err), RC_OK, "%s", err.message);
    cr_assert_str_eq(types.schema, "odd Place");
    const float *const rows[] = {float_classes};
    params_add_vectors(&params, &types, VECTOR_HALF, rows, 1, 5);
    run("select \"odd Place\".vector_dims(($1)[1]) as n");
    cr_assert_eq(result_int64(result, 0, "n"), 5);
}

Test(params_round_trip, a_reader_of_another_type_aborts, .signal = SIGABRT)
{
    run("select 1.5::float8 as v");
    result_int64(result, 0, "v");
}

Test(params_round_trip, a_reader_of_an_unexpected_null_aborts, .signal = SIGABRT)
{
    run("select null::int8 as v");
    result_int64(result, 0, "v");
}

Test(params_round_trip, a_reader_of_a_missing_column_aborts, .signal = SIGABRT)
{
    run("select 1 as v");
    result_int64(result, 0, "w");
}
