# The control plane: its behaviour row by row, its interleavings with their mutants, and change capture.
add_library(db_lab STATIC support.c steps.c mutants/mutants.c)
target_link_libraries(db_lab PUBLIC fresh_database)
target_compile_definitions(db_lab PRIVATE REEMBED_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
if(CRITERION_FOUND)
    target_link_libraries(db_lab PUBLIC PkgConfig::CRITERION)
endif()

reembed_db_test(conformance_transitions conformance_transitions.c LIBS db_lab)
reembed_db_test(capture_ids capture_ids.c LIBS db_lab)
reembed_db_test(capture_changes capture_changes.c LIBS db_lab)
reembed_db_test(capture_hazards capture_hazards.c LIBS db_lab)
reembed_db_test(interleavings interleavings.c LIBS db_lab)
reembed_db_test(conformance_accounting conformance_accounting.c LIBS db_lab)
