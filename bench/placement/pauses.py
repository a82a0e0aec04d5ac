"""Pauses of an application's reads and writes through a migration with target.placement "column". See bench/run-placement."""
import argparse
import random
import threading
import time

import psycopg

import oracle
from database import Cluster
from lab import MODEL, OLD_MODEL, Lab, merged
from spaces import SOURCE_HASHING


class Load:
    """One kind of statement, so many a second on a few connections, whatever the answers take. Latency counts from when a
    statement was due, so that a pause is seen by all that queue up behind it."""

    def __init__(self, url, name, rate, connections, statement):
        self.name, self.statement = name, statement
        self.samples = []       # (due, seconds)
        self.errors = []
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(url, connections / rate, n), daemon=True) for n in range(connections)]
        for thread in self._threads:
            thread.start()

    def _run(self, url, pause, number):
        choice = random.Random(number)
        due = time.monotonic() + pause * choice.random()
        with psycopg.connect(url, autocommit=True) as sql:
            while not self._enough.is_set():
                time.sleep(max(0, due - time.monotonic()))
                try:
                    self.statement(sql, choice)
                except Exception as error:
                    self.errors.append(repr(error))
                self.samples.append((due, time.monotonic() - due))
                due += pause

    def stop(self):
        self._enough.set()
        for thread in self._threads:
            thread.join(60)

    def within(self, begin, end):
        return sorted(seconds for due, seconds in self.samples if begin <= due < end) or [0.0]


def fill(lab, options):
    d = options.dimensions
    lab.database.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, body text, title text, embedding vector({d}))")
    with lab.database.sql.cursor() as cursor, cursor.copy("COPY docs (id, body, title, embedding) FROM STDIN") as copy:
        for first in range(1, options.documents + 1, 5000):
            keys = range(first, min(first + 5000, options.documents + 1))
            bodies = [f"document {key} " + "words and more words, " * (key % 20) for key in keys]
            for key, body, vector in zip(keys, bodies, oracle.vectors(OLD_MODEL, bodies, d).tolist()):
                copy.write_row((key, body, f"title {key}", str(vector)))
    lab.database.execute("SET maintenance_work_mem = '1GB'")
    lab.database.execute("CREATE INDEX docs_old ON docs USING hnsw (embedding vector_cosine_ops) WITH (m = 8, ef_construction = 32)")
    lab.database.execute("ANALYZE docs")


def phase_of(sql):
    row = sql.execute("SELECT p.copied > 0, p.copy_done, m.flipped_at IS NOT NULL FROM reembed.placement p "
                      "JOIN reembed.migration m ON m.number = p.migration").fetchone()
    if row is None or not row[0]:
        return "before"
    return "cutover" if row[2] else "index" if row[1] else "copy"


def measure(lab, file, options):
    d, n = options.dimensions, options.documents
    queries = [str(v) for v in oracle.vectors(MODEL, [f"query {i}" for i in range(100)], d).tolist()]
    reads = Load(lab.url, "reads", options.reads, 8, lambda sql, choice: sql.execute(
        "SELECT id FROM docs ORDER BY embedding <=> %s::vector LIMIT 10", (choice.choice(queries),)).fetchall())
    writes = Load(lab.url, "writes", options.writes, 4, lambda sql, choice: sql.execute(
        "UPDATE docs SET body = %s WHERE id = %s", (f"edited {choice.random()}", choice.randint(1, n))))
    marks = [("before", time.monotonic())]

    def mark(name):
        if name != marks[-1][0]:
            marks.append((name, time.monotonic()))
    time.sleep(5)
    follower = lab.start("run", file, "--follow", level=None)
    while lab.state() != "completed":
        mark(phase_of(lab.database.sql))
        assert follower.running, follower
        time.sleep(0.02)
    for name, command in (("rollback", "rollback"), ("cutover again", "cutover")):
        time.sleep(3)
        mark(name)
        lab.call(command, "m1", *(["--force"] if command == "cutover" else []))
    time.sleep(3)
    mark("after")
    time.sleep(5)
    marks.append(("", time.monotonic()))
    for load in (reads, writes):
        load.stop()
    follower.stops(0, within=30)
    return reads, writes, marks


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("documents", 200000), ("reads", 200), ("writes", 50), ("dimensions", 64), ("version", 18)):
        parser.add_argument("--" + name, type=int, default=default)
    options = parser.parse_args()
    cluster = Cluster(str(options.version))
    try:
        lab = Lab(cluster.url, "placement", 1)
        try:
            fill(lab, options)
            parts = merged(SOURCE_HASHING, {
                "target": {"placement": "column", "dimensions": options.dimensions, "index": {"method": "hnsw", "m": 8, "ef_construction": 32}},
                "backfill": {"batch_size": 500, "max_concurrent": 2}})
            # all documents are embedded before the clock starts: what follows touches the application's table
            began = time.monotonic()
            before = {"id": "prepare", "gates": {"auto_cutover": False},
                      "target": {"placement": "side", "index": {"method": "none", "m": ..., "ef_construction": ...}}}
            lab.run(lab.file("prepare.json", **merged(parts, before)), code=7, seconds=600, level=None)
            lab.call("cancel", "prepare")
            print(f"{options.documents:,} documents embedded in {time.monotonic() - began:.0f} s")
            reads, writes, marks = measure(lab, lab.file(**parts), options)
            print(f"{'':15}{'seconds':>9}{'reads':>9}{'p50 ms':>9}{'p99 ms':>9}{'longest':>9}{'writes':>9}{'p50 ms':>9}{'p99 ms':>9}{'longest':>9}")
            for (name, begin), (_, end) in zip(marks, marks[1:]):
                figures = "".join(f"{len(s):9}{s[len(s) // 2] * 1e3:9.1f}{s[len(s) * 99 // 100] * 1e3:9.1f}{s[-1] * 1e3:9.1f}"
                                  for s in (reads.within(begin, end), writes.within(begin, end)))
                print(f"{name:15}{end - begin:9.1f}{figures}")
            print(f"errors: {len(reads.errors)} reads, {len(writes.errors)} writes {(reads.errors + writes.errors)[:2]}")
        finally:
            lab.close()
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
