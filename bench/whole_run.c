#include "whole_run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

double
rusage_cpu_seconds(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

bool
whole_run(const char *binary, const char *url, const char *migration, struct whole_run *ret_run)
{
    char path[] = "/tmp/reembed-bench-XXXXXX.json";
    int file = mkstemps(path, 5), status = -1;
    struct rusage usage = {.ru_maxrss = 0};

    if (file < 0 || dprintf(file, "%s", migration) < 0) {
        fprintf(stderr, "can't write a migration file\n");
        return false;
    }
    close(file);
    int64_t start = clock_now_us();
    pid_t pid = fork();
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        execl(binary, binary, "--database-url", url, "--log-level", "error", "--no-progress", "run", path,
              (char *)NULL);
        _exit(127);
    }
    wait4(pid, &status, 0, &usage);
    *ret_run = (struct whole_run){
        .seconds = (double)(clock_now_us() - start) / 1e6,
        .cpu_seconds = rusage_cpu_seconds(&usage),
        .peak_kb = usage.ru_maxrss,
    };
    unlink(path);
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
