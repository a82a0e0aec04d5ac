# Text of a file as a C string. It is only ever handled as one quoted string: as a list, CMake would eat its semicolons
# and brackets.

# Appends the definition of `symbol`, whose value is `text`, to the variable `out`.
function(append_string_definition out symbol text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "?" "\\?" text "${text}")
    string(REPLACE "\t" "\\t" text "${text}")
    string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
    string(CONCAT string_addition "const char ${symbol}[] =\n    \"" "${text}" "\";\n")
    set(${out} "${${out}}${string_addition}" PARENT_SCOPE)
endfunction()

# The text of the file at `path` in the variable `out`.
function(read_text out path)
    file(READ "${path}" text)
    file(SIZE "${path}" bytes)
    string(LENGTH "${text}" read)
    # CMake counts bytes, and does not read carriage returns
    if(NOT read EQUAL bytes)
        message(FATAL_ERROR "${path} contains a carriage return, which CMake does not read")
    endif()
    set(${out} "${text}" PARENT_SCOPE)
endfunction()
