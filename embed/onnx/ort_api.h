/* embed/onnx/ort_api.h - the part of ONNX Runtime's C API that is used, so that building needs no header of it.
 *
 * OrtGetApiBase(), the library's one entry, gives a table of functions for an API version. Its order never changes,
 * new functions are added at the end: a function is known by its index and its type. Both are taken from
 * include/onnxruntime/core/session/onnxruntime_c_api.h of ONNX Runtime, documented at
 * https://onnxruntime.ai/docs/api/c/struct_ort_api.html. Version 17 of the table came with ONNX Runtime 1.17.
 *
 * Functions that can fail return a status, NULL when they did not; it must be released. Strings are UTF-8.
 */
#ifndef REEMBED_EMBED_ONNX_ORT_API_H
#define REEMBED_EMBED_ONNX_ORT_API_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION_NEEDED 17

struct ort_status;
struct ort_env;
struct ort_session;
struct ort_session_options;
struct ort_value;
struct ort_type_info;
struct ort_tensor_info; /* borrowed from a type info unless it was got from a value */
struct ort_memory_info;
struct ort_allocator;

enum ort_element { ORT_ELEMENT_FLOAT = 1, ORT_ELEMENT_INT32 = 6, ORT_ELEMENT_INT64 = 7 };
enum ort_value_kind { ORT_VALUE_TENSOR = 1 };

#define ORT_LOG_FATAL        4
#define ORT_OPTIMIZE_ALL     99
#define ORT_DEVICE_ALLOCATOR 0
#define ORT_MEMORY_DEFAULT   0

typedef void (*ort_function)(void);

struct ort_api_base {
    const ort_function *(*get_api)(uint32_t version); /* NULL: the library is older */
    const char *(*get_version)(void);
};

/* clang-format off */
/* X(member, index, result, parameters) */
#define ORT_FUNCTIONS(X)                                                                                               \
    X(error_message, 2, const char *, (const struct ort_status *status))                                               \
    X(create_env, 3, struct ort_status *, (int log_level, const char *log_id, struct ort_env **out))                   \
    X(create_session, 7, struct ort_status *,                                                                          \
      (const struct ort_env *env, const char *path, const struct ort_session_options *options,                         \
       struct ort_session **out))                                                                                      \
    X(run, 9, struct ort_status *,                                                                                     \
      (struct ort_session *session, const void *run_options, const char *const *input_names,                          \
       const struct ort_value *const *inputs, size_t input_count, const char *const *output_names,                     \
       size_t output_count, struct ort_value **outputs))                                                               \
    X(create_session_options, 10, struct ort_status *, (struct ort_session_options **out))                            \
    X(disable_mem_pattern, 17, struct ort_status *, (struct ort_session_options *options))                            \
    X(set_log_severity, 22, struct ort_status *, (struct ort_session_options *options, int level))                    \
    X(set_optimization, 23, struct ort_status *, (struct ort_session_options *options, int level))                    \
    X(set_intra_threads, 24, struct ort_status *, (struct ort_session_options *options, int threads))                 \
    X(set_inter_threads, 25, struct ort_status *, (struct ort_session_options *options, int threads))                 \
    X(input_count, 30, struct ort_status *, (const struct ort_session *session, size_t *out))                          \
    X(output_count, 31, struct ort_status *, (const struct ort_session *session, size_t *out))                         \
    X(input_type, 33, struct ort_status *,                                                                             \
      (const struct ort_session *session, size_t index, struct ort_type_info **out))                                   \
    X(output_type, 34, struct ort_status *,                                                                            \
      (const struct ort_session *session, size_t index, struct ort_type_info **out))                                   \
    X(input_name, 36, struct ort_status *,                                                                             \
      (const struct ort_session *session, size_t index, struct ort_allocator *allocator, char **out))                  \
    X(output_name, 37, struct ort_status *,                                                                            \
      (const struct ort_session *session, size_t index, struct ort_allocator *allocator, char **out))                  \
    X(create_tensor, 49, struct ort_status *,                                                                          \
      (const struct ort_memory_info *memory, void *data, size_t bytes, const int64_t *shape, size_t rank, int element, \
       struct ort_value **out))                                                                                        \
    X(tensor_data, 51, struct ort_status *, (struct ort_value *value, void **out))                                    \
    X(tensor_of_type, 55, struct ort_status *, (const struct ort_type_info *type, const struct ort_tensor_info **out)) \
    X(element_type, 60, struct ort_status *, (const struct ort_tensor_info *info, int *out))                           \
    X(rank, 61, struct ort_status *, (const struct ort_tensor_info *info, size_t *out))                                \
    X(shape, 62, struct ort_status *, (const struct ort_tensor_info *info, int64_t *out, size_t rank))                 \
    X(tensor_of_value, 65, struct ort_status *, (const struct ort_value *value, struct ort_tensor_info **out))         \
    X(create_cpu_memory, 69, struct ort_status *, (int allocator_type, int memory_type, struct ort_memory_info **out)) \
    X(allocator_free, 76, struct ort_status *, (struct ort_allocator *allocator, void *memory))                       \
    X(default_allocator, 78, struct ort_status *, (struct ort_allocator **out))                                       \
    X(release_env, 92, void, (struct ort_env *env))                                                                   \
    X(release_status, 93, void, (struct ort_status *status))                                                          \
    X(release_memory, 94, void, (struct ort_memory_info *memory))                                                     \
    X(release_session, 95, void, (struct ort_session *session))                                                       \
    X(release_value, 96, void, (struct ort_value *value))                                                             \
    X(release_type, 98, void, (struct ort_type_info *type))                                                           \
    X(release_tensor, 99, void, (struct ort_tensor_info *info))                                                       \
    X(release_session_options, 100, void, (struct ort_session_options *options))
/* clang-format on */

struct ort_api {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): types */
#define ORT_MEMBER(member, index, result, parameters) result(*member) parameters;
    ORT_FUNCTIONS(ORT_MEMBER)
#undef ORT_MEMBER
    const char *version; /* of the library, such as "1.32.0" */
};

#endif
