/* base/nearest.h - the name that was probably meant, for "unknown key X, did you mean Y?".
 *
 * Threads: pure function.
 */
#ifndef REEMBED_BASE_NEAREST_H
#define REEMBED_BASE_NEAREST_H

/* The entry of the NULL-ended list `names` with the fewest edits (insert, delete, replace, swap of neighbours; case is
 * free) from `name`, or NULL where none is near: more than a third of the longer one would have to change.
 * Of equals the first. Names of 64 bytes or more are near nothing. */
const char *nearest_name(const char *name, const char *const *names);

#endif
