reembed_unit_test(test_base
    test_base_arena.c
    test_base_clock.c
    test_base_err.c
    test_base_json.c
    test_base_log.c
    test_base_nearest.c
    test_base_strbuf.c
    LIBS reembed_base)
if(REEMBED_FAIL_POINTS)
    reembed_unit_test(test_base_fail_point test_base_fail_point.c LIBS reembed_base)
endif()
reembed_plain_test(race_base_log race_base_log.c LIBS reembed_base)
