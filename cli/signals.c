#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "coordinator/commands.h"

static void
stop_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGHUP);
}

void
signals_block(void)
{
    sigset_t set;
    stop_signals(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

void
signals_unblock(void)
{
    sigset_t set;
    stop_signals(&set);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *
watch(void *context)
{
    atomic_bool *stop = context;
    sigset_t set;
    int number = 0;

    stop_signals(&set);
    while (sigwait(&set, &number) != 0)
        ;
    atomic_store(stop, true);
    log_event(LOG_INFO, "stopping: storing what is being embedded; a second signal ends at once",
              LF_STR("signal", sigabbrev_np(number)));
    while (sigwait(&set, &number) != 0)
        ;
    _exit(EXIT_MORE);
}

enum rc
signals_watch(atomic_bool *stop, struct err *err)
{
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, watch, stop);
    if (failure != 0)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "can't start the thread that waits for signals: %s",
                       strerror(failure));
    (void)pthread_detach(thread);
    return RC_OK;
}
