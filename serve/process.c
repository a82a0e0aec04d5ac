#include "serve/process.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/exposition.h"

#define HEARTBEAT_PATIENCE_MS 10000 /* as long as reembed.workers calls a process alive */

static double
load(const atomic_ullong *counter)
{
    return (double)atomic_load_explicit(counter, memory_order_relaxed);
}

enum measured_throttle
process_throttle(const struct measurements *run)
{
    int why = atomic_load(&run->throttle);

    if (why == THROTTLE_NONE && atomic_load(&run->provider_waits_until_ms) > clock_now_ms())
        return THROTTLE_PROVIDER;
    return (enum measured_throttle)why;
}

bool
process_lease_alive(const struct measurements *run)
{
    long long beat = atomic_load(&run->beat_ms), lease = atomic_load(&run->lease_ms);
    long long patience = lease > HEARTBEAT_PATIENCE_MS ? lease : HEARTBEAT_PATIENCE_MS;

    return atomic_load(&run->working) && beat > 0 && clock_now_ms() - beat <= patience;
}

static void
single(const char *name, double value, struct strbuf *out)
{
    exposition_head(process_family(name), out);
    exposition_sample(name, NULL, NULL, value, out);
}

/* --- the operating system's view; what /proc does not tell is left out --- */

static double
start_time_seconds(void)
{
    FILE *stat = fopen("/proc/self/stat", "re");
    unsigned long long ticks = 0;
    char text[1024] = "";
    struct timespec now, up;

    if (stat == NULL)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, stat);
    (void)fclose(stat);
    size_t at = length;
    while (at > 0 && text[at - 1] != ')') /* the name of the program may hold anything */
        at--;
    for (int field = 2; field < 22 && text[at] != '\0'; at++) /* the 22nd is the start, in ticks since boot */
        field += text[at] == ' ';
    for (; text[at] >= '0' && text[at] <= '9'; at++)
        ticks = ticks * 10 + (unsigned long long)(text[at] - '0');
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    double boot = (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9;
    return boot + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double
resident_bytes(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;
    char text[128] = "";
    size_t at = 0;

    if (statm == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, statm)] = '\0';
    (void)fclose(statm);
    while (text[at] != '\0' && text[at] != ' ')
        at++;
    for (at += text[at] == ' '; text[at] >= '0' && text[at] <= '9'; at++)
        pages = pages * 10 + (unsigned long long)(text[at] - '0');
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double
cpu_seconds(void)
{
    struct timespec used = {0};

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* --- the run --- */

static void
run_metrics(const struct measurements *run, struct strbuf *out)
{
    const char *name = "reembed_run_documents_total";
    exposition_head(process_family(name), out);
    exposition_sample(name, "outcome", "stored", load(&run->documents_stored), out);
    exposition_sample(name, "outcome", "current", load(&run->documents_current), out);
    exposition_sample(name, "outcome", "skipped", load(&run->documents_skipped), out);
    exposition_sample(name, "outcome", "failed", load(&run->documents_failed), out);

    name = "reembed_run_batches_total";
    exposition_head(process_family(name), out);
    exposition_sample(name, "outcome", "stored", load(&run->batches_stored), out);
    exposition_sample(name, "outcome", "dropped", load(&run->batches_dropped), out);

    name = "reembed_run_requests_total";
    exposition_head(process_family(name), out);
    for (size_t i = 0; i < MEASURED_REQUESTS; i++)
        exposition_sample(name, "outcome", measured_request_names[i], load(&run->requests[i]), out);

    single("reembed_run_retries_total", load(&run->retries), out);
    single("reembed_run_tokens_total", load(&run->tokens), out);
    single("reembed_run_leases_total", load(&run->leases_claimed), out);
    single("reembed_run_lease_takeovers_total", load(&run->lease_takeovers), out);
    single("reembed_run_leases_lost_total", load(&run->leases_lost), out);

    name = "reembed_run_queue_depth";
    exposition_head(process_family(name), out);
    exposition_sample(name, "queue", "embed", (double)atomic_load(&run->waiting_to_embed), out);
    exposition_sample(name, "queue", "write", (double)atomic_load(&run->waiting_to_write), out);
    single("reembed_run_documents_in_flight", (double)atomic_load(&run->in_flight), out);

    name = "reembed_run_throttled";
    exposition_head(process_family(name), out);
    for (size_t i = THROTTLE_NONE + 1; i < MEASURED_THROTTLES; i++)
        exposition_sample(name, "reason", measured_throttle_names[i], process_throttle(run) == i, out);
    name = "reembed_run_throttled_seconds_total";
    exposition_head(process_family(name), out);
    for (size_t i = THROTTLE_NONE + 1; i < THROTTLE_PROVIDER; i++) /* the provider holds workers, not the reader */
        exposition_sample(name, "reason", measured_throttle_names[i], load(&run->throttled_us[i]) / 1e6, out);

    name = "reembed_run_heartbeat_age_seconds";
    exposition_head(process_family(name), out);
    long long beat = atomic_load(&run->beat_ms);
    if (beat > 0)
        exposition_sample(name, NULL, NULL, (double)(clock_now_ms() - beat) / 1000, out);

    exposition_histogram(process_family("reembed_run_read_duration_seconds"), &run->read, out);
    exposition_histogram(process_family("reembed_run_embed_duration_seconds"), &run->embed, out);
    exposition_histogram(process_family("reembed_run_request_duration_seconds"), &run->request, out);
    exposition_histogram(process_family("reembed_run_write_duration_seconds"), &run->write, out);
}

void
process_metrics(const struct measurements *run, bool database_up, size_t connections, struct strbuf *out)
{
    exposition_head(process_family("reembed_build_info"), out);
    exposition_sample("reembed_build_info", "version", REEMBED_VERSION, 1, out);
    single("reembed_database_up", database_up, out);
    single("reembed_serve_connections", (double)connections, out);
    single("process_start_time_seconds", start_time_seconds(), out);
    single("process_cpu_seconds_total", cpu_seconds(), out);
    single("process_resident_memory_bytes", resident_bytes(), out);
    if (run != NULL)
        run_metrics(run, out);
}
