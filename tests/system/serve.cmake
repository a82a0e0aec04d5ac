# What these test does not depend on the server's version: one is enough.
foreach(subject IN ITEMS serve throttles)
    reembed_add_test(system_${subject}.pg18 system 900
        ${CMAKE_SOURCE_DIR}/tests/on-server 18
        ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest ${CMAKE_CURRENT_SOURCE_DIR}/test_${subject}.py)
    set_tests_properties(system_${subject}.pg18 PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")
endforeach()
