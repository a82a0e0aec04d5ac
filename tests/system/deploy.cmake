# The files of deploy/ by the tools that would take them; none of these needs a server.
reembed_add_test(deploy system 300 ${CMAKE_CURRENT_SOURCE_DIR}/run-pytest ${CMAKE_CURRENT_SOURCE_DIR}/test_deploy.py)
set_tests_properties(deploy PROPERTIES ENVIRONMENT "${REEMBED_SYSTEM_ENVIRONMENT}")
reembed_system_test_newest(system_cron test_cron.py)

# Makes the packages of this build and a bare Debian to install them on, which is skipped for anyone but root.
if(TARGET manual)
    reembed_system_test_newest(system_package test_package.py)
endif()
