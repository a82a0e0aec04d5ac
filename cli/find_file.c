#include "cli/find_file.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"

/* Other JSON files of a folder have no reason to look like this. */
static bool
is_wanted(const char *path, const char *key, const char *value)
{
    cJSON *root = NULL;
    bool wanted = false;

    if (json_read_file(path, &root, NULL) == RC_OK) {
        const char *given = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, key));
        wanted = given != NULL && strcmp(given, value) == 0 &&
                 cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, "documents")) &&
                 cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, "target"));
    }
    cJSON_Delete(root);
    return wanted;
}

static bool
is_newer(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

char *
find_migration_file(const char *folder, const char *key, const char *value)
{
    char *found = NULL;
    struct timespec newest = {0};
    DIR *entries = opendir(folder);

    if (entries == NULL)
        return NULL;
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        char *path = NULL;
        struct stat facts;
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".json") != 0 || asprintf(&path, "%s/%s", folder, entry->d_name) < 0)
            continue;
        if (stat(path, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size <= JSON_FILE_MAX &&
            (found == NULL || is_newer(&facts.st_mtim, &newest)) && is_wanted(path, key, value)) {
            free(found);
            found = path;
            newest = facts.st_mtim;
        } else {
            free(path);
        }
    }
    (void)closedir(entries);
    return found;
}
