/* cli/find_file.h - the migration file that a command was not told.
 *
 * Providers stand in migration files alone. A person who runs `reembed run docs.json` in a folder expects
 * `reembed search docs words` to work there as well.
 */
#ifndef REEMBED_CLI_FIND_FILE_H
#define REEMBED_CLI_FIND_FILE_H

/* The newest *.json file of `folder` that is a migration file with this value of `key` ("id" or "collection").
 * The caller frees; NULL: there is none. Files that can't be read are passed over. */
char *find_migration_file(const char *folder, const char *key, const char *value);

#endif
