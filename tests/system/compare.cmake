# Its statements are the same on every server, so one version is enough.
reembed_add_test(system_compare.pg18 system 300
    ${CMAKE_SOURCE_DIR}/tests/on-server 18 ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest ${CMAKE_CURRENT_SOURCE_DIR}/test_compare.py)
set_tests_properties(system_compare.pg18 PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")

# With the real models: each embeds the documents anew.
reembed_add_test(system_compare_models.pg18 system 600
    ${CMAKE_SOURCE_DIR}/tests/on-server 18 ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest ${CMAKE_CURRENT_SOURCE_DIR}/test_compare_models.py)
set_tests_properties(system_compare_models.pg18 PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")
