/* coordinator/file_provider.h - the `provider` sections of the migration file.
 *
 * Fills the options that an embedder is opened with. Strings live in the reader's arena, `extra` in the array given.
 * The key itself comes from the environment and is registered with log_secret; a variable that is not set is refused.
 */
#ifndef REEMBED_COORDINATOR_FILE_PROVIDER_H
#define REEMBED_COORDINATOR_FILE_PROVIDER_H

#include <cjson/cJSON.h>

#include "coordinator/file_field.h"
#include "embed/embedder.h"

extern const struct field_table file_provider_table;

/* `section` is "source.provider" or "target.provider"; `model` the name that the section gives, `dimensions` the
 * size wanted (0: unknown). `extras` takes a copy of the provider's `extra`. */
enum rc file_provider_read(const struct file_reader *reader, const char *section, const cJSON *object,
                           const char *model, size_t dimensions, cJSON *extras, struct provider_options *ret_options);

/* Appends an object: what shapes the vectors, and nothing that says where they come from. */
void file_provider_json(const struct provider_options *options, struct strbuf *out);

#endif
