/* cli/doctor_page.h - the findings of doctor as a page. The report's shape: coordinator/commands.h. */
#ifndef REEMBED_CLI_DOCTOR_PAGE_H
#define REEMBED_CLI_DOCTOR_PAGE_H

#include <cjson/cJSON.h>

#include "base/err.h"

enum rc doctor_page_write(const char *path, const cJSON *report, struct err *err);

#endif
