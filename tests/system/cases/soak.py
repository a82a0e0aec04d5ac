"""An hour of faults of all kinds while the application writes: nothing is lost, and nothing grows."""
import os
import pathlib
import statistics
import sys
import time

import psycopg
from cases import case
from cases.lifecycle import pause
from database import Cluster
from program import eventually
from proxy import FAULTS, Proxy
from trial import PAYABLE

MINUTES = float(os.environ.get("REEMBED_TEST_SOAK_MINUTES") or 60)
DOCUMENTS_A_MINUTE = 200        # so that the backfill takes its part of the time

# How often each is done. None of them ends the one process that is watched.
WEIGHTS = {"cut": 5, "kill": 4, "provider": 4, "network": 4, "stop": 3, "term": 2, "lock": 2, "restart": 1}

# What passes by itself. A broken answer may stop a migration for good, which is the matter of `provider`.
PROVIDER_FAULTS = ({"kind": "status", "status": 503}, {"kind": "status", "status": 429, "retry_ms": 500}, {"kind": "hang"},
                   {"kind": "reset"}, {"kind": "truncate"}, {"kind": "drip"})


class Watched:
    """What one process holds, over the time. Sizes in kB."""

    FIGURES = ("memory", "descriptors", "threads")

    def __init__(self, process):
        self.process = process
        self.seen = []                  # (seconds, memory, descriptors, threads)

    def look(self, seconds):
        place = pathlib.Path(f"/proc/{self.process.pid}")
        lines = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
        self.seen.append((seconds, int(lines["VmRSS"].split()[0]), len(os.listdir(place / "fd")), int(lines["Threads"])))

    def medians(self, share_from, share_to):
        """Of each figure, in this part of the whole time."""
        end = self.seen[-1][0]
        part = [row[1:] for row in self.seen if share_from * end <= row[0] <= share_to * end]
        return dict(zip(self.FIGURES, (statistics.median(column) for column in zip(*part))))

    def check(self):
        early, late = self.medians(0.2, 0.4), self.medians(0.8, 1)
        text = ", ".join(f"{figure} {early[figure]:.0f} -> {late[figure]:.0f}" for figure in self.FIGURES)
        assert late["memory"] <= early["memory"] * 1.05 + 1024, f"memory grows: {text}"
        assert late["descriptors"] <= early["descriptors"] + 1, f"descriptors grow: {text}"
        assert late["threads"] <= early["threads"], f"threads grow: {text}"
        return text


class Soak:
    def __init__(self, context):
        self.cluster = context.open(Cluster(context.version))
        self.cluster.make_fast()
        self.trial = context.trial(server_url=self.cluster.url, documents=int(DOCUMENTS_A_MINUTE * MINUTES), lease=2)
        self.trial.serve(latency_ms=400, jitter_ms=200)
        self.trial.configure(backfill={"batch_size": 5}, source={"provider": {"kind": "hashing"}},
                             target={"provider": {"timeout_secs": 3}, "index": {"method": "hnsw", "m": 4, "ef_construction": 16}})
        socket_path = self.trial.database.sql.info.host + "/.s.PGSQL.5432"
        self.proxy = context.open(Proxy(socket_path, context.seed))
        self.through_proxy = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/{self.trial.database.name}"
        self.trial.sample(idle=None, outages=True, pace=2)
        self.watched = Watched(self.trial.start("--follow"))
        self.urls = [None, self.through_proxy]
        self.others = [self.trial.start("--follow", url=url) for url in self.urls]
        eventually(lambda: all("working" in process.err for process in (self.watched.process, *self.others)), 60, "the processes to work")
        self.trial.write(pace=0.3, outages=True, kinds={kind: often for kind, often in PAYABLE.items() if kind != "bulk"})

    # --- faults ---

    def sql(self, statement, *values):
        """In a connection of its own; whatever it meets is what the last fault left."""
        try:
            with psycopg.connect(self.trial.url, autocommit=True, application_name="fault") as sql:
                sql.execute(statement, values or None)
        except psycopg.OperationalError:
            pass

    def do_cut(self):
        self.sql("SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                 "AND application_name LIKE 'reembed%%' ORDER BY random() LIMIT %s) b", self.trial.random.randint(1, 4))

    def do_kill(self):
        self.replace_dead()
        self.trial.kill(self.trial.random.choice(self.others))

    def do_term(self):
        self.replace_dead()
        self.trial.terminate(self.trial.random.choice(self.others), within=None, seconds=60)

    def do_stop(self):
        pause(self.trial, self.trial.random.choice((self.watched.process, *self.others)))

    def do_provider(self):
        fault = self.trial.random.choice(PROVIDER_FAULTS)
        self.trial.provider.set(faults=[{**fault, "probability": 0.5, "times": self.trial.random.randint(1, 8)}])

    def do_network(self):
        self.proxy.fault(self.trial.random.choice(FAULTS), delay=self.trial.random.uniform(0.1, 2))

    def do_lock(self):
        """Not longer than this in the queue for it: the application, which stands behind, may be who holds it up."""
        self.sql("SET lock_timeout = '300ms'; BEGIN; LOCK TABLE docs IN ACCESS EXCLUSIVE MODE; "
                 f"SELECT pg_sleep({self.trial.random.uniform(0, 1):.2f}); COMMIT")

    def do_restart(self):
        self.cluster.restart(self.trial.random.choice(("fast", "immediate")))

    def replace_dead(self):
        assert self.watched.process.running, f"the watched process ended: {self.watched.process}"
        for number, process in enumerate(self.others):
            if process.running:
                continue
            early = process.wait() == 4 and "working" not in process.err       # cut before it had ever been connected
            assert early or process.code in (-9, 0, 3), process
            self.others[number] = self.trial.start("--follow", url=self.urls[number])

    # --- the time ---

    def run(self):
        trial, began, told = self.trial, time.monotonic(), 0
        while (now := time.monotonic() - began) < MINUTES * 60:
            kind = trial.random.choices(list(WEIGHTS), WEIGHTS.values())[0]
            trial.counts[f"soak_{kind}"] += 1
            getattr(self, f"do_{kind}")()
            until = time.monotonic() + trial.random.uniform(1, 7)
            while time.monotonic() < until:
                self.replace_dead()
                self.watched.look(time.monotonic() - began)
                time.sleep(0.5)
            if now // 60 > told:
                told = now // 60
                latest = trial.sampler.latest
                print(f"soak: minute {told:.0f}, {latest['state']}, {latest['processed']} of {latest['total']}, {trial.sampler.looks} looks, "
                      f"{len(trial.sampler.wrong)} wrong, {self.watched.seen[-1][1:]}", file=sys.stderr, flush=True)
        self.proxy.mend()
        trial.provider.set(faults=[])
        self.replace_dead()

    def end(self):
        trial = self.trial
        trial.database.reconnect()
        trial.wait_completed(240)
        trial.application.stop()
        for process in (self.watched.process, *self.others):
            trial.terminate(process, within=None, seconds=60)
        trial.finish()
        trial.notes.append(f"soak of {MINUTES:g} minutes, the watched process: {self.watched.check()}; "
                           f"at most {trial.sampler.most['connections']} connections")


@case("soak", pr=0, night=0, release=1, longest=MINUTES * 60 + 900)
def soak(context):
    trial = Soak(context)
    trial.run()
    trial.end()
