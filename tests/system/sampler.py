"""Looks at everything that must hold at every moment, again and again, while a trial goes on.

Each look is one statement, hence one snapshot: counters, routing, documents with their vectors, what waits in the change
log, transactions and lock waits. Vectors are recomputed (oracle.py), so "current" is never taken on trust.
"""
import os
import pathlib
import threading

import numpy
import psycopg

import oracle
from database import floats
from program import PATIENCE

PLACE = """
    SELECT s.table_name, s.space_id, c.changes_table FROM reembed.migration m JOIN reembed.space s ON s.space_id = m.target_space
    JOIN reembed.collection c ON c.collection = m.collection WHERE m.migration_id = 'm1'"""

# Documents beside their vectors. `noted`: a change of the document, or a TRUNCATE, waits in the log. `passed`: it has no
# vector, and it is not before the backfill any more: not to be cut yet, and in no open chunk behind its cursor.
DOCUMENTS = """
    WITH waiting AS MATERIALIZED (SELECT DISTINCT doc_id FROM {changes} WHERE space_id = {space}),
    m AS MATERIALIZED (SELECT number, state, counted, bound::bigint, cut_upto::bigint, cut_done FROM reembed.migration WHERE migration_id = 'm1'),
    open AS MATERIALIZED (SELECT k.cursor::bigint, k.hi::bigint FROM reembed.chunk k JOIN m ON k.migration = m.number WHERE k.state < 2)
    SELECT coalesce(d.id, t.doc_id)::text, d.body, vector_send(t.embedding),
           coalesce(d.id, t.doc_id) IN (SELECT doc_id FROM waiting WHERE doc_id IS NOT NULL)
             OR EXISTS (SELECT 1 FROM waiting WHERE doc_id IS NULL) AS noted,
           EXISTS (SELECT 1 FROM reembed.failure f WHERE f.space_id = {space} AND f.doc_id = d.id::text) AS excused,
           t.embedding IS NULL AND m.counted AND NOT coalesce(d.id <= m.bound AND (
             NOT m.cut_done AND coalesce(d.id > m.cut_upto, true)
             OR EXISTS (SELECT 1 FROM open k WHERE coalesce(d.id > k.cursor, true) AND d.id <= k.hi)), false) AS passed,
           m.state = 'completed' AS completed
    FROM docs d FULL JOIN {target} t ON t.doc_id = d.id CROSS JOIN m WHERE d.id IS NOT NULL OR t.embedding IS NOT NULL"""

BACKENDS = """
    SELECT application_name, state, extract(epoch FROM clock_timestamp() - state_change)::float8, left(query, 120)
    FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'reembed%'"""

WAITS = """
    SELECT a.application_name, extract(epoch FROM clock_timestamp() - l.waitstart)::float8, l.relation::regclass::text, left(a.query, 120)
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE NOT l.granted AND l.waitstart IS NOT NULL AND a.datname = current_database() AND a.application_name LIKE 'reembed%'
      AND a.query NOT LIKE 'CREATE INDEX%' AND l.locktype <> 'virtualxid'"""

FIGURES = "state, total, processed, skipped, failed, pending, in_flight, effective_coverage"


class Vectors:
    """The vector of a text, remembered."""

    def __init__(self, model, dimensions):
        self.model, self.dimensions, self._known = model, dimensions, {}

    def of(self, texts):
        new = [text for text in set(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, oracle.vectors(self.model, new, self.dimensions)))
        return [self._known[text] for text in texts]


class Sampler(threading.Thread):
    """lock_timeout: seconds that a lock may be waited for; idle: seconds that a transaction may stand idle, or None where
    stopped processes and broken networks make that meaningless; outages: the server may go away."""

    def __init__(self, url, model, dimensions, lock_timeout=2.0, idle=0.5, outages=False, pace=0.01):
        super().__init__(daemon=True)
        self.url, self.pace, self.outages = url, pace, outages
        self.lock_timeout, self.idle = lock_timeout, idle
        self.vectors = Vectors(model, dimensions)
        self.looks = 0
        self.wrong = []
        self.errors = []
        self.latest = {"state": None, "processed": 0, "total": 0}
        self.routes = []                # as they were seen, without repetitions
        self.most = {"connections": 0, "descriptors": 0, "threads": 0, "memory": 0}
        self.processes = []             # to look at; appended by the trial
        self._place = None
        self._enough = threading.Event()

    def _complain(self, sentence):
        if len(self.wrong) < 20:
            self.wrong.append(sentence)

    # --- what is looked at ---

    def _look_counters(self, sql):
        row = sql.execute(f"SELECT {FIGURES} FROM reembed.progress WHERE migration_id = 'm1'").fetchone()
        if row is None:
            return False
        state, total, processed, skipped, failed, pending, in_flight, coverage = row
        self.latest = {"state": state, "processed": processed, "total": total}
        if total != processed + skipped + failed + pending or in_flight > pending or min(row[1:7]) < 0:
            self._complain(f"the counters don't add up: {dict(zip(FIGURES.split(', '), row))}")
        if not 0 <= coverage <= 1:
            self._complain(f"a coverage of {coverage}")
        route = sql.execute("SELECT query_model FROM reembed.routing WHERE collection = 'docs'").fetchone()
        if route and (not self.routes or self.routes[-1] != route[0]):
            self.routes.append(route[0])
            if len(self.routes) > 2:
                self._complain(f"queries went back and forth: {self.routes}")
        return True

    def _look_documents(self, sql):
        if self._place is None:
            self._place = sql.execute(PLACE).fetchone()
        if self._place is None:
            return
        target, space, changes = self._place
        with sql.cursor(binary=True) as cursor:
            rows = cursor.execute(DOCUMENTS.format(target=target, space=space, changes=changes)).fetchall()
        held = [row for row in rows if row[1] and row[2] is not None]
        expected = self.vectors.of([row[1] for row in held])
        for (key, body, sent, noted, *_), vector in zip(held, expected):
            if not noted and not numpy.array_equal(floats(sent), vector):
                self._complain(f"document {key} is silently stale: its vector is not of {body[:60]!r} and no change is noted")
        for key, body, sent, noted, excused, passed, completed in rows:
            if body is None and sent is not None and not noted:
                self._complain(f"document {key} is gone, its vector is not, and no change is noted")
            if passed and body and body.strip() and not noted and not excused:
                self._complain(f"{'completed, but ' if completed else ''}document {key} is forgotten: it has no vector, no failure, "
                               f"no change is noted, and no chunk will come by it")

    def _look_backends(self, sql):
        rows = sql.execute(BACKENDS).fetchall()
        self.most["connections"] = max(self.most["connections"], len(rows))
        for name, state, seconds, query in rows:
            if self.idle is not None and state and state.startswith("idle in transaction") and seconds > self.idle * PATIENCE:
                self._complain(f"{name} stands in an open transaction for {seconds:.2f} s: {query}")
        for name, seconds, relation, query in sql.execute(WAITS).fetchall():
            if seconds > self.lock_timeout + 0.5 * PATIENCE:
                self._complain(f"{name} waits for a lock on {relation} for {seconds:.2f} s: {query}")

    def _look_processes(self):
        for process in list(self.processes):
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                figures = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
                if "VmRSS" not in figures:
                    continue
                self.most["threads"] = max(self.most["threads"], int(figures["Threads"]))
                self.most["memory"] = max(self.most["memory"], int(figures["VmRSS"].split()[0]) // 1024)
                self.most["descriptors"] = max(self.most["descriptors"], len(os.listdir(f"/proc/{process.pid}/fd")))
            except (OSError, KeyError):
                continue                # gone meanwhile

    def _look(self, sql):
        # the first process is still installing the schema
        if sql.execute("SELECT to_regclass('reembed.gates') IS NULL OR to_regclass('reembed.migration') IS NULL").fetchone()[0]:
            return
        if not self._look_counters(sql):
            return
        self.looks += 1
        self._look_documents(sql)
        if self.looks % 4 == 0:
            self._look_backends(sql)
            self._look_processes()

    # --- the thread ---

    def _watch(self):
        with psycopg.connect(self.url, autocommit=True, application_name="sampler") as sql:
            while not self._enough.is_set():
                self._look(sql)
                self._enough.wait(self.pace)

    def run(self):
        while not self._enough.is_set():
            try:
                self._watch()
            except (psycopg.OperationalError, psycopg.errors.LockNotAvailable) as error:
                if not self.outages:
                    self.errors.append(error)
                    return
                self._enough.wait(0.02)
            except Exception as error:
                self.errors.append(error)
                return

    def stop(self):
        self._enough.set()
        self.join(30)
        assert not self.errors, f"the sampler can't look: {self.errors[0]!r}"
        assert not self.wrong, f"{self.looks} looks found: {self.wrong}"
