reembed_unit_test(test_cli test_cli_option.c test_cli_format.c test_cli_output.c test_cli_progress.c test_cli_status.c
    test_cli_text_lines.c test_cli_exit.c
    LIBS reembed_cli)

if(TARGET reembed)
    reembed_unit_test(test_cli_program test_cli_program.c cli_call.c LIBS reembed_base)
    if(TARGET test_cli_program)
        add_dependencies(test_cli_program reembed)
    endif()
endif()
