#include "serve/families.h"

#include <stdlib.h>
#include <string.h>

#define M "reembed_migration_"

const struct metric_family database_families[] = {
    {"migration_info", M "info", "gauge", "Models of a migration; always 1."},
    {"state", M "state", "gauge", "1 for the state that the migration is in, 0 for the others."},
    {"stage", M "stage", "gauge", "1 for the stage of a migration in progress, 0 for the others."},
    {"documents", M "documents", "gauge", "Documents of the backfill by status; the sum is the total."},
    {"documents_in_flight", M "documents_in_flight", "gauge", "Documents that workers hold now."},
    {"progress_ratio", M "progress_ratio", "gauge", "Processed documents of all, 0 to 1."},
    {"coverage_ratio", M "coverage_ratio", "gauge",
     "Documents with a current vector of those that should have one, 0 to 1."},
    {"throughput", M "throughput_documents_per_second", "gauge", "Documents a second over the active time."},
    {"eta_seconds", M "eta_seconds", "gauge", "Estimated time until the backfill is done; absent while unknown."},
    {"changes_pending", M "changes_pending", "gauge", "Changes of documents that wait to be embedded."},
    {"changes_applied_total", M "changes_applied_total", "counter", "Changes of documents that were embedded."},
    {"change_lag_seconds", M "change_lag_seconds", "gauge", "Age of the oldest change that waits."},
    {"errors_total", M "errors_total", "counter", "Errors that stopped a process or failed the migration."},
    {"tokens_total", M "tokens_total", "counter", "Tokens that providers counted, all processes."},
    {"requests_total", M "requests_total", "counter", "Requests to providers, all processes."},
    {"cost_total", M "cost_total", "counter",
     "Cost in the currency of limits.price_per_million_tokens; absent without it."},
    {"truncated_total", M "truncated_documents_total", "counter", "Documents that were cut to what the model takes."},
    {"budget_used_ratio", M "budget_used_ratio", "gauge",
     "Used share of limits.max_tokens or limits.max_cost, 0 to 1."},
    {"failures", M "failures", "gauge", "Documents that have no vector, by kind and reason."},
    {"workers", M "workers", "gauge", "Processes that are alive."},
    {"stalled", M "stalled", "gauge", "1 when it is in progress and no process is alive."},
    {"gate_holds", M "gate_holds", "gauge", "1 when the gate holds."},
    {"gate_actual", M "gate_actual", "gauge", "Figure that the gate looks at."},
    {"gate_required", M "gate_required", "gauge", "Figure that the gate asks for."},
    {"created", M "created_timestamp_seconds", "gauge", "When the migration was created."},
    {"started", M "started_timestamp_seconds", "gauge", "When it was started."},
    {"flipped", M "flipped_timestamp_seconds", "gauge", "When queries went over; absent before."},
    {"completed", M "completed_timestamp_seconds", "gauge", "When it was completed; absent before."},
    {"updated", M "updated_timestamp_seconds", "gauge", "Newest change of its row or heartbeat of a process."},
    {"routing_phase", "reembed_routing_phase", "gauge", "1 for the phase that the collection is in, 0 for the others."},
    {"routing_info", "reembed_routing_info", "gauge", "Model that answers queries; always 1."},
    {"routing_version", "reembed_routing_version", "gauge", "Rises with each change of routing."},
    {"window_remaining_seconds", "reembed_routing_window_remaining_seconds", "gauge",
     "Until the rollback window ends; absent outside of one."},
    {NULL, NULL, NULL, NULL},
};

#define P(name, type, help)                                                                                            \
    {                                                                                                                  \
        name, name, type, help                                                                                         \
    }

static const struct metric_family process_families[] = {
    P("reembed_build_info", "gauge", "Version of the program; always 1."),
    P("reembed_database_up", "gauge", "1 when the database answered the newest look at it."),
    P("reembed_serve_connections", "gauge", "Connections to this endpoint."),
    P("process_start_time_seconds", "gauge", "Start time of the process since the epoch."),
    P("process_cpu_seconds_total", "counter", "CPU time of the process, user and system."),
    P("process_resident_memory_bytes", "gauge", "Resident memory of the process."),
    P("reembed_run_documents_total", "counter", "Documents that this process settled, by outcome."),
    P("reembed_run_batches_total", "counter", "Batches of this process, by outcome."),
    P("reembed_run_requests_total", "counter", "Requests to providers, by outcome; models in process count too."),
    P("reembed_run_retries_total", "counter", "Requests that were sent again."),
    P("reembed_run_tokens_total", "counter", "Tokens that providers counted."),
    P("reembed_run_leases_total", "counter", "Chunks that this process claimed."),
    P("reembed_run_lease_takeovers_total", "counter",
      "Of these, chunks taken over from a process that did not finish."),
    P("reembed_run_leases_lost_total", "counter", "Chunks that went to another process."),
    P("reembed_run_queue_depth", "gauge", "Batches that wait, by queue."),
    P("reembed_run_documents_in_flight", "gauge", "Documents read and not written yet."),
    P("reembed_run_throttled", "gauge", "1 for the reason that holds the backfill back now, 0 for the others."),
    P("reembed_run_throttled_seconds_total", "counter", "Time that the reader was held back, by reason."),
    P("reembed_run_heartbeat_age_seconds", "gauge", "Since the database took the newest heartbeat."),
    P("reembed_run_read_duration_seconds", "histogram", "Reading one window of documents."),
    P("reembed_run_embed_duration_seconds", "histogram", "Embedding one batch, with all retries."),
    P("reembed_run_request_duration_seconds", "histogram", "One request to a provider."),
    P("reembed_run_write_duration_seconds", "histogram", "One writing statement, from sending to its answer."),
};

const struct metric_family *
process_family(const char *name)
{
    for (size_t i = 0; i < sizeof process_families / sizeof process_families[0]; i++)
        if (strcmp(process_families[i].name, name) == 0)
            return &process_families[i];
    abort();
}
