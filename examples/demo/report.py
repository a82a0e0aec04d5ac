#!/usr/bin/env python3
"""What the demo shows once the migration is over, taken from the database.

  report.py story      what happened when, and what the application saw of it
  report.py quality    five questions to both models; how well each finds documents whose query is known
  report.py check      is every document's vector there and right? Exit code 1 if not
"""
import json
import os
import subprocess
import sys

import numpy as np
import psycopg

import model

MIGRATION = "docs-l3-to-l6"
COLUMN = 46
SAME = 0.9999  # cosine of one text's vectors: rounding differs with the length of the others in a batch
QUESTIONS = [
    "find out which program uses the network",
    "scan a document and recognise its text",
    "play chess against the computer",
    "look at the stars in the night sky",
    "turn speech into text",
]

STYLED = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def style(code, text):
    return f"\033[{code}m{text}\033[0m" if STYLED else text


def bold(text):
    return style(1, text)


def dim(text):
    return style(2, text)


def line(label, text):
    print(f"  {dim(label.ljust(12))}{text}")


def fit(text, width):
    return (text[:width - 1].rstrip() + "…").ljust(width) if len(text) > width else text.ljust(width)


def fact(connection, name):
    row = connection.execute("SELECT value FROM demo WHERE fact = %s", (name,)).fetchone()
    return row[0] if row else None


def target_table(connection):
    """The new vectors stand in a table of their own; its name does not depend on where queries go now."""
    return connection.execute("""SELECT s.table_name FROM reembed.migration m JOIN reembed.space s ON s.space_id = m.target_space
                                 WHERE m.migration_id = %s""", (MIGRATION,)).fetchone()[0]


def matrix(rows):
    return np.array([json.loads(row) for row in rows], dtype=np.float32)


def embed(name, texts, *options):
    with model.Model(name, *options) as one:
        return matrix(one.embed_all(texts))


# --- the story ---

def tell(connection):
    events = connection.execute("""
        SELECT event, detail, extract(epoch FROM at - min(at) FILTER (WHERE event = 'start') OVER ())::float8
        FROM reembed.events WHERE migration_id = %s ORDER BY at""", (MIGRATION,)).fetchall()
    for event, detail, seconds in events:
        if event == "captured":
            text = f"triggers record every change from here on; {detail['documents']:,} documents are counted"
        elif event == "indexed":
            text = f"the index on the new vectors is built ({detail['seconds']:.1f} s)"
        elif event == "cutover":
            coverage = next(gate["actual"] for gate in detail["gates"] if gate["gate"] == "coverage")
            text = f"every gate holds at {coverage:.1%} coverage: queries go to {detail['query_model']}"
        elif event == "complete":
            text = "an exact comparison finds no document without its vector: completed"
        else:
            continue
        print(f"  {dim(f'{seconds:7.1f} s')}  {text}")


def tell_of_application(connection):
    seen = fact(connection, "application")
    if seen is None:
        return
    line("writes", f"{seen['inserted']:,} inserted, {seen['edited']:,} edited, {seen['deleted']:,} deleted")
    line("queries", ", then ".join(f"{seen['answered'][name]:,} answered by {name}" for name in (model.OLD, model.NEW)
                                   if name in seen["answered"]))
    if seen["asked_again"]:
        line("", f"{seen['asked_again']} came just at the flip: the answer named the other model, so it was asked again")
    line("errors", str(seen["errors"]) + (f", the first: {seen['first_error']}" if seen["errors"] else ""))


def story(connection):
    print(bold("What happened"))
    tell(connection)
    print()
    print(bold("What the application saw"))
    tell_of_application(connection)


# --- quality ---

def nearest(connection, sql, vectors):
    return [[f"{package}: {synopsis}" for package, synopsis in connection.execute(sql, (vector,))] for vector in vectors]


def ask(connection):
    table = target_table(connection)
    sides = []
    for name, vectors in ((model.OLD, "SELECT id AS doc_id, embedding FROM docs WHERE embedding IS NOT NULL"),
                          (model.NEW, f"SELECT doc_id, embedding FROM {table} WHERE embedding IS NOT NULL")):
        with model.Model(name, "--query") as one:
            sides.append(nearest(connection, f"""SELECT d.package, d.synopsis FROM ({vectors}) v JOIN docs d ON d.id = v.doc_id
                                                 ORDER BY v.embedding <=> %s::vector LIMIT 3""", one.embed_all(QUESTIONS)))
    print("    " + dim(fit("before: " + model.OLD, COLUMN)) + "  " + dim("after: " + model.NEW))
    for question, old, new in zip(QUESTIONS, *sides):
        print(f"  {bold(question)}")
        for left, right in zip(old, new):
            print(f"    {fit(left, COLUMN)}  {fit(right, COLUMN).rstrip()}")


def known_items(connection):
    """Each synopsis is a query, and the document it belongs to is what it should find. Exact, without an index."""
    loaded, place = (fact(connection, "loaded")[key] for key in ("documents", "place"))
    rows = connection.execute(f"""
        SELECT d.synopsis, d.embedding::text, t.embedding::text
        FROM docs d JOIN {target_table(connection)} t ON t.doc_id = d.id
        WHERE d.id <= %s AND d.embedding IS NOT NULL AND t.embedding IS NOT NULL ORDER BY d.id""", (loaded,)).fetchall()
    texts, old, new = [row[0] for row in rows], matrix(row[1] for row in rows), matrix(row[2] for row in rows)
    by_old, by_new = embed(model.OLD, texts, "--query"), embed(model.NEW, texts, "--query")

    def recall(queries, documents):
        scores = queries @ documents.T
        ranks = (scores > np.diag(scores)[:, None]).sum(axis=1)
        return (ranks < 1).mean(), (ranks < 10).mean()

    what = "name" if "sample" in place else "one-line synopsis"
    print(f"  The {what} of each of the {len(rows):,} documents that were there all the time is a query.")
    print("  How often is its own description found first, and how often among the first ten?")
    print()
    print("  " + dim(f"{'queries':<26}{'documents':<26}{'first':>8}{'first ten':>12}"))
    for queries, documents, left, right in ((by_old, old, model.OLD, model.OLD), (by_new, new, model.NEW, model.NEW),
                                            (by_new, old, model.NEW, model.OLD)):
        first, ten = recall(queries, documents)
        note = "" if left == right else dim("   why there is a routing")
        print(f"  {left:<26}{right:<26}{first:8.3f}{ten:12.3f}{note}")


def quality(connection):
    print(bold("The same five questions, before and after"))
    ask(connection)
    print()
    print(bold("Measured"))
    known_items(connection)


# --- check ---

class Verdict:
    def __init__(self):
        self.holds = True

    def say(self, holds, text):
        self.holds = self.holds and holds
        print(f"  {style(32, '✓') if holds else style(31, '✗')} {text}")


def check_counts(connection, verdict):
    table = target_table(connection)
    documents, vectors, missing, left = connection.execute(f"""
        SELECT (SELECT count(*) FROM docs), (SELECT count(*) FROM {table} WHERE embedding IS NOT NULL),
          (SELECT count(*) FROM docs d WHERE NOT EXISTS (SELECT FROM {table} t WHERE t.doc_id = d.id AND t.embedding IS NOT NULL)),
          (SELECT count(*) FROM {table} t WHERE t.embedding IS NOT NULL AND NOT EXISTS (SELECT FROM docs d WHERE d.id = t.doc_id))
        """).fetchone()
    verdict.say(missing == 0 and vectors == documents,
                f"each of the {documents:,} documents has exactly one vector of the new model ({missing} have none)")
    deleted = (fact(connection, "application") or {}).get("deleted", 0)
    verdict.say(left == 0, f"no vector is left of the {deleted:,} documents that were deleted ({left} are)")


def check_written(connection, verdict):
    """Embeds again all that was written during the migration: there a stale vector would be, if anywhere."""
    rows = connection.execute(f"""
        SELECT d.body, d.embedding::text, t.embedding::text FROM docs d JOIN {target_table(connection)} t ON t.doc_id = d.id
        WHERE (d.id > %s OR strpos(d.body, 'See also: ') > 0) AND t.embedding IS NOT NULL
        ORDER BY d.id""", (fact(connection, "loaded")["documents"],)).fetchall()
    kept = connection.execute("SELECT phase FROM reembed.routing WHERE collection = 'docs'").fetchone()[0] != "stable"
    if not rows:
        return
    texts = [row[0] for row in rows]
    for name, column, wanted in ((model.NEW, 2, True), (model.OLD, 1, kept)):
        if not wanted:
            continue
        missing = sum(row[column] is None for row in rows)
        if missing == 0:
            stored = matrix(row[column] for row in rows)
            fresh = embed(name, texts)
            cosines = (stored * fresh).sum(axis=1) / np.linalg.norm(stored, axis=1) / np.linalg.norm(fresh, axis=1)
            wrong = int((cosines < SAME).sum())
        else:
            wrong = missing
        verdict.say(wrong == 0, f"{len(rows):,} texts written meanwhile, embedded again by {name}: {wrong} differ")


def check_application(connection, verdict):
    seen = fact(connection, "application")
    if seen is not None:
        queries, writes = sum(seen["answered"].values()), seen["inserted"] + seen["edited"] + seen["deleted"]
        verdict.say(seen["errors"] == 0, f"the application saw {seen['errors']} errors in {queries:,} queries and {writes:,} writes")


def check_verify(verdict):
    done = subprocess.run([model.program(), "verify", MIGRATION, "--json"], stdout=subprocess.PIPE, text=True)
    try:
        found = json.loads(done.stdout)
        counts = ", ".join(f"{found[key]} {key}" for key in ("missing", "stale", "orphaned"))
    except (ValueError, KeyError):
        counts = f"exit code {done.returncode}"
    verdict.say(done.returncode == 0, f"reembed verify, which compares contents by hash, finds {counts}")


def check(connection):
    verdict = Verdict()
    print(bold("Checked, not believed"))
    check_counts(connection, verdict)
    check_written(connection, verdict)
    check_verify(verdict)
    check_application(connection, verdict)
    return verdict.holds


def main():
    actions = {"story": story, "quality": quality, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit(__doc__.strip())
    with psycopg.connect(os.environ["REEMBED_DATABASE_URL"], autocommit=True) as connection:
        return 1 if actions[sys.argv[1]](connection) is False else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (psycopg.Error, RuntimeError) as error:
        sys.exit(f"report: {error}".strip())
