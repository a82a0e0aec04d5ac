# Libraries, each as an imported target PkgConfig::NAME. scripts/install-deps installs them on Debian and Ubuntu.
# ONNX Runtime is not among them: it is opened at run time.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

pkg_check_modules(LIBPQ REQUIRED IMPORTED_TARGET libpq>=14)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson>=1.7.13)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.80)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto>=1.1.1)

if(EXISTS ${CMAKE_SOURCE_DIR}/serve/CMakeLists.txt)
    pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.71)
endif()
if(EXISTS ${CMAKE_SOURCE_DIR}/tests/CMakeLists.txt)
    pkg_check_modules(CRITERION IMPORTED_TARGET criterion)
endif()
