#!/usr/bin/env python3
"""The demo's application: it uses the table docs all the time, before, during and after the migration.

One thread inserts, edits and deletes documents, as it always did: a text and its vector by the old model; it knows
nothing of reembed. The others answer queries. They show what an application has to do to follow a migration, which is
all in `Searcher.search`: ask reembed.routing for the model, embed the query with it, search the view docs_current.
Every answer is checked: each hit must come from the model that the query was embedded with. SIGTERM ends it; what it
counted is left in the table demo.
"""
import argparse
import json
import os
import random
import signal
import sys
import threading
import time

import psycopg

import model

HITS = 10
SEARCHERS = 2

ROUTING = "SELECT query_model FROM reembed.routing WHERE collection = 'docs'"
SEARCH = """SELECT doc_id, model FROM reembed_data.docs_current
            ORDER BY embedding <=> %(query)s::vector LIMIT %(hits)s"""
SEARCH_OLD = "SELECT id, %(model)s FROM docs ORDER BY embedding <=> %(query)s::vector LIMIT %(hits)s"


class Counts:
    """What happened so far, also in earlier calls. Threads: any."""

    def __init__(self, connection):
        self.lock = threading.Lock()
        known = connection.execute("SELECT value FROM demo WHERE fact = 'application'").fetchone()
        self.counts = known[0] if known else {"inserted": 0, "edited": 0, "deleted": 0, "answered": {}, "asked_again": 0,
                                              "errors": 0, "first_error": None}

    def add(self, what):
        with self.lock:
            self.counts[what] += 1

    def answered(self, name):
        with self.lock:
            self.counts["answered"][name] = self.counts["answered"].get(name, 0) + 1

    def error(self, error):
        with self.lock:
            self.counts["errors"] += 1
            self.counts["first_error"] = self.counts["first_error"] or f"{type(error).__name__}: {error}".strip()

    def store(self, connection):
        with self.lock:
            connection.execute("""INSERT INTO demo VALUES ('application', %s)
                                  ON CONFLICT (fact) DO UPDATE SET value = excluded.value""", (json.dumps(self.counts),))


class WrongAnswer(Exception):
    pass


class Searcher:
    """Answers queries on a connection of its own."""

    def __init__(self, url, counts):
        self.connection = psycopg.connect(url, autocommit=True)
        self.models = {name: model.Model(name, "--query") for name in (model.OLD, model.NEW)}
        self.counts = counts
        self.routed = False  # the collection is known to reembed

    def close(self):
        for one in self.models.values():
            one.__exit__()
        self.connection.close()

    def routed_model(self):
        """The model that queries must be embedded with now. Before the first run there is no schema reembed."""
        if not self.routed:
            known = self.connection.execute("SELECT to_regclass('reembed_data.docs_current')").fetchone()[0]
            if known is None:
                return model.OLD
            self.routed = True
        return self.connection.execute(ROUTING).fetchone()[0]

    def search(self, text):
        for _ in range(5):
            name = self.routed_model()
            vector = self.models[name].embed(text)
            hits = self.connection.execute(SEARCH if self.routed else SEARCH_OLD,
                                           {"query": vector, "hits": HITS, "model": name}).fetchall()
            if all(hit[1] == name for hit in hits):
                return name, hits
            # Queries went over between the two statements: the vector was made for the other model. Ask again.
            self.counts.add("asked_again")
        raise WrongAnswer(f"the hits are not by {name}, the model that the routing names")

    def answer(self, text):
        name, hits = self.search(text)
        if len(hits) != HITS:
            raise WrongAnswer(f"{len(hits)} hits instead of {HITS} from {name}")
        self.counts.answered(name)


class Writer:
    """Inserts, edits and deletes, each in a transaction of its own."""

    def __init__(self, url, counts, rng):
        self.connection = psycopg.connect(url, autocommit=True)
        self.model = model.Model(model.OLD)
        self.counts = counts
        self.rng = rng

    def close(self):
        self.model.__exit__()
        self.connection.close()

    def some_id(self):
        highest = self.connection.execute("SELECT max(id) FROM docs").fetchone()[0]
        return self.connection.execute("SELECT id FROM docs WHERE id >= %s ORDER BY id LIMIT 1",
                                       (self.rng.randint(1, highest),)).fetchone()[0]

    def insert(self):
        new = self.connection.execute("""
            DELETE FROM upcoming WHERE id = (SELECT min(id) FROM upcoming) RETURNING package, synopsis, body""").fetchone()
        if new is None:  # a very long run has used them up
            return False
        done = self.connection.execute("INSERT INTO docs (package, synopsis, body, embedding) VALUES (%s, %s, %s, %s)",
                                       (*new, self.model.embed(new[2])))
        return done.rowcount == 1

    def edit(self):
        edited = self.some_id()
        body, other = self.connection.execute("""
            SELECT body, (SELECT synopsis FROM docs WHERE id = %s) FROM docs WHERE id = %s""",
                                              (self.some_id(), edited)).fetchone()
        body += f"\n\nSee also: {other}"
        done = self.connection.execute("UPDATE docs SET body = %s, embedding = %s WHERE id = %s",
                                       (body, self.model.embed(body), edited))
        return done.rowcount == 1

    def delete(self):
        return self.connection.execute("DELETE FROM docs WHERE id = %s", (self.some_id(),)).rowcount == 1

    def write(self):
        action, name = self.rng.choice([(self.insert, "inserted"), (self.insert, "inserted"), (self.edit, "edited"),
                                        (self.edit, "edited"), (self.delete, "deleted")])
        if action():
            self.counts.add(name)


def repeat(action, per_second, stop, counts):
    """Calls `action` at a steady rate until the end; an error is counted and the next call made."""
    due = time.monotonic()
    while not stop.is_set():
        try:
            action()
        except (psycopg.Error, WrongAnswer, RuntimeError, OSError) as error:
            counts.error(error)
        due = max(due + 1 / per_second, time.monotonic())
        stop.wait(due - time.monotonic())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries-per-second", type=float, default=10)
    parser.add_argument("--writes-per-second", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the migration; whoever started us ends us
    url = os.environ["REEMBED_DATABASE_URL"]
    rng = random.Random(args.seed)

    with psycopg.connect(url, autocommit=True) as connection:
        counts = Counts(connection)
        synopses = [row[0] for row in connection.execute("SELECT synopsis FROM docs ORDER BY id")]
        writer = Writer(url, counts, rng)
        searchers = [Searcher(url, counts) for _ in range(SEARCHERS)]
        for one in searchers:
            one.answer(synopses[0])  # the models are loaded when we say that we are ready
        loops = [(writer.write, args.writes_per_second)]
        loops += [((lambda one=one: one.answer(random.choice(synopses))), args.queries_per_second / SEARCHERS)
                  for one in searchers]
        threads = [threading.Thread(target=repeat, args=(*loop, stop, counts)) for loop in loops]
        for thread in threads:
            thread.start()
        print("ready", flush=True)
        stop.wait()
        for thread in threads:
            thread.join()
        for one in (writer, *searchers):
            one.close()
        counts.store(connection)


if __name__ == "__main__":
    try:
        main()
    except (psycopg.Error, RuntimeError) as error:
        sys.exit(f"application: {error}".strip())
