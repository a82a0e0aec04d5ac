"""An application that writes documents all the time and keeps a journal of what the table must hold.

It knows nothing of vectors, holds one connection, and every statement must succeed: a refused or killed one is a fault
of ours. Bodies are never repeated, so that each version of a document has a vector of its own.
"""
import random
import threading
import time

import psycopg


class Journal:
    """What the documents must be: id -> (body, title). Threads: the application's, or any other once it stopped."""

    def __init__(self):
        self.documents = {}
        self.versions = 0

    def fill(self, database, count, columns="id, body, title", first=1, words=12):
        """The documents that are there before anything starts."""
        rows = [(key, self.text(key, words), f"title {key}") for key in range(first, first + count)]
        with database.sql.cursor() as cursor, cursor.copy(f"COPY docs ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        self.documents.update((key, (body, title)) for key, body, title in rows)

    def text(self, key, words=12):
        self.versions += 1
        return f"document {key}, version {self.versions}: " + "words and more words, " * (self.versions % words)

    def bodies(self):
        """id as text -> body, as oracle.compare takes them; without those that have no text."""
        return {str(key): body for key, (body, _) in self.documents.items() if body and body.strip()}

    def compare(self, database):
        """What differs between the table and the journal."""
        rows = {key: (body, title) for key, body, title in database.rows("SELECT id, body, title FROM docs")}
        wrong = [f"{key}: {self.documents.get(key)} became {rows.get(key)}"
                 for key in self.documents.keys() | rows.keys() if self.documents.get(key) != rows.get(key)]
        return wrong[:5]


class Application(threading.Thread):
    def __init__(self, url, journal, seed, pace=0.002, outages=False):
        super().__init__(daemon=True)
        self.url = url
        self.journal = journal
        self.random = random.Random(seed)
        self.pace = pace
        self.outages = outages          # the server may go away: then the table tells what was committed
        self.changes = 0                # documents whose content changed
        self.errors = []
        self.slowest = 0.0
        self._enough = threading.Event()
        self._next_id = 1_000_000

    # --- what it does ---

    def _some(self, most):
        known = list(self.journal.documents)
        return sorted(self.random.sample(known, min(len(known), self.random.randint(1, most))))

    def do_insert(self, sql):
        rows = []
        for _ in range(self.random.choice((1, 1, 1, 5, 20))):
            self._next_id += 1
            rows.append((self._next_id, self.journal.text(self._next_id), "new"))
        with sql.cursor() as cursor:
            cursor.execute("INSERT INTO docs (id, body, title) SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[])",
                           [list(column) for column in zip(*rows)])
        return {key: (body, title) for key, body, title in rows}

    def do_edit(self, sql, keys):
        bodies = [self.journal.text(key) for key in keys]
        sql.execute("UPDATE docs SET body = u.body FROM unnest(%s::bigint[], %s::text[]) AS u(id, body) "
                    "WHERE docs.id = u.id", (keys, bodies))
        return {key: (body, self.journal.documents[key][1]) for key, body in zip(keys, bodies)}

    def do_delete(self, sql, keys):
        sql.execute("DELETE FROM docs WHERE id = ANY (%s)", (keys,))
        return {key: None for key in keys}

    def do_reinsert(self, sql, keys):
        after = {key: (self.journal.text(key), "again") for key in keys}
        with sql.transaction():
            sql.execute("DELETE FROM docs WHERE id = ANY (%s)", (keys,))
            with sql.cursor() as cursor:
                cursor.executemany("INSERT INTO docs (id, body, title) VALUES (%s, %s, %s)",
                                   [(key, *values) for key, values in after.items()])
        return after

    def do_retitle(self, sql, keys):
        sql.execute("UPDATE docs SET title = 'title ' || id || ' again' WHERE id = ANY (%s)", (keys,))
        return {key: (self.journal.documents[key][0], f"title {key} again") for key in keys}

    def do_think_again(self, sql, keys):
        with sql.transaction(force_rollback=True):
            sql.execute("UPDATE docs SET body = body || ' never committed' WHERE id = ANY (%s)", (keys,))
        return {}

    def do_rename(self, sql, keys):
        self._next_id += 1
        key, new = keys[0], self._next_id
        sql.execute("UPDATE docs SET id = %s WHERE id = %s", (new, key))
        return {key: None, new: self.journal.documents[key]}

    def step(self, sql):
        kind = self.random.choices(("insert", "edit", "edits", "delete", "reinsert", "retitle", "think_again", "rename"),
                                   (20, 25, 10, 12, 12, 10, 5, 6))[0]
        keys = self._some({"edits": 40, "delete": 3, "reinsert": 3, "retitle": 60}.get(kind, 1))
        if kind == "insert" or not keys:
            return keys, self.do_insert(sql)
        if kind == "edits":
            kind = "edit"
        return keys, getattr(self, "do_" + kind)(sql, keys)

    # --- the thread ---

    def _remember(self, after):
        for key, row in after.items():
            before = self.journal.documents.get(key)
            self.changes += row is None or before is None or before[0] != row[0]
            if row is None:
                self.journal.documents.pop(key, None)
            else:
                self.journal.documents[key] = row

    def _look(self, sql):
        """After an outage: nobody can know whether the last statement was committed; the table does."""
        self.journal.documents = {key: (body, title) for key, body, title in sql.execute("SELECT id, body, title FROM docs")}

    def _connect(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(self.url, autocommit=True, application_name="application")
            except psycopg.OperationalError:
                if not self.outages or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def run(self):
        sql = None
        try:
            sql = self._connect()
            while not self._enough.is_set():
                began = time.monotonic()
                try:
                    _, after = self.step(sql)
                    self._remember(after)
                except psycopg.OperationalError:
                    if not self.outages:
                        raise
                    sql.close()
                    sql = self._connect()
                    self._look(sql)
                else:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                self._enough.wait(self.pace)
        except Exception as error:      # whatever it is, the test must hear of it
            self.errors.append(error)
        finally:
            if sql is not None:
                sql.close()

    def stop(self):
        self._enough.set()
        self.join(90)
        assert not self.is_alive(), "the application hangs"
        assert not self.errors, f"the application's write failed: {self.errors[0]!r}"
