"""What a test works with: one database, migration files, processes, servers; all of it is gone at the end."""
import json
import pathlib
import random
import shutil
import tempfile

import oracle
from application import Application, Journal
from database import Database
from program import Process, clean_environment, eventually
from provider import Provider
from watcher import Watcher

MODEL = "new-hash"
OLD_MODEL = "old-hash"
DIMENSIONS = 32

# The documents table of most tests: the old vectors are a column of it.
DOCS = f"CREATE TABLE docs (id bigint PRIMARY KEY, body text, title text, embedding vector({DIMENSIONS}))"


def merged(base, changes):
    """Dictionaries are merged key by key; `...` takes a key away."""
    result = dict(base)
    for key, value in changes.items():
        if value is ...:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class Lab:
    def __init__(self, server_url, name, seed, owner=None):
        self.seed = seed
        self.random = random.Random(seed)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="reembed-system."))
        self._closing = []
        self.processes = []
        self.database = self.open(Database(server_url, name, owner))
        self.url = self.database.url

    def open(self, thing):
        """Remembers to close it."""
        self._closing.append(thing)
        return thing

    def close(self):
        for process in self.processes:
            if process.running:
                process.kill()
        for process in self.processes:
            if process.out or process.err:
                print(process)
        for thing in reversed(self._closing):
            thing.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- migration files ---

    def config(self, **changes):
        """A small migration: table docs, its column embedding as the source, hashing, no index."""
        return merged({
            "id": "m1",
            "collection": "docs",
            "documents": {"table": "public.docs", "id": "id", "content": "body"},
            "source": {"model": OLD_MODEL, "table": "public.docs", "id": "id", "column": "embedding"},
            "target": {"model": MODEL, "dimensions": DIMENSIONS, "index": {"method": "none"},
                       "provider": {"kind": "hashing"}},
            "backfill": {"batch_size": 50, "max_concurrent": 2},
            "database": {"lease_secs": 5},
        }, changes)

    def file(self, name="m1.json", **changes):
        path = self.directory / name
        path.write_text(json.dumps(self.config(**changes), indent=2))
        return path

    def provider(self, **settings):
        """A fake embeddings server; `lab.http(provider)` is the part of a file that names it."""
        return self.open(Provider(self.directory / f"journal-{len(self._closing)}.jsonl",
                                  **{"dimensions": DIMENSIONS, "seed": self.seed % 2 ** 31, **settings}))

    @staticmethod
    def http(provider, **more):
        return {"target": {"provider": {"kind": "openai", "url": provider.url, **more}}}

    # --- the program ---

    def start(self, *words, env=None, wrapper=(), url=None, level="info"):
        words = [*(["--log-level", level] if level else []), *words]
        environment = clean_environment(REEMBED_DATABASE_URL=url or self.url, **(env or {}))
        process = Process(words, environment, self.directory, wrapper)
        self.processes.append(process)
        return process

    def call(self, *words, code=0, seconds=60, **how):
        """Runs to the end and expects this exit code."""
        return self.start(*words, **how).ends(code, seconds)

    def run(self, file, *words, code=0, seconds=60, **how):
        return self.call("run", file, *words, code=code, seconds=seconds, **how)

    # --- documents ---

    def documents(self, count, **how):
        """Creates and fills the table docs; what it must hold is in the journal that is returned."""
        journal = Journal()
        self.database.execute(DOCS)
        journal.fill(self.database, count, **how)
        return journal

    def application(self, journal, pace=0.002, outages=False, url=None, kinds=None):
        application = Application(url or self.url, journal, self.random.randrange(2 ** 32), pace, outages, kinds)
        application.start()
        return application

    def watcher(self):
        watcher = Watcher(self.url)
        watcher.start()
        return watcher

    # --- what is there ---

    def progress(self, column="*", migration="m1"):
        """One row of reembed.progress, or its only column that is asked for; None before there is any."""
        if self.database.value("SELECT to_regclass('reembed.progress')") is None:
            return None
        row = self.database.row(f"SELECT {column} FROM reembed.progress WHERE migration_id = %s", migration)
        return row[0] if row and len(row) == 1 else row

    def state(self, migration="m1"):
        return self.progress("state", migration)

    def processed(self, migration="m1"):
        return self.progress("processed", migration) or 0

    def wait_processed(self, least, seconds=60):
        eventually(lambda: self.processed() >= least, seconds, f"{least} documents to be processed")

    def wait_state(self, state, migration="m1", seconds=60):
        eventually(lambda: self.state(migration) == state, seconds, f"the state {state}")

    def failures(self):
        return dict(self.database.rows("SELECT doc_id, reason FROM reembed.failures"))

    def target_table(self, migration="m1"):
        return self.database.value("SELECT table_name FROM reembed.migration m JOIN reembed.space s "
                                   "ON s.space_id = m.target_space WHERE migration_id = %s", migration)

    def target_vectors(self, migration="m1"):
        return self.database.vectors(f"SELECT doc_id, embedding FROM {self.target_table(migration)}")

    # --- what must hold ---

    def check_target(self, documents, migration="m1", model=MODEL, dimensions=DIMENSIONS, **how):
        """Every document has exactly the vector of its present text, and nothing else has one."""
        if isinstance(documents, Journal):
            documents = documents.bodies()
        wrong = oracle.compare(self.target_vectors(migration), documents, model, dimensions, **how)
        assert not wrong, f"{len(wrong)} of {len(documents)} target vectors are wrong: {wrong[:5]}"

    def check_source(self, documents, query="SELECT id, embedding FROM docs", model=OLD_MODEL, dimensions=DIMENSIONS):
        if isinstance(documents, Journal):
            documents = documents.bodies()
        wrong = oracle.compare(self.database.vectors(query), documents, model, dimensions)
        assert not wrong, f"{len(wrong)} of {len(documents)} source vectors are wrong: {wrong[:5]}"

    def check_untouched(self, journal):
        """The documents are what the application made them."""
        wrong = journal.compare(self.database)
        assert not wrong, f"documents were touched: {wrong}"

    def check_counts(self, migration="m1"):
        row = self.database.row("SELECT total, processed, skipped, failed, pending, in_flight FROM reembed.progress "
                                "WHERE migration_id = %s", migration)
        total, processed, skipped, failed, pending, in_flight = row
        assert total == processed + skipped + failed + pending and in_flight <= pending and min(row) >= 0, row

    def check_nothing_claimed(self, killed=False):
        """No chunk leased, no drainer's lease held, nothing in flight. killed: what a killed process held last may stand
        there until somebody has something to drain; it only must run out."""
        leased = self.database.rows("SELECT no, owner FROM reembed.chunk WHERE state = 1 OR owner IS NOT NULL AND state = 0")
        assert not leased, f"chunks are still leased: {leased}"
        held = "SELECT space_id, owner, lease_until FROM reembed.drain WHERE owner IS NOT NULL"
        if killed:
            held += " AND lease_until >= clock_timestamp()"
            eventually(lambda: not self.database.rows(held), 30, "a dead drainer's lease to run out")
        assert not self.database.rows(held), f"a drainer's lease is still held: {self.database.rows(held)}"
        assert self.progress("in_flight") == 0

    def check_nobody_alive(self):
        """Every process said good-bye (a killed one counts as alive for ten seconds)."""
        assert self.database.value("SELECT count(*) FROM reembed.workers WHERE alive") == 0

    def check_completed(self, journal, migration="m1"):
        assert self.state(migration) == "completed"
        self.check_target(journal, migration)
        self.check_untouched(journal)
        self.check_counts(migration)
