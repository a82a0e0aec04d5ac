/* coordinator/forecast.h - what a run is expected to take, kept before it begins. */
#ifndef REEMBED_COORDINATOR_FORECAST_H
#define REEMBED_COORDINATOR_FORECAST_H

#include "coordinator/prepare.h"

/* For a migration that is planned and whose target's model is open: counts and samples the documents as `plan` does and
 * keeps the estimate as the event `forecast`. RC_REFUSED where it would cost more than limits.max_cost: nothing has been
 * sent or installed then. An estimate that can't be made keeps nobody from running. */
enum rc forecast_keep(struct prepared *prepared, struct err *err);

#endif
