"""kill -9 of whole processes at random moments."""
import time

from cases import case
from program import eventually
from trial import THREADS


def fleet_under_fire(trial, processes, kills, strike, *words):
    """`strike(trial, process)` hits a random one of the fleet again and again, mostly while it works, sometimes while it
    is still starting; a dead one is replaced at once."""
    fleet = [trial.start("--follow", *words) for _ in range(processes)]
    for _ in range(kills):
        number = trial.random.randrange(processes)
        early = trial.random.random() < 0.2
        eventually(lambda: early or "working" in fleet[number].err or not fleet[number].running, 30, "a process to work")
        time.sleep(trial.random.uniform(0, 0.25))       # the moment itself is what is random
        strike(trial, fleet[number])
        if not fleet[number].running:
            fleet[number] = trial.start("--follow", *words)
    return fleet


def end(trial, fleet, **how):
    trial.wait_completed()
    if trial.application is not None:
        trial.application.stop()
    for process in fleet:
        trial.terminate(process)
    trial.finish(**how)


@case("kills", pr=3, night=56)
def kills(context):
    trial = context.trial(documents=600, lease=context.number % 2 * 0.5 + 0.5)
    trial.serve(latency_ms=40, jitter_ms=20)
    trial.configure(backfill={"batch_size": 5})
    trial.sample()
    if context.number % 3:
        trial.write(pace=0.05)
    processes = trial.random.choice((4, 8) if context.number % 8 == 7 else (2, 3))
    fleet = fleet_under_fire(trial, processes, 20, lambda t, process: t.kill(process))
    # being asked, answered and being written, on its way in between
    end(trial, fleet, wasted=3 * 5 * THREADS)


@case("kills-in-process", pr=1, night=10)
def kills_in_process(context):
    """No server to wait for: the database is what is busy. Both spaces are kept, and there is an index."""
    trial = context.trial(documents=3000, lease=0.5)
    trial.configure(backfill={"batch_size": 2, "max_concurrent": 1}, source={"provider": {"kind": "hashing"}},
                    target={"index": {"method": "hnsw", "m": 4, "ef_construction": 16}})
    trial.sample(pace=0.05)
    trial.write(pace=0.01)
    fleet = fleet_under_fire(trial, trial.random.choice((2, 3)), 20, lambda t, process: t.kill(process))
    end(trial, fleet)

