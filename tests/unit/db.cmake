reembed_unit_test(test_db
    test_db_params.c
    test_db_retry.c
    test_db_template.c
    test_db_url.c
    test_db_vector.c
    LIBS reembed_db m)
