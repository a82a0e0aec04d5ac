#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/params.h"

static const struct vector_types types = {.vector = 1000, .vector_array = 1001, .halfvec = 1002, .halfvec_array = 1003};

static void
expect_bytes(const struct params *params, int index, Oid type, const char *hex)
{
    char actual[512];
    for (int i = 0; i < params->lengths[index]; i++)
        snprintf(actual + 2 * i, 3, "%02x", (unsigned char)params->bytes[params->offsets[index] + (size_t)i]);
    cr_assert_eq(params->types[index], type);
    cr_assert_str_eq(params->lengths[index] <= 0 ? "" : actual, hex);
}

Test(db_params, bytes_are_in_the_servers_order)
{
    struct params params = PARAMS_INIT;
    params_add_int2(&params, -2);
    params_add_int4(&params, 1);
    params_add_int8(&params, 258);
    params_add_float4(&params, 1.0F);
    params_add_float8(&params, -2.0);
    params_add_bool(&params, true);
    params_add_interval_ms(&params, 1);
    params_add_text(&params, "");
    params_add_null(&params, PG_UUID);
    cr_assert_eq(params.rc, RC_OK);
    cr_assert_eq(params.count, 9);
    expect_bytes(&params, 0, PG_INT2, "fffe");
    expect_bytes(&params, 1, PG_INT4, "00000001");
    expect_bytes(&params, 2, PG_INT8, "0000000000000102");
    expect_bytes(&params, 3, PG_FLOAT4, "3f800000");
    expect_bytes(&params, 4, PG_FLOAT8, "c000000000000000");
    expect_bytes(&params, 5, PG_BOOL, "01");
    expect_bytes(&params, 6, PG_INTERVAL, "00000000000003e80000000000000000");
    cr_assert_eq(params.lengths[7], 0);
    cr_assert_eq(params.lengths[8], -1);
    params_clear(&params);
}

Test(db_params, vectors_are_arrays_of_pgvectors_own_format)
{
    struct params params = PARAMS_INIT;
    const float row[] = {1.0F, -0.5F};
    const float *const rows[] = {row, NULL};

    params_add_vectors(&params, &types, VECTOR_FLOAT4, rows, 2, 2);
    params_add_vectors(&params, &types, VECTOR_HALF, rows, 2, 2);
    params_add_vectors(&params, &types, VECTOR_HALF, NULL, 0, 2);
    expect_bytes(&params, 0, 1001,
                 "00000001"
                 "00000001"
                 "000003e8"
                 "00000002"
                 "00000001"
                 "0000000c"
                 "00020000"
                 "3f800000"
                 "bf000000"
                 "ffffffff");
    expect_bytes(&params, 1, 1003,
                 "00000001"
                 "00000001"
                 "000003ea"
                 "00000002"
                 "00000001"
                 "00000008"
                 "00020000"
                 "3c00"
                 "b800"
                 "ffffffff");
    expect_bytes(&params, 2, 1003,
                 "00000000"
                 "00000000"
                 "000003ea");
    params_clear(&params);
}

Test(db_params, a_failure_is_kept_and_later_adds_do_nothing)
{
    struct params params = PARAMS_INIT;
    const float bad[] = {1.0F, __builtin_nanf("")};
    const float large[] = {65520.0F};
    const float good[] = {65519.0F};
    const float *const rows[] = {good, large};

    cr_assert_eq(params_add_vector(&params, &types, VECTOR_FLOAT4, bad, 2), RC_INVALID);
    int count = params.count;
    cr_assert_eq(params_add_int4(&params, 1), RC_INVALID);
    cr_assert_eq(params.count, count);
    cr_assert_not_null(strstr(params.err.message, "not finite"));

    params_reset(&params);
    cr_assert_eq(params.rc, RC_OK);
    cr_assert_eq(params_add_vectors(&params, &types, VECTOR_HALF, rows, 2, 1), RC_INVALID);
    cr_assert_not_null(strstr(params.err.message, "vector 1 "), "%s", params.err.message);
    params_reset(&params);
    cr_assert_eq(params_add_vectors(&params, &types, VECTOR_FLOAT4, rows, 2, 1), RC_OK);
    cr_assert_eq(params_add_vectors(&params, &types, VECTOR_FLOAT4, rows, 2, 16001), RC_INVALID);
    params_reset(&params);
    cr_assert_eq(params_add_vector(&params, &types, VECTOR_FLOAT4, good, 0), RC_INVALID);
    params_clear(&params);
}

Test(db_params, what_exceeds_a_message_is_refused_before_it_is_copied)
{
    struct params params = PARAMS_INIT;
    const struct db_text huge[] = {{"x", PARAMS_MAX_BYTES}, {"x", SIZE_MAX - 1}, {"x", 2}};

    cr_assert_eq(params_add_text_array(&params, huge, 1), RC_INVALID); /* with its header it is too long */
    params_reset(&params);
    cr_assert_eq(params_add_text_array(&params, huge, 3), RC_INVALID);
    cr_assert_not_null(strstr(params.err.message, "1 GB"));
    params_reset(&params);
    cr_assert_eq(params_add_bytes(&params, "x", SIZE_MAX), RC_INVALID);
    params_reset(&params);
    cr_assert_eq(params_add_int8_array(&params, NULL, SIZE_MAX / 8 + 2), RC_INVALID);
    params_clear(&params);
}

Test(db_params, the_buffer_survives_a_reset_and_growth_keeps_what_is_inside)
{
    struct params params = PARAMS_INIT;
    char *text = calloc(1, 100001);
    memset(text, 'y', 100000);

    params_add_int4(&params, 42);
    params_add_text(&params, text);
    expect_bytes(&params, 0, PG_INT4, "0000002a");
    cr_assert_eq(memcmp(params.bytes + params.offsets[1], text, 100000), 0);
    const char *bytes = params.bytes;
    params_reset(&params);
    params_add_text(&params, text);
    cr_assert_eq(params.bytes, bytes);
    cr_assert_eq(params.count, 1);
    params_clear(&params);
    cr_assert_null(params.bytes);
    free(text);
}

Test(db_params, a_key_of_the_wrong_length_is_a_mistake_of_the_program, .signal = SIGABRT)
{
    struct params params = PARAMS_INIT;
    params_add_key(&params, PG_INT8, (struct doc_key){"1234", 4});
}
