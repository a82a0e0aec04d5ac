"""How the program is run: by a CronJob that overlaps itself, in many processes, with leases that are far too short, with a
provider that fails, stopped and continued at random."""
import signal
import time

from cases import case
from cases.kills import end, fleet_under_fire
from program import eventually


@case("cronjob", pr=1, night=8)
def cronjob(context):
    """`--once` and `--max-runtime`, begun again before the last one is over, from the very first install on."""
    trial = context.trial(documents=400, lease=0.5)
    trial.serve(latency_ms=50)
    trial.sample()
    trial.write(pace=0.06)
    under_way, ended, deadline = [], 0, time.monotonic() + 90
    while trial.state() != "completed" and time.monotonic() < deadline:
        words = trial.random.choice((("--once",), ("--max-runtime", "0.7"), ("--once", "--max-runtime", "1.5")))
        under_way.append(trial.start(*words, "--ok-if-more"))
        trial.counts["overlapping_starts"] += len(under_way) > 1
        time.sleep(trial.random.uniform(0.05, 0.4))
        if trial.random.random() < 0.2:
            victim = trial.random.choice(under_way)
            if victim.running:
                trial.kill(victim)
        for process in [process for process in under_way if not process.running]:
            assert process.code in (0, -9), process
            under_way.remove(process)
            ended += 1
    for process in under_way:
        trial.ended(process, (0, -9))
    trial.finish()


@case("storm", pr=1, night=6)
def storm(context):
    """Leases of 20 ms, shorter than a batch takes: everything is taken over all the time, and still ends well."""
    trial = context.trial(documents=300, lease=0.02)
    trial.serve(latency_ms=15, jitter_ms=30)
    trial.sample()
    trial.write(pace=0.05)
    fleet = fleet_under_fire(trial, trial.random.choice((3, 4, 6)), 5, lambda t, process: t.kill(process))
    end(trial, fleet)


@case("many", pr=1, night=4)
def many(context):
    """Eight processes at once, from the first install of the schema on."""
    trial = context.trial(documents=1500, lease=1)
    trial.serve(latency_ms=30)
    trial.sample()
    trial.write(pace=0.05)
    fleet = [trial.start() for _ in range(8)]
    for process in fleet:
        trial.ended(process, (0,))
    trial.finish(wasted=0)


def pause(trial, process):
    """SIGSTOP for longer than the lease, then SIGCONT."""
    process.send(signal.SIGSTOP)
    time.sleep(trial.lease * trial.random.uniform(1.1, 2.5))
    process.send(signal.SIGCONT)
    trial.counts["zombies"] += 1


@case("stops", pr=1, night=6)
def stops(context):
    trial = context.trial(documents=500, lease=0.15)
    trial.serve(latency_ms=30)
    trial.sample(idle=None)
    trial.write(pace=0.06)
    fleet = fleet_under_fire(trial, 3, 15, pause)
    end(trial, fleet)


PROVIDER_FAULTS = ("status", "hang", "reset", "truncate", "cut_json", "garbage", "empty", "fewer", "more", "duplicate", "html", "error_200", "drip")


@case("provider", pr=2, night=12)
def provider(context):
    """The embeddings server fails in all its ways while processes are killed. No document is ever blamed for it."""
    trial = context.trial(documents=250, lease=0.5)
    trial.serve(latency_ms=20)
    trial.configure(target={"provider": {"timeout_secs": 1}})
    trial.sample()
    trial.write(pace=0.06)
    fleet = [trial.start("--follow") for _ in range(2)]
    eventually(lambda: all("working" in process.err for process in fleet), 30, "the processes to work")
    for _ in range(6):
        kind = trial.random.choice(PROVIDER_FAULTS)
        fault = {"kind": kind, "probability": trial.random.choice((0.1, 0.5)), "times": 6}
        if kind == "status":
            fault["status"] = trial.random.choice((429, 500, 502, 503))
            fault["retry_ms"] = 100
        trial.provider.set(faults=[fault])
        trial.counts["provider_faults"] += 1
        time.sleep(trial.random.uniform(0.1, 0.4))
        number = trial.random.randrange(2)
        if trial.random.random() < 0.3 and fleet[number].running:
            trial.kill(fleet[number])
        for number, process in enumerate(fleet):
            if not process.running:     # 5: it took a broken answer for a broken provider
                assert process.code in (-9, 5), process
                fleet[number] = trial.start("--follow")
    trial.provider.set(faults=[])
    for number, process in enumerate(fleet):
        if not process.running:
            fleet[number] = trial.start("--follow")
    trial.wait_completed()
    trial.application.stop()
    for process in fleet:
        trial.terminate(process, within=None)
    trial.finish()


