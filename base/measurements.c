#include "base/measurements.h"

const char *const measured_throttle_names[MEASURED_THROTTLES] = {
    [THROTTLE_NONE] = "",
    [THROTTLE_ACTIVE_HOURS] = "active_hours",
    [THROTTLE_REPLICA_LAG] = "replica_lag",
    [THROTTLE_WAL_RATE] = "wal_rate",
    [THROTTLE_WAITING_LOCKS] = "waiting_locks",
    [THROTTLE_DOCUMENTS_PER_SECOND] = "documents_per_second",
    [THROTTLE_PROVIDER] = "provider",
};

const char *const measured_request_names[MEASURED_REQUESTS] = {
    [MEASURED_OK] = "ok",           [MEASURED_TRANSPORT] = "transport", [MEASURED_OVERLOAD] = "overload",
    [MEASURED_SERVER] = "server",   [MEASURED_TOO_LARGE] = "too_large", [MEASURED_REJECTED] = "rejected",
    [MEASURED_REFUSED] = "refused", [MEASURED_ABANDONED] = "abandoned",
};
