# reembed_embed_page(TARGET HEADER page.html page.css page.js)
#     adds to TARGET a generated source with `extern const char dashboard_html[];`: the HTML with {{style}} and {{script}}
#     replaced by the other two files.

set(REEMBED_EMBED_PAGE_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/write_page.cmake)

function(reembed_embed_page target header html css js)
    file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    set(generated ${CMAKE_BINARY_DIR}/generated)
    set(output_h ${generated}/${folder}/${header})
    string(REGEX REPLACE "\\.h$" ".c" output_c ${output_h})
    set(here ${CMAKE_CURRENT_SOURCE_DIR})
    add_custom_command(
        OUTPUT ${output_h} ${output_c}
        COMMAND ${CMAKE_COMMAND} -D OUTPUT_H=${output_h} -D OUTPUT_C=${output_c} -D INCLUDE=${folder}/${header}
                -D HTML=${here}/${html} -D CSS=${here}/${css} -D JS=${here}/${js} -P ${REEMBED_EMBED_PAGE_SCRIPT}
        DEPENDS ${html} ${css} ${js} ${REEMBED_EMBED_PAGE_SCRIPT} ${CMAKE_SOURCE_DIR}/cmake/c_string.cmake
        COMMENT "Embedding the page as ${folder}/${header}"
        VERBATIM)
    target_sources(${target} PRIVATE ${output_c} ${output_h})
    target_include_directories(${target} PUBLIC ${generated})
endfunction()
