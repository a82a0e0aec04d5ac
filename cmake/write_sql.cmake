# cmake -D OUTPUT_H=.. -D OUTPUT_C=.. -D INCLUDE=.. -D VERSIONS=ON|OFF -D FILES=a.sql|b.sql -P write_sql.cmake
# Called by the build, see embed_sql.cmake.
cmake_minimum_required(VERSION 3.22)

include(${CMAKE_CURRENT_LIST_DIR}/c_string.cmake)

# Appends the text of `path`, as the definition of a C string, to the variable `out`.
function(append_definition out symbol path)
    read_text(text "${path}")
    file(SIZE "${path}" bytes)
    set(definition "")
    append_string_definition(definition ${symbol} "${text}")
    string(APPEND definition "_Static_assert(sizeof(${symbol}) == ${bytes} + 1, \"embedded as it is on disk\");\n\n")
    set(${out} "${${out}}${definition}" PARENT_SCOPE)
endfunction()

string(REPLACE "|" ";" files "${FILES}")
string(MAKE_C_IDENTIFIER "REEMBED_${INCLUDE}" guard)
string(TOUPPER "${guard}" guard)

set(header "/* Generated from .sql files by the build: edit those. */\n#ifndef ${guard}\n#define ${guard}\n\n")
set(source "/* Generated from .sql files by the build: edit those. */\n#include \"${INCLUDE}\"\n\n")
set(numbered "")

foreach(path IN LISTS files)
    get_filename_component(stem "${path}" NAME_WLE)
    string(MAKE_C_IDENTIFIER "sql_${stem}" symbol)
    string(APPEND header "extern const char ${symbol}[];\n")
    append_definition(source ${symbol} "${path}")
    if(VERSIONS)
        if(NOT stem MATCHES "^([0-9]+)_")
            message(FATAL_ERROR "${path}: a schema version is named NNN_name.sql")
        endif()
        string(REGEX REPLACE "^0+([0-9])" "\\1" number "${CMAKE_MATCH_1}")
        math(EXPR sort_key "1000000000 + ${number}") # as many digits each: sorted by letter is sorted by number
        list(APPEND numbered "${sort_key}/${number}/${stem}")
    endif()
endforeach()

if(VERSIONS)
    list(SORT numbered)
    set(last "")
    set(rows "")
    set(count 0)
    foreach(entry IN LISTS numbered)
        string(REGEX MATCH "^[0-9]+/([0-9]+)/(.*)$" ignored "${entry}")
        set(number ${CMAKE_MATCH_1})
        set(stem ${CMAKE_MATCH_2})
        if(number STREQUAL last)
            message(FATAL_ERROR "two schema versions have the number ${number}")
        endif()
        set(last ${number})
        string(MAKE_C_IDENTIFIER "sql_${stem}" symbol)
        string(APPEND rows "    {${number}, \"${stem}\", ${symbol}},\n")
        math(EXPR count "${count} + 1")
    endforeach()
    string(APPEND header "\n#include <stddef.h>\n\n/* Ordered by version. */\nstruct sql_version {\n    int version;\n"
           "    const char *name;\n    const char *sql;\n};\nextern const struct sql_version sql_versions[];\n"
           "extern const size_t sql_versions_count;\n")
    string(APPEND source "const struct sql_version sql_versions[] = {\n${rows}};\n"
           "const size_t sql_versions_count = ${count};\n")
endif()
string(APPEND header "\n#endif\n")

file(WRITE "${OUTPUT_H}" "${header}")
file(WRITE "${OUTPUT_C}" "${source}")
