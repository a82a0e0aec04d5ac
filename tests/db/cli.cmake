if(TARGET reembed)
    reembed_db_test(cli_commands test_cli_commands.c ${CMAKE_SOURCE_DIR}/tests/unit/cli_call.c
        LIBS fresh_database PkgConfig::CJSON)
    if(TARGET cli_commands)
        add_dependencies(cli_commands reembed)
    endif()
endif()
