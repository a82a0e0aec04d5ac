# SQL files become C strings at build time.
#
#   reembed_embed_sql(TARGET HEADER file.sql...)
#       adds to TARGET a generated source with `extern const char sql_<stem>[];` for each file. The header is included
#       by the folder it was asked from: HEADER statements.h in db/ is #include "db/statements.h".
#       A leading number is kept: 003_routing.sql is sql_003_routing.
#
#   reembed_embed_schema(TARGET HEADER NNN_name.sql...)
#       the same, and a table ordered by number:
#           struct sql_version { int version; const char *name; const char *sql; };   name: "003_routing"
#           extern const struct sql_version sql_versions[];
#           extern const size_t sql_versions_count;
#       Two files of one number are an error.

set(REEMBED_EMBED_SQL_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/write_sql.cmake)

function(reembed_embed_sql_files target header versions)
    file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    set(generated ${CMAKE_BINARY_DIR}/generated)
    set(output_h ${generated}/${folder}/${header})
    string(REGEX REPLACE "\\.h$" ".c" output_c ${output_h})

    set(files "")
    foreach(file IN LISTS ARGN)
        get_filename_component(path ${file} ABSOLUTE)
        list(APPEND files ${path})
    endforeach()
    list(JOIN files "|" joined)

    add_custom_command(
        OUTPUT ${output_h} ${output_c}
        COMMAND ${CMAKE_COMMAND} -D OUTPUT_H=${output_h} -D OUTPUT_C=${output_c} -D INCLUDE=${folder}/${header}
                -D VERSIONS=${versions} -D "FILES=${joined}" -P ${REEMBED_EMBED_SQL_SCRIPT}
        DEPENDS ${files} ${REEMBED_EMBED_SQL_SCRIPT} ${CMAKE_SOURCE_DIR}/cmake/c_string.cmake
        COMMENT "Embedding SQL as ${folder}/${header}"
        VERBATIM)
    target_sources(${target} PRIVATE ${output_c} ${output_h})
    target_include_directories(${target} PUBLIC ${generated})
endfunction()

function(reembed_embed_sql target header)
    reembed_embed_sql_files(${target} ${header} OFF ${ARGN})
endfunction()

function(reembed_embed_schema target header)
    reembed_embed_sql_files(${target} ${header} ON ${ARGN})
endfunction()
