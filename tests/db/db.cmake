reembed_db_test(db_connection
    test_connection.c
    test_connection_broken.c
    test_connection_errors.c
    LIBS fresh_database m)
reembed_db_test(db_params test_params.c LIBS fresh_database m)
reembed_db_test(db_schema test_schema.c LIBS fresh_database m)
reembed_db_test(race_db_connection race_connection.c PLAIN LIBS fresh_database m)

# The same tests again with a pooler in between, and what only a pooler can break.
if(TARGET db_connection)
    reembed_test_program(db_pooler test_pooler.c LIBS fresh_database PkgConfig::CRITERION)
    foreach(program IN ITEMS db_connection db_params db_pooler)
        reembed_add_test(${program}.pooler db 300
            ${CMAKE_SOURCE_DIR}/tests/on-server 16 ${CMAKE_CURRENT_SOURCE_DIR}/with-pooler
            $<TARGET_FILE:${program}> -j1)
    endforeach()
endif()
