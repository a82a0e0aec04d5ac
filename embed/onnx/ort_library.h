/* embed/onnx/ort_library.h - finds and opens ONNX Runtime.
 *
 * Looked for in this order: `path`, the environment variable REEMBED_ONNXRUNTIME (each a library file or a folder that
 * holds one; what they name must be there), then by the dynamic loader, then in /usr/lib, /usr/local/lib,
 * /opt/onnxruntime/lib and .cache/onnxruntime, this one under the current folder and two above the program's own.
 * A library once opened is never closed: ONNX Runtime does not bear it.
 * Threads: any.
 */
#ifndef REEMBED_EMBED_ONNX_ORT_LIBRARY_H
#define REEMBED_EMBED_ONNX_ORT_LIBRARY_H

#include "base/err.h"
#include "embed/onnx/ort_api.h"

/* `path` may be NULL. RC_INVALID with where it was looked for and how to get it. */
enum rc ort_library_open(const char *path, struct ort_api *ret_api, struct err *err);

#endif
