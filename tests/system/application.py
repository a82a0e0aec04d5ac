"""An application that writes documents all the time and keeps a journal of what the table must hold.

It knows nothing of vectors, and every statement must succeed: a refused or killed one is a fault of ours. Bodies are
never repeated, so that each version of a document has a vector of its own; only `back` returns to an earlier one.
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


# Kinds of steps and how often they are taken.
PLAIN = {"insert": 20, "edit": 25, "edits": 10, "delete": 12, "reinsert": 12, "retitle": 10, "think_again": 5, "rename": 6}
# Also documents that are edited again and again, a statement over a fifth of the table, a transaction that stays open
# while other writes pass it, a text that is changed and changed back.
STORM = {**PLAIN, "hot": 25, "bulk": 1, "long": 2, "back": 8}


class Application(threading.Thread):
    def __init__(self, url, journal, seed, pace=0.002, outages=False, kinds=None, first=1_000_001):
        super().__init__(daemon=True)
        self.kinds = kinds or PLAIN
        self.open = None                # the long transaction: (connection, what it will have done, steps left)
        self.url = url
        self.journal = journal
        self.random = random.Random(seed)
        self.pace = pace
        self.outages = outages          # the server may go away: then the table tells what was committed
        self.changes = 0                # documents whose content changed
        self.errors = []
        self.slowest = 0.0
        self._enough = threading.Event()
        self._next_id = first - 1       # of the documents it inserts

    # --- what it does ---

    def _some(self, most):
        known = list(self.journal.documents)
        if self.open is not None:       # its rows are locked
            known = [key for key in known if key not in self.open[1]]
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

    def do_same(self, sql, keys):
        """Gone and back as it was, in another row: nothing is known of it but its text."""
        with sql.transaction():
            rows = sql.execute("DELETE FROM docs WHERE id = ANY (%s) RETURNING id, body, title", (keys,)).fetchall()
            with sql.cursor() as cursor:
                cursor.executemany("INSERT INTO docs (id, body, title) VALUES (%s, %s, %s)", rows)
        return {}

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

    def do_back(self, sql, keys):
        """A, B, A in two statements: the vector of A is right again, but not by being older."""
        before = {key: self.journal.documents[key] for key in keys}
        self._remember(self.do_edit(sql, keys))
        sql.execute("UPDATE docs SET body = u.body FROM unnest(%s::bigint[], %s::text[]) AS u(id, body) "
                    "WHERE docs.id = u.id", (keys, [before[key][0] for key in keys]))
        return before

    def do_long(self, sql, keys):
        """Begins a transaction on a connection of its own; it is committed some steps later, or thought better of."""
        if self.open is not None:
            self.open = (*self.open[:2], 1)
            return {}
        other = psycopg.connect(self.url, application_name="application")
        after = self.do_edit(other, keys[1:] or keys)
        if keys[1:]:
            after.update(self.do_delete(other, keys[:1]))
        self.open = (other, after, self.random.randint(1, 12))
        return {}

    def _close_open(self, commit):
        connection, after, _ = self.open
        self.open = None
        try:
            if not commit:
                connection.rollback()
                return {}
            connection.commit()
            return after
        finally:
            connection.close()

    def step(self, sql):
        if self.open is not None:
            self.open = (*self.open[:2], self.open[2] - 1)
            if self.open[2] <= 0:
                return [], self._close_open(self.random.random() < 0.85)
        kind = self.random.choices(list(self.kinds), self.kinds.values())[0]
        keys = self._some({"edits": 40, "delete": 3, "reinsert": 3, "retitle": 60, "long": 12,
                           "bulk": len(self.journal.documents) // 5 + 1}.get(kind, 1))
        if kind == "hot":
            keys = [key for key in keys if key in self.journal.documents]
            hot = [key for key in sorted(self.journal.documents)[:3] if self.open is None or key not in self.open[1]]
            keys = [self.random.choice(hot)] if hot else keys
        if kind == "insert" or not keys:
            return keys, self.do_insert(sql)
        if kind in ("edits", "hot", "bulk"):
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

    def _again(self):
        """Connected again, and with a journal that says what is there; the server may go away at any step of it."""
        if self.open is not None:
            self.open[0].close()
            self.open = None
        while True:
            sql = self._connect()
            try:
                self._look(sql)
                return sql
            except psycopg.OperationalError:
                sql.close()

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
                    sql = self._again()
                else:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                self._enough.wait(self.pace)
            if self.open is not None:
                try:
                    self._remember(self._close_open(True))
                except psycopg.OperationalError:
                    if not self.outages:
                        raise
                    sql.close()
                    sql = self._again()
        except Exception as error:      # whatever it is, the test must hear of it
            self.errors.append(error)
        finally:
            if self.open is not None:
                self.open[0].close()
            if sql is not None:
                sql.close()

    def stop(self):
        self._enough.set()
        self.join(90)
        assert not self.is_alive(), "the application hangs"
        assert not self.errors, f"the application's write failed: {self.errors[0]!r}"
