/* embed/hub/folder.h - what a folder of files is built with and put in place by. Paths are at most PATH_MAX.
 *
 * Errors: RC_FATAL, ERR_SYSTEM with what could not be done. Threads: any, on different folders.
 */
#ifndef REEMBED_EMBED_HUB_FOLDER_H
#define REEMBED_EMBED_HUB_FOLDER_H

#include "base/err.h"

/* The folders between `folder` and the last part of the relative path `path`. */
enum rc folder_make_parents(const char *folder, const char *path, struct err *err);

/* With all that is in it; links are removed, never followed. One that is not there is fine. */
enum rc folder_remove(const char *folder, struct err *err);

/* All that is in it but the entry `kept`. */
enum rc folder_empty_but(const char *folder, const char *kept, struct err *err);

/* If there is nothing in it but the file `name`, or nothing. */
void folder_remove_if_alone(const char *folder, const char *name);

/* A new file that is on the disk when it returns. */
enum rc folder_write_file(const char *path, const char *text, struct err *err);

/* The same file under a second name: a link, where the file system has none a copy. 0, or -1 with errno. */
int folder_link(const char *from, const char *to);

/* `made` becomes `place` in one step, and what was there becomes `made`: at each moment one of them is whole. Both are on
 * one file system. Where it can't exchange two names the old folder is moved away first, and back if the rest fails. */
enum rc folder_replace(const char *made, const char *place, struct err *err);

#endif
