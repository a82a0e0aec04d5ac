# No database: a hub of the test's own.
reembed_add_test(system_model system 300 ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest ${CMAKE_CURRENT_SOURCE_DIR}/test_model.py)
set_tests_properties(system_model PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")
