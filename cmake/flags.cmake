# Compiler flags that hold for every file of the project.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)

# Assertions stay on in a release: they state invariants of stored data, and a stopped process loses nothing.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")

add_compile_definitions(_GNU_SOURCE REEMBED_VERSION="${PROJECT_VERSION}")
add_compile_options(
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef
    -fno-omit-frame-pointer
    # Assertions name files; not where they were built.
    -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=
    # The hashing embedder promises the same bits on every machine.
    -ffp-contract=off)

if(REEMBED_WERROR)
    add_compile_options(-Werror)
endif()

if(REEMBED_FAIL_POINTS)
    add_compile_definitions(REEMBED_FAIL_POINTS)
endif()

if(REEMBED_SANITIZE)
    add_compile_options(-fsanitize=${REEMBED_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${REEMBED_SANITIZE})
else()
    # glibc refuses _FORTIFY_SOURCE without optimisation, and it hides errors from the sanitizers.
    add_compile_options($<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2> -fstack-protector-strong)
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
