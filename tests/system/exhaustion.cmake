# Memory and threads that run out are the program's own affair: one server is enough.
reembed_add_test(system_exhaustion.pg18 system 900
    ${CMAKE_SOURCE_DIR}/tests/on-server 18 ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest
    ${CMAKE_CURRENT_SOURCE_DIR}/test_exhaustion.py)
set_tests_properties(system_exhaustion.pg18 PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")
