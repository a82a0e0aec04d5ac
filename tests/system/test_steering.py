"""Cutover, rollback and edits while the program runs and after it: a query is answered by the model that routing names,
and both spaces are right as long as both are kept."""
import threading
import time

import oracle
import psycopg
import pytest

from application import Journal
from lab import DIMENSIONS, DOCS, MODEL, OLD_MODEL, merged
from program import PATIENCE, eventually, scaled
from spaces import SOURCE_HASHING, answers, ask, fill_source, routing


def edit_some(lab, journal, word):
    keys = lab.random.sample(sorted(journal.documents), 60)
    for key in keys[:40]:
        journal.documents[key] = (f"{word} {key}", journal.documents[key][1])
        lab.database.execute("UPDATE docs SET body = %s WHERE id = %s", journal.documents[key][0], key)
    for key in keys[40:50]:
        del journal.documents[key]
        lab.database.execute("DELETE FROM docs WHERE id = %s", key)
    for number in range(10):
        key = max(journal.documents) + 1
        journal.documents[key] = (f"{word}, new {key}", "new")
        lab.insert(key, *journal.documents[key])


# --- where the old vectors live ---

class ColumnSource:
    """A column of the documents table."""
    table = DOCS
    source = {}
    query = "SELECT id, embedding FROM docs"

    @staticmethod
    def insert(lab):
        return lambda key, body, title: lab.database.execute(
            "INSERT INTO docs (id, body, title) VALUES (%s, %s, %s)", key, body, title)


class NotNullColumnSource(ColumnSource):
    """The same, NOT NULL: the application itself must give a vector when it inserts."""
    table = DOCS

    @staticmethod
    def insert(lab):
        return lambda key, body, title: lab.database.execute(
            "INSERT INTO docs (id, body, title, embedding) VALUES (%s, %s, %s, %s::vector)", key, body, title,
            str(oracle.vectors(OLD_MODEL, [body], DIMENSIONS)[0].tolist()))


class TableSource(ColumnSource):
    """A table of the application's own, with a foreign key."""
    table = ("CREATE TABLE docs (id bigint PRIMARY KEY, body text, title text); CREATE TABLE docs_vectors ("
             f"doc bigint PRIMARY KEY REFERENCES docs ON DELETE CASCADE, vec vector({DIMENSIONS}), at timestamptz DEFAULT now())")
    source = {"source": {"table": "public.docs_vectors", "id": "doc", "column": "vec"}}
    query = "SELECT doc, vec FROM docs_vectors"


@pytest.mark.parametrize("kind", [ColumnSource, NotNullColumnSource, TableSource])
def test_both_spaces_stay_current_through_window_rollback_and_forward_again(lab, kind):
    journal = Journal()
    lab.database.execute(kind.table)
    journal.fill(lab.database, 400)
    lab.insert = kind.insert(lab)
    if kind is TableSource:
        fill_source(lab, journal, "docs_vectors", "doc", "vec")
    else:
        fill_source(lab, journal)
    if kind is NotNullColumnSource:
        lab.database.execute("ALTER TABLE docs ALTER COLUMN embedding SET NOT NULL")
    file = lab.file(**merged(SOURCE_HASHING, kind.source))

    # a fifth, then edits while nobody is alive, then the rest
    lab.run(file, "--until", 0.2, code=3)
    edit_some(lab, journal, "before")
    lab.run(file)
    lab.check_completed(journal)
    lab.check_source(journal, kind.query)
    assert routing(lab) == ("rollback_window", MODEL)
    answers(lab, journal, MODEL)

    # in the window, with nobody alive
    edit_some(lab, journal, "in the window")
    lab.run(file)
    lab.check_target(journal)
    lab.check_source(journal, kind.query)

    # back: the source answers right, and nothing was lost
    lab.call("rollback", "m1", "--reason", "second thoughts")
    assert routing(lab) == ("stable", OLD_MODEL)
    answers(lab, journal, OLD_MODEL)

    # and forward again, after more edits: never a stale vector taken as current
    edit_some(lab, journal, "rolled back")
    lab.call("cutover", "m1")
    lab.run(file)
    assert routing(lab) == ("rollback_window", MODEL)
    lab.check_completed(journal)
    lab.check_source(journal, kind.query)
    answers(lab, journal, MODEL)


@pytest.mark.parametrize("kind", [ColumnSource, TableSource])
def test_a_follower_keeps_both_spaces_through_rollback_and_forward_again(lab, kind):
    journal = Journal()
    lab.database.execute(kind.table)
    journal.fill(lab.database, 300)
    lab.insert = kind.insert(lab)
    if kind is TableSource:
        fill_source(lab, journal, "docs_vectors", "doc", "vec")
    else:
        fill_source(lab, journal)
    follower = lab.start("run", lab.file(**merged(SOURCE_HASHING, kind.source)), "--follow")
    lab.wait_state("completed")

    def settled():
        return all(lab.database.value("SELECT (reembed.pending_changes('docs', s)).pending = 0 FROM "
                                      "reembed.collection c, unnest(c.captured) s OFFSET %s LIMIT 1", n) is not False
                   for n in range(2))
    for step in ("rollback", "cutover", "rollback", "cutover"):
        edit_some(lab, journal, f"before {step}")
        eventually(settled, 20, "the changes to be followed")
        lab.call(step, "m1")
        model = OLD_MODEL if step == "rollback" else MODEL
        assert routing(lab)[1] == model
        answers(lab, journal, model)
        assert follower.running, follower
    edit_some(lab, journal, "at the end")
    eventually(settled, 20, "the changes to be followed")
    follower.stops(0, within=5)
    lab.check_target(journal)
    lab.check_source(journal, kind.query)


# --- the application's locks ---

def test_a_source_row_that_the_application_holds_locked_is_left_and_done_later(lab):
    journal = lab.documents(100)
    fill_source(lab, journal)
    file = lab.file(**SOURCE_HASHING)
    lab.run(file)
    follower = lab.start("run", file, "--follow")
    application = lab.database.connect()
    with application.transaction():
        application.execute("SELECT * FROM docs WHERE id = 7 FOR UPDATE")
        # the row is changed by the transaction that holds it, and others beside it
        lab.database.execute("UPDATE docs SET body = 'beside ' || id WHERE id BETWEEN 1 AND 6")
        bodies = journal.bodies() | {str(key): f"beside {key}" for key in range(1, 7)}
        eventually(lambda: not oracle.compare(lab.target_vectors(), bodies, MODEL, DIMENSIONS), 20, "the target")
        eventually(lambda: not oracle.compare(lab.database.vectors(ColumnSource.query), bodies, OLD_MODEL, DIMENSIONS), 20,
                   "the source beside the locked row")
        application.execute("UPDATE docs SET body = 'long thought over' WHERE id = 7")
    bodies["7"] = "long thought over"
    eventually(lambda: not oracle.compare(lab.database.vectors(ColumnSource.query), bodies, OLD_MODEL, DIMENSIONS), 20,
               "the row that was locked")
    eventually(lambda: not oracle.compare(lab.target_vectors(), bodies, MODEL, DIMENSIONS), 20, "the target of that row")
    follower.stops(0, within=5)
    lab.check_target(bodies)


def test_rows_locked_for_long_are_not_noticed_by_the_backfill(lab):
    count = scaled(5000, 1000)
    journal = lab.documents(count)
    file = lab.file(**SOURCE_HASHING)
    application = lab.database.connect()
    lab.run(file, "--until", 0.01, code=3)          # change capture stands
    with application.transaction():
        application.execute("SELECT * FROM docs WHERE id % 3 = 0 FOR UPDATE")
        process = lab.run(file)
        assert process.seconds < 20 * PATIENCE
        lab.check_completed(journal)


def test_the_application_is_never_killed_by_capture_flip_or_rollback(lab):
    """Transactions that select, think, then update; beside them everything that takes locks."""
    journal = lab.documents(2000)
    fill_source(lab, journal)
    errors, done, enough = [], [0], threading.Event()
    journal_lock = threading.Lock()

    def work(number):
        try:
            with psycopg.connect(lab.url, autocommit=True) as sql:
                while not enough.is_set():
                    key = number + 4 * (done[0] % 400) + 1
                    with sql.transaction():
                        sql.execute("SELECT * FROM docs WHERE id = %s", (key,)).fetchall()
                        if sql.execute("SELECT to_regclass('reembed_data.docs_current')").fetchone()[0]:
                            sql.execute("SELECT * FROM reembed_data.docs_current LIMIT 3").fetchall()
                        enough.wait(0.003)
                        body = f"thought over {key} by {number}, {done[0]}"
                        sql.execute("UPDATE docs SET body = %s WHERE id = %s", (body, key))
                    with journal_lock:
                        journal.documents[key] = (body, journal.documents[key][1])
                        done[0] += 1
        except Exception as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for worker in workers:
        worker.start()
    file = lab.file(**SOURCE_HASHING)
    follower = lab.start("run", file, "--follow")
    lab.wait_state("completed")
    for _ in range(3):
        lab.call("rollback", "m1")
        lab.call("cutover", "m1", "--force")
    enough.set()
    for worker in workers:
        worker.join(30)
    assert not errors, f"the application's transaction failed: {errors[0]!r}"
    print(f"{done[0]} transactions")
    assert done[0] > 50
    eventually(lambda: lab.progress("changes_pending") == 0, 20, "the last changes")
    follower.stops(0, within=5)
    lab.run(file)
    lab.check_completed(journal)


# --- while it runs ---

def test_cutover_and_rollback_while_it_runs(lab):
    journal = lab.documents(2000)
    fill_source(lab, journal)
    provider = lab.provider(latency_ms=60)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}, **SOURCE_HASHING}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    assert lab.call("cutover", "m1", code=7).err.count("coverage")
    assert routing(lab) == ("migrating", OLD_MODEL)
    lab.call("cutover", "m1", "--force")
    assert routing(lab) == ("migrating", MODEL)
    processed = lab.processed()
    lab.wait_processed(processed + 100)
    assert process.running, "a cutover stopped the run"

    # back: paused, and nothing flips by itself any more
    lab.call("rollback", "m1", "--reason", "not yet")
    process.ends(8, 10)
    assert lab.state() == "paused" and routing(lab) == ("migrating", OLD_MODEL)
    answers(lab, journal, OLD_MODEL)
    provider.set(latency_ms=0)
    lab.call("resume", "m1")
    ended = lab.run(file, code=7)
    assert "reembed cutover m1" in ended.err
    assert lab.state() == "in_progress" and routing(lab) == ("migrating", OLD_MODEL)
    lab.call("cutover", "m1")
    lab.run(file)
    lab.check_completed(journal)
    answers(lab, journal, MODEL)


def test_a_rollback_is_at_once_while_the_provider_hangs(lab):
    journal = lab.documents(1000)
    fill_source(lab, journal)
    provider = lab.provider(latency_ms=50)
    process = lab.start("run", lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}})))
    lab.wait_processed(50)
    lab.call("cutover", "m1", "--force")
    provider.set(fault={"kind": "hang"})
    eventually(lambda: provider.counters()["faults"] >= 2, 10, "requests that hang")
    began = time.monotonic()
    lab.call("rollback", "m1")
    assert time.monotonic() - began < 2 * PATIENCE
    answers(lab, journal, OLD_MODEL)
    process.ends(8, 10)


def test_queries_are_answered_by_the_routed_model_all_the_time(lab):
    """A reader asks routing, embeds, searches, while queries go over and back. Between its two statements they may go
    over: the model that the view shows says so, and it asks again. What it shows is always true."""
    journal = lab.documents(800)
    fill_source(lab, journal)
    file = lab.file(**SOURCE_HASHING)
    wrong, seen, again, enough = [], set(), [0], threading.Event()
    bodies = journal.bodies()

    def read():
        try:
            with psycopg.connect(lab.url, autocommit=True) as sql:
                while not enough.is_set():
                    model = sql.execute("SELECT query_model FROM reembed.routing WHERE collection = 'docs'").fetchone()[0]
                    key = lab.random.choice(("17", "399", "640"))
                    found, by, distance = ask(lab, bodies[key], model, sql)
                    if by != model:
                        again[0] += 1
                    elif str(found) != key or distance > 1e-6:
                        wrong.append((model, key, found, distance))
                    else:
                        seen.add(by)
        except Exception as error:
            wrong.append(repr(error))

    lab.run(file)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for step in ["rollback", "cutover"] * 8:
        seen.clear()
        lab.database.execute(f"SELECT reembed.{step}('m1')")
        model = OLD_MODEL if step == "rollback" else MODEL
        eventually(lambda: wrong or model in seen, 10, f"an answer by {model}")
    enough.set()
    reader.join(30)
    assert not wrong, wrong[:3]
    print(f"asked again: {again[0]}")


def test_edits_during_the_run_reach_the_target(lab):
    count = scaled(3000, 600)
    journal = lab.documents(count)
    fill_source(lab, journal)
    provider = lab.provider(latency_ms=20)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20}, **SOURCE_HASHING}))
    watcher = lab.watcher()
    process = lab.start("run", file)
    lab.wait_processed(1)
    application = lab.application(journal)
    process.ends(0)
    application.stop()
    lab.run(file)
    watcher.stop()
    assert application.changes > 20
    lab.check_completed(journal)
    lab.check_source(journal)


def test_constant_writes_do_not_delay_completion(lab):
    """A twentieth of a small table is edited again and again, faster than it is embedded."""
    lab.documents(400)
    enough = threading.Event()

    def edit():
        with psycopg.connect(lab.url, autocommit=True) as sql:
            number = 0
            while not enough.is_set():
                number += 1
                sql.execute("UPDATE docs SET body = 'number ' || %s || ' of ' || id WHERE id %% 20 = 0", (number,))
                enough.wait(0.005)
    writer = threading.Thread(target=edit, daemon=True)
    provider = lab.provider(latency_ms=30)
    file = lab.file(**lab.http(provider))
    lab.run(file, "--until", 0.01, code=3)
    writer.start()
    process = lab.start("run", file)
    try:
        process.ends(0, 30)
    finally:
        enough.set()
        writer.join(10)
    lab.run(file)
    lab.check_target({str(key): body for key, body in lab.database.rows("SELECT id, body FROM docs")})


def test_a_threshold_of_1_waits_for_a_moment_in_which_nothing_is_missing(lab):
    journal = lab.documents(1000)
    file = lab.file(backfill={"target_query_threshold": 1})
    lab.run(file, "--until", 0.01, code=3)
    application = lab.application(journal)
    process = lab.start("run", file)
    eventually(lambda: lab.progress("pending") == 0, 30, "the backfill to be over")
    eventually(lambda: application.changes > 500, 30, "500 changes")
    assert process.running or process.code == 0, process
    application.stop()
    process.ends(0, 60)
    lab.run(file)
    lab.check_completed(journal)


def test_finalize_drops_the_old_vectors_when_asked(lab):
    journal = lab.documents(50)
    lab.run(lab.file(**SOURCE_HASHING))
    lab.call("finalize", "m1", code=6)
    lab.call("finalize", "m1", "--now", "--drop-source", "--yes")
    assert not lab.database.rows("SELECT 1 FROM information_schema.columns WHERE table_name = 'docs' AND "
                                 "column_name = 'embedding'")
    assert routing(lab) == ("stable", MODEL)
    answers(lab, journal, MODEL)
    lab.run(lab.file(**SOURCE_HASHING))


def test_finalize_detach_ends_change_capture(lab):
    lab.documents(50)
    lab.run(lab.file())
    lab.call("finalize", "m1", "--now", "--detach")
    assert lab.database.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'docs'::regclass AND NOT tgisinternal") == 0
    lab.database.execute("UPDATE docs SET body = 'unheard' WHERE id = 1")
    lab.run(lab.file())


def test_the_window_ends_by_itself_and_then_there_is_no_way_back(lab):
    lab.documents(50)
    lab.run(lab.file(backfill={"rollback_window_secs": 0}))
    assert routing(lab) == ("stable", MODEL)
    assert "window ended" in lab.call("rollback", "m1", code=6).err


def test_a_migration_follows_another(lab):
    """The active space of the first one is the source of the second."""
    journal = lab.documents(200)
    lab.run(lab.file())
    lab.call("finalize", "m1", "--now")
    table = lab.target_table()
    second = lab.file("m2.json", id="m2", target={"model": "third-hash", "dimensions": 16},
                      source={"model": MODEL, "table": table, "id": "doc_id", "column": "embedding",
                              "provider": {"kind": "hashing"}})
    lab.database.execute("UPDATE docs SET body = 'between both ' || id WHERE id <= 20")
    for key in range(1, 21):
        journal.documents[key] = (f"between both {key}", journal.documents[key][1])
    lab.run(second)
    lab.check_target(journal, "m2", "third-hash", 16)
    lab.check_source(journal, f"SELECT doc_id, embedding FROM {table}", MODEL, DIMENSIONS)
    lab.call("rollback", "m2")
    answers(lab, journal, MODEL)

