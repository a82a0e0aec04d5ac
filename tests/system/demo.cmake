# The demo starts a server of its own, so it is not repeated for each version.
foreach(subject IN ITEMS demo docs)
    reembed_add_test(${subject} system 900
        ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest ${CMAKE_CURRENT_SOURCE_DIR}/test_${subject}.py)
    set_tests_properties(${subject} PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")
endforeach()
