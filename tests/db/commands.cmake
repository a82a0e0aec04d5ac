# The commands that look before and after a migration, each against a migration that really ran.
if(REEMBED_CRITERION_MISSING)
    return()
endif()
add_library(command_lab STATIC command_lab.c)
target_link_libraries(command_lab PUBLIC fresh_database reembed_coordinator reembed_worker reembed_embed reembed_base
    PkgConfig::CJSON PkgConfig::CRITERION m)

reembed_db_test(command_plan command_plan.c LIBS command_lab)
reembed_db_test(command_plan_size command_plan_size.c LIBS command_lab)
reembed_db_test(command_verify command_verify.c LIBS command_lab)
reembed_db_test(command_search command_search.c LIBS command_lab)
