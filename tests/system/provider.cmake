# The provider's acceptance runs. What they look at is the provider, so one server version will do. In full size they are
# run by hand: REEMBED_TEST_LONG=1.
foreach(subject IN ITEMS budget dialects flow poison requests)
    reembed_add_test(system_${subject}.pg18 system 900
        ${CMAKE_SOURCE_DIR}/tests/on-server 18 ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest
        ${CMAKE_CURRENT_SOURCE_DIR}/test_${subject}.py)
    set_tests_properties(system_${subject}.pg18 PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")
endforeach()
