"""Killing any process at any moment loses nothing and stores nothing wrong; the others and the next ones go on."""
import collections
import signal
import time

from program import PATIENCE, eventually, scaled

KILLS = 20
BATCH, THREADS = 20, 3
LEASE_SECS = 1


class Fleet:
    """Two processes on one migration; a killed one is replaced at once."""

    def __init__(self, lab, file):
        self.lab = lab
        self.file = file
        self.starts = 0
        self.processes = [self._start(), self._start()]
        self.kills = []         # state and share at each kill

    def _start(self):
        self.starts += 1
        return self.lab.start("run", self.file, "--follow")

    def kill(self, number, watcher):
        process = self.processes[number]
        assert process.running, f"ended by itself: {process}"
        process.kill()
        seen = watcher.latest or {"state": "(none)", "processed": 0, "total": 1}
        self.kills.append((seen["state"], seen["processed"] / max(seen["total"], 1)))
        self.processes[number] = self._start()


def moments(lab, documents):
    """Twenty random moments: soon after a start, or when some random part of the documents is processed."""
    shares = sorted(lab.random.random() for _ in range(KILLS * 3 // 4))
    early = [lab.random.uniform(0, 0.3) for _ in range(KILLS - len(shares))]
    plan = [("processed", int(share * documents)) for share in shares] + [("seconds", delay) for delay in early]
    # early ones in between, each behind a random one of the others
    lab.random.shuffle(plan)
    order = iter(sorted(value for kind, value in plan if kind == "processed"))
    return [(kind, next(order) if kind == "processed" else value) for kind, value in plan]


def run_and_kill(lab, file, documents, application, watcher):
    fleet = Fleet(lab, file)
    for kind, value in moments(lab, documents):
        if kind == "seconds":
            time.sleep(value)           # the moment itself is what is random
        else:
            eventually(lambda: (watcher.latest or {"processed": 0})["processed"] >= value or
                       (watcher.latest or {"state": ""})["state"] == "completed", 120, f"{value} documents")
        fleet.kill(lab.random.randrange(2), watcher)
    lab.wait_state("completed", seconds=120)
    application.stop()
    # what was written until a moment ago still has to arrive
    eventually(lambda: lab.progress("changes_pending") == 0, 60, "the last changes")
    for process in fleet.processes:
        process.send(signal.SIGTERM)
        assert process.wait(10) in (0, 3), process      # 3: it had not heard of the end yet
    watcher.stop()
    print(f"{fleet.starts} starts, kills at {collections.Counter(state for state, _ in fleet.kills)}:",
          " ".join(f"{share:.2f}" for _, share in fleet.kills))
    print(f"{watcher.samples} looks at the counters, {application.changes} documents changed, "
          f"the slowest write took {application.slowest:.3f} s")
    return fleet


def check_end(lab, journal, fleet):
    lab.check_completed(journal)
    lab.check_nothing_claimed(killed=True)
    assert not lab.failures()
    during = [share for state, share in fleet.kills if state == "in_progress" and share < 1]
    assert len(during) >= KILLS // 2, f"too few kills hit the backfill: {fleet.kills}"
    # once more: nothing is left to do
    lab.run(fleet.file)
    lab.check_completed(journal)


def test_twenty_kills_in_process_model(lab):
    count = scaled(20000, 10000)
    journal = lab.documents(count)
    file = lab.file(backfill={"batch_size": BATCH, "max_concurrent": THREADS}, database={"lease_secs": LEASE_SECS})
    watcher = lab.watcher()
    application = lab.application(journal)
    fleet = run_and_kill(lab, file, count, application, watcher)
    assert application.slowest < 5 * PATIENCE, "an application's write waited for us"
    assert watcher.samples > 100
    check_end(lab, journal, fleet)


def test_twenty_kills_embeddings_server_pays_only_for_what_was_in_flight(lab):
    count = scaled(8000, 1000)
    pace = 0.02
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=15, jitter_ms=15)
    file = lab.file(**lab.http(provider), backfill={"batch_size": BATCH, "max_concurrent": THREADS},
                    database={"lease_secs": LEASE_SECS})
    watcher = lab.watcher()
    application = lab.application(journal, pace)
    fleet = run_and_kill(lab, file, count, application, watcher)
    check_end(lab, journal, fleet)

    # Bodies are never repeated, so a text that was paid twice was in flight when a process was killed: what its
    # workers had sent or just got back, and the changes that its drainer had gathered.
    times = collections.Counter(provider.paid())
    canary = max(times.values())        # one text at each start, and the only one that is meant to be repeated
    paid, twice = sum(times.values()) - canary, sum(times.values()) - canary - (len(times) - 1)
    in_flight = KILLS * 2 * BATCH * THREADS + application.changes
    print(f"{paid} texts paid for {count} documents and {application.changes} changes, {twice} of them again")
    assert twice <= in_flight
    assert paid <= count + application.changes + in_flight


def test_what_changed_since_the_sweep_of_a_dead_process_comes_before_completion(lab):
    journal = lab.documents(50)
    provider = lab.provider(latency_ms=100)
    file = lab.file(**lab.http(provider), backfill={"batch_size": 10, "max_concurrent": 1}, database={"lease_secs": 1})
    dead = lab.start("run", file, env={"REEMBED_FAIL_POINTS": "finisher.completing=kill"})
    assert dead.wait() == -signal.SIGKILL, dead
    eventually(lambda: lab.database.value("SELECT finisher_until < clock_timestamp() FROM reembed.migration"), 20,
               "the dead one's lease to run out")
    journal.fill(lab.database, 200, first=1000)
    lab.run(file)
    lab.check_completed(journal)
