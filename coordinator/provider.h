/* coordinator/provider.h - opening a space's embedder, and making sure it is the model that made the space. */
#ifndef REEMBED_COORDINATOR_PROVIDER_H
#define REEMBED_COORDINATOR_PROVIDER_H

#include "base/err.h"
#include "coordinator/commands.h"
#include "coordinator/migration.h"
#include "db/connection.h"
#include "embed/embedder.h"
#include "worker/embed.h"

/* Embedded at every start; its vector is kept with the space. */
extern const char provider_canary[];

/* Opens the embedder of `options`. RC_HALT/ERR_PROVIDER when its dimensions are not the wanted ones. */
enum rc provider_open(const struct provider_options *options, const struct common_options *common, size_t dimensions,
                      struct embedder **ret_embedder, struct err *err);

/* Embeds one text with whatever retries the policy has. `vector`: room for `dimensions` numbers. */
enum rc provider_embed(struct embedder *embedder, const struct embed_policy *policy, const char *text, bool query,
                       size_t dimensions, float *vector, struct err *err);

/* Embeds the canary and compares it with the one kept with the space (kept now if there is none). RC_HALT/ERR_PROVIDER:
 * another model answers; nothing may be stored. */
enum rc provider_check(struct embedder *embedder, const struct embed_policy *policy, const struct migration *migration,
                       const struct space *space, struct db *db, struct err *err);

/* The same comparison for a command that only reads: `canary` is the canary's vector now. RC_OK where none is kept. */
enum rc provider_same_model(const struct vector_types *types, int64_t space, const char *model, const float *canary,
                            size_t dimensions, struct db *db, struct err *err);

/* Characters of a document that are worth reading: more than the model ever looks at. */
int32_t provider_content_limit(struct embedder *embedder);

#endif
