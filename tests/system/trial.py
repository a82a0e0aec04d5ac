"""One trial of the battery: a database, documents, an application that writes, processes that suffer, and what must hold.

A trial's choices come from its seed alone. `finish` lets the work come to its end and looks at everything; whatever is
wrong is an AssertionError that says what.
"""
import collections
import datetime
import os
import signal
import time

import oracle
import psycopg
import trace
from application import STORM, Journal
from lab import DIMENSIONS, MODEL, OLD_MODEL, Lab, merged
from program import PATIENCE, PROGRAMS, eventually
from sampler import Sampler

THREADS, BATCH = 2, 10
SAYS_SO = ("insert", "edit", "edits", "delete", "reinsert", "retitle", "think_again", "rename", "hot", "bulk", "long")
# Every text is new, so that one that was paid twice was wasted.
PAYABLE = {kind: STORM[kind] for kind in SAYS_SO}

LIBFAKETIME = "/usr/lib/{}/faketime/libfaketimeMT.so.1"


def faketime():
    """The path of libfaketime, or None where it is not installed."""
    for machine in (f"{os.uname().machine}-linux-gnu",):
        path = LIBFAKETIME.format(machine)
        if os.path.exists(path):
            return path
    return None


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Trial:
    """counts: what was done, by kind of fault. Used by one thread."""

    def __init__(self, server_url, name, seed, lease=0.3, documents=150, **config):
        self.lab = Lab(server_url, name, seed)
        self.random = self.lab.random
        self.database = self.lab.database
        self.url = self.lab.url
        self.lease = lease
        self.counts = collections.Counter()
        self.deaths = []                # (who, when) of kill -9
        self.recoveries = []
        self.sigterms = []              # seconds from SIGTERM to the end
        self.wasted = []                # (texts paid twice, kills)
        self.notes = []                 # sentences for the report
        self.looks = 0
        self.journal = None
        self.application = self.sampler = self.provider = None
        self.excused = False            # documents may be in failures
        self._names = 0
        self._who = {}
        trace.install(self.database)
        self.file = None
        self._config = merged({"backfill": {"batch_size": BATCH, "max_concurrent": THREADS},
                               "database": {"lease_secs": lease}}, config)
        self.journal = self.lab.documents(documents, words=4)

    # --- setting up ---

    def configure(self, **changes):
        self._config = merged(self._config, changes)
        self.file = self.lab.file(**self._config)
        return self.file

    def serve(self, **settings):
        """A fake embeddings server as the target's model."""
        self.provider = self.lab.provider(**settings)
        return self.configure(**self.lab.http(self.provider))

    def write(self, pace=0.01, kinds=PAYABLE, outages=False, url=None):
        self.application = self.lab.application(self.journal, pace, outages, url, kinds)
        return self.application

    def sample(self, idle=0.5, outages=False, url=None, **how):
        self.sampler = Sampler(url or self.url, MODEL, DIMENSIONS, idle=idle, outages=outages, **how)
        self.sampler.start()
        return self.sampler

    # --- processes ---

    def start(self, *words, fault=None, url=None, env=None, command="run", **how):
        self._names += 1
        who = f"reembed-{self._names}"
        url = url or self.url
        url += ("&" if "?" in url else "?") + f"application_name={who}"
        env = {**({"REEMBED_FAIL_POINTS": fault} if fault else {}), **(env or {})}
        process = self.lab.start(command, self.file or self.configure(), *words, url=url, env=env, **how)
        self._who[process] = who
        if self.sampler is not None:
            self.sampler.processes.append(process)
        return process

    def kill(self, process):
        assert process.running, f"ended by itself: {process}"
        process.kill()
        self.deaths.append((self._who[process], now()))
        self.counts["kills"] += 1
        latest = self.sampler.latest if self.sampler else {"state": None}
        self.counts["kills_in_backfill"] += latest["state"] == "in_progress" and latest["processed"] < latest["total"]

    def died(self, process, kind="kills"):
        """It killed itself at a fail point."""
        assert process.code == -signal.SIGKILL, process
        self.deaths.append((self._who[process], now()))
        self.counts[kind] += 1

    def stopped(self, process, seconds=30):
        """Waits until the process has stopped itself (True) or ended (False)."""
        def state():
            if not process.running:
                return "ended"
            with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
                return {"T": "stopped"}.get(stat.read().rpartition(")")[2].split()[0])
        return eventually(state, seconds, f"a process to stop or to end{process}") == "stopped"

    def terminate(self, process, codes=(0, 3), within=5.0, seconds=20):
        """SIGTERM; its seconds are remembered. How many are usual is for the report: a machine may be busy."""
        began = time.monotonic()
        process.send(signal.SIGTERM)
        code = process.wait(seconds)
        took = time.monotonic() - began
        early = code == -signal.SIGTERM and not process.err         # not even begun: nobody had told it yet what a signal means
        assert early or code in codes, f"exit {code} after SIGTERM: {process}"
        assert within is None or took <= within * PATIENCE, f"{took:.2f} s after SIGTERM: {process}"
        if within is not None:
            self.sigterms.append(took)
        self.counts["sigterms"] += 1

    def ended(self, process, codes, seconds=60):
        code = process.wait(seconds)
        assert code in codes, f"exit {code}, not one of {codes}: {process}"
        return code

    def state(self):
        return (self.sampler.latest["state"] if self.sampler else None) or self.lab.state()

    def wait_completed(self, seconds=90):
        eventually(lambda: self.lab.state() == "completed", seconds, "the migration to be completed")

    # --- the documents, by hand ---

    def change(self):
        """Everything that an application can do to a document, at once."""
        keys = list(self.journal.documents)
        self.random.shuffle(keys)
        some = max(len(keys) // 10, 1)
        groups = [sorted(keys[i * some:(i + 1) * some]) for i in range(5)]
        edit, gone, again, back, titles = groups
        with psycopg.connect(self.url, autocommit=True) as sql:
            app = self.lab_application()
            app._remember(app.do_edit(sql, edit))
            app._remember(app.do_delete(sql, gone))
            app._remember(app.do_reinsert(sql, again))
            app._remember(app.do_back(sql, back))
            app._remember(app.do_retitle(sql, titles))
            app._remember(app.do_insert(sql))
            if edit:
                app._remember(app.do_rename(sql, edit[:1]))

    def lab_application(self):
        """The hands of an application, without its thread."""
        if getattr(self, "_hands", None) is None:
            from application import Application
            self._hands = Application(self.url, self.journal, self.random.randrange(2 ** 32))
            self._hands._next_id = 5_000_000
        return self._hands

    # --- the end ---

    def settle(self, runs=6, codes=(0,), **how):
        """The application stops, and somebody comes who is not disturbed."""
        if self.application is not None and self.application.is_alive():
            self.application.stop()
        if self.lab.state() in ("paused", "failed"):
            self.database.execute("SELECT reembed.resume('m1')")
        for _ in range(runs):
            process = self.start(**how)
            code = process.wait(90)
            if code in codes:
                return process
            assert code in (3, 4), f"exit {code}: {process}"
        raise AssertionError(f"not done after {runs} runs: {process}")

    def finish(self, codes=(0,), wasted=None, ledger=True):
        """wasted: how many texts may be paid again for each kill; None: not looked at."""
        self.settle(codes=codes)
        self.check(wasted, ledger)

    def check(self, wasted=None, ledger=True):
        if self.sampler is not None:
            self.sampler.stop()
            self.looks += self.sampler.looks
        for process in self.lab.processes:
            if process.code is None:
                process.wait(30)  # it may be saying good-bye
            assert process.code in (*range(10), -signal.SIGKILL, -signal.SIGTERM), f"died of itself: {process}"
        assert self.lab.state() == "completed", self.lab.progress()
        self.lab.check_untouched(self.journal)
        bodies = self.journal.bodies()
        wrong = oracle.compare(self.lab.target_vectors(), bodies, MODEL, DIMENSIONS)
        assert not wrong, f"{len(wrong)} of {len(bodies)} target vectors are wrong: {wrong[:5]}"
        self.lab.check_counts()
        self.lab.check_nothing_claimed(killed=bool(self.deaths))
        failures = self.lab.failures()
        assert self.excused or not failures, f"documents were blamed: {failures}"
        if self._config.get("source", {}).get("provider"):
            self._check_source()
        found = trace.offences(self.database, ledger)
        assert not found, "\n".join(found)
        self.recoveries += trace.recoveries(self.database, self.deaths)
        self.counts["take_overs"] += trace.take_overs(self.database)
        if self.provider is not None and wasted is not None:
            self._check_paid(wasted)

    def _check_source(self):
        """The old column holds the old model's vector of the present text, or none."""
        rows = self.database.vectors("SELECT id, embedding FROM docs")
        bodies = self.journal.bodies()
        wrong = oracle.compare(rows, {key: bodies[key] for key, _ in rows if key in bodies}, OLD_MODEL, DIMENSIONS)
        assert not wrong, f"{len(wrong)} of {len(rows)} source vectors are wrong: {wrong[:5]}"

    def _check_paid(self, wasted):
        times = collections.Counter(self.provider.paid())
        canary = max(times.values())    # one text at each start, the only one that is meant to be repeated
        paid = sum(times.values()) - canary
        twice = paid - (len(times) - 1)
        kills = max(self.counts["kills"], 1)
        changes = self.application.changes if self.application else 0
        if not changes:                 # else a backfill and a drainer may meet on a text, once a change
            self.wasted.append((twice, kills))
            assert twice <= wasted * kills, f"{twice} texts were paid again for {kills} kills, {wasted} each are allowed"
        documents = self.lab.progress("total")
        assert paid <= documents + changes + wasted * kills, f"{paid} texts paid for {documents} documents and {changes} changes"

    def close(self):
        self.lab.close()


__all__ = ["PROGRAMS", "Trial", "faketime"]
