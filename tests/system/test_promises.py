"""What the application can rely on while its documents are migrated: no lock, no open transaction, no surprise."""
import threading
import time

import oracle
import psycopg
import pytest

from database import floats, with_parts
from lab import DIMENSIONS, DOCS, MODEL, merged
from program import PATIENCE, eventually, scaled


def test_no_transaction_is_open_while_a_model_is_asked(lab):
    lab.documents(500)
    provider = lab.provider(latency_ms=300)
    process = lab.start("run", lab.file(**lab.http(provider)), "--batch-size", 10)
    lab.wait_processed(20)
    looks, open_ones = 0, []
    while looks < 20:
        if provider.counters()["in_flight"] < 2:
            continue
        looks += 1
        open_ones += lab.database.rows(
            "SELECT state, query, backend_xmin FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'reembed' AND state IN ('idle in transaction', 'idle in transaction (aborted)') "
            "OR (application_name = 'reembed' AND datname = current_database() "
            "    AND clock_timestamp() - xact_start > interval '250 ms')")
    assert not open_ones, open_ones[:3]
    process.stops(3, within=5)


def test_no_document_is_ever_locked(lab):
    """Every row can be locked at once at any moment, from before the start to after the end."""
    count = scaled(4000, 800)
    journal = lab.documents(count)
    refused, tried, enough = [], [0], threading.Event()

    def lock():
        with psycopg.connect(lab.url, autocommit=True) as sql:
            while not enough.is_set():
                key = lab.random.randrange(1, count + 1)
                try:
                    with sql.transaction():
                        sql.execute("SELECT 1 FROM docs WHERE id BETWEEN %s AND %s FOR UPDATE NOWAIT", (key, key + 50))
                except psycopg.errors.LockNotAvailable:
                    refused.append(key)
                tried[0] += 1
    locker = threading.Thread(target=lock, daemon=True)
    file = lab.file(backfill={"batch_size": 5, "max_concurrent": 1})
    lab.run(file, "--until", 0.05, code=3)
    locker.start()
    lab.run(file)
    enough.set()
    locker.join(10)
    assert tried[0] > 20 and not refused, f"{len(refused)} of {tried[0]} locks were refused"
    lab.check_completed(journal)


def test_the_longest_lock_request_is_lock_timeout_secs(lab):
    """An old transaction keeps change capture from being installed: other writers behind it wait for no longer."""
    journal = lab.documents(200)
    old = lab.database.connect()
    slowest, errors, enough = [0.0], [], threading.Event()

    def write():
        try:
            with psycopg.connect(lab.url, autocommit=True) as sql:
                while not enough.is_set():
                    began = time.monotonic()
                    sql.execute("UPDATE docs SET title = 'again' WHERE id = 5")
                    slowest[0] = max(slowest[0], time.monotonic() - began)
        except Exception as error:
            errors.append(error)
    writer = threading.Thread(target=write, daemon=True)
    with old.transaction():
        old.execute("UPDATE docs SET title = 'a long thought' WHERE id = 1")
        writer.start()
        process = lab.start("run", lab.file(database={"lock_timeout_secs": 0.3}))
        eventually(lambda: "waiting for a lock on public.docs" in process.err, 20, "the lock to be missed")
        time.sleep(2)                   # a while of asking again and again is what is measured
        assert process.running
    process.ends(0)
    enough.set()
    writer.join(10)
    assert not errors, errors
    assert 0 < slowest[0] < 0.3 + 0.5 * PATIENCE, f"an application's write waited {slowest[0]:.2f} s"
    lab.check_target(journal)


def test_prepared_searches_survive_the_flip_and_the_way_back(lab):
    journal = lab.documents(300)
    lab.run(lab.file(), "--until", 0.05, code=3)
    bodies = journal.bodies()
    search = "SELECT doc_id, model FROM reembed_data.docs_current ORDER BY embedding <=> %s::vector LIMIT 1"

    def ask(model):
        return sql.execute(search, (str(oracle.vectors(model, [bodies["9"]], DIMENSIONS)[0].tolist()),), prepare=True).fetchone()
    with psycopg.connect(lab.url, autocommit=True) as sql:
        for _ in range(8):              # beyond the five custom plans
            assert ask(MODEL) is None   # the old column is empty
        lab.run(lab.file())
        for _ in range(8):
            assert ask(MODEL) == (9, MODEL)
        lab.call("rollback", "m1")
        assert ask(MODEL) is None


def test_gates_look_at_which_documents_are_current_not_at_how_many(lab):
    """All are counted as processed, a third has other content since."""
    lab.documents(300)
    lab.run(lab.file(gates={"auto_cutover": False}), code=7)
    assert lab.progress("processed, pending, effective_coverage") == (300, 0, 1)
    lab.database.execute("UPDATE docs SET body = 'something else ' || id WHERE id <= 100")
    lab.database.execute("UPDATE reembed.migration SET measured_at = NULL")      # as a minute later
    refused = lab.call("cutover", "m1", code=7)
    assert "66.67 %" in refused.err
    lab.run(lab.file(gates={"auto_cutover": False}), code=7)
    lab.call("cutover", "m1")


def test_vectors_that_somebody_took_away_are_found_and_made_again(lab):
    journal = lab.documents(300)
    lab.run(lab.file())
    table = lab.target_table()
    lab.database.execute(f"DELETE FROM {table} WHERE doc_id % 10 = 1")
    lab.database.execute(f"UPDATE {table} SET content_hash = gen_random_uuid() WHERE doc_id % 10 = 2")
    lab.database.execute(f"INSERT INTO {table} SELECT 5000 + g, 1, gen_random_uuid(), (SELECT embedding FROM {table} "
                         f"WHERE embedding IS NOT NULL LIMIT 1) FROM generate_series(1, 7) g")
    report = lab.call("verify", "m1", code=7)
    assert "30" in report.out and "7" in report.out
    lab.run(lab.file())
    lab.check_target(journal)
    lab.call("verify", "m1", "--sample", 20, "--file", lab.file())
    # a vector of the right size and hash that is another model's: only embedding again can tell
    lab.database.execute(f"UPDATE {table} SET embedding = (SELECT embedding FROM {table} WHERE doc_id = 4) WHERE doc_id <> 4")
    lab.call("verify", "m1", code=0)
    lab.call("verify", "m1", "--sample", 20, "--file", lab.file(), code=7)


def test_before_completion_the_sweep_mends_what_is_wrong(lab):
    journal = lab.documents(400)
    file = lab.file(gates={"auto_cutover": False})
    lab.run(file, code=7)
    table = lab.target_table()
    lab.database.execute(f"DELETE FROM {table} WHERE doc_id % 7 = 0")
    lab.database.execute("UPDATE reembed.migration SET sweep_clean = false, measured_at = NULL")
    lab.run(lab.file())
    lab.check_completed(journal)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_databases_of_other_encodings(lab, encoding, server_url):
    name = f"{lab.database.name}_e"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        url = with_parts(server_url, name)
        with psycopg.connect(url, autocommit=True, client_encoding="UTF8") as sql:
            sql.execute("CREATE EXTENSION vector")
            sql.execute(DOCS)
            with sql.cursor() as cursor:
                cursor.executemany("INSERT INTO docs (id, body) VALUES (%s, %s)",
                                   [(key, f"Stück {key} für später") for key in range(1, 101)])
            if encoding == "SQL_ASCII":
                sql.execute("INSERT INTO docs (id, body) VALUES (500, E'broken \\xff bytes')")
        file = lab.file(gates={"max_failed": 1})
        lab.run(file, url=url, code=9 if encoding == "SQL_ASCII" else 0)
        with psycopg.connect(url, autocommit=True, client_encoding="UTF8") as sql:
            rows = sql.execute("SELECT doc_id, reason FROM reembed.failures").fetchall()
            assert rows == ([("500", "invalid_encoding")] if encoding == "SQL_ASCII" else [])
            with sql.cursor(binary=True) as cursor:
                cursor.execute("SELECT doc_id::text, vector_send(embedding) FROM reembed_data.docs__new_hash WHERE embedding IS NOT NULL")
                stored = [(key, floats(sent)) for key, sent in cursor]
        wrong = oracle.compare(stored, {str(key): f"Stück {key} für später" for key in range(1, 101)}, MODEL, DIMENSIONS)
        assert not wrong, wrong[:3]
    finally:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_pgvector_in_another_schema_and_a_search_path_of_the_database(lab):
    lab.database.execute("DROP EXTENSION vector CASCADE; CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
    lab.database.execute(f"ALTER DATABASE {lab.database.name} SET search_path = app")
    lab.database.execute(f"CREATE SCHEMA app; CREATE TABLE app.docs (id bigint PRIMARY KEY, body text, embedding ext.vector({DIMENSIONS}))")
    lab.database.execute("INSERT INTO app.docs (id, body) SELECT g, 'body of ' || g FROM generate_series(1, 200) g")
    file = lab.file(documents={"table": "docs"}, source={"table": "docs", "provider": {"kind": "hashing"}},
                    target={"index": {"method": "hnsw"}})
    lab.run(file)
    lab.database.execute("UPDATE app.docs SET body = body || '!' WHERE id <= 20")
    lab.run(file)
    documents = {str(key): f"body of {key}" + ("!" if key <= 20 else "") for key in range(1, 201)}
    lab.database.execute("SET search_path = public, ext")
    lab.check_target(documents)
    lab.check_source({key: text for key, text in documents.items() if text.endswith("!")}, "SELECT id, embedding FROM app.docs")


def test_deletes_of_documents_under_way_leave_no_orphan(lab):
    """Documents are deleted while their texts are at the server."""
    journal = lab.documents(600)
    provider = lab.provider(latency_ms=200)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 50, "max_concurrent": 4}}))
    process = lab.start("run", file)
    eventually(lambda: provider.counters()["in_flight"] >= 4, 20, "requests under way")
    lab.database.execute("DELETE FROM docs WHERE id <= 100 OR id > 550")
    lab.database.execute("UPDATE docs SET body = 'changed under way ' || id WHERE id BETWEEN 101 AND 200")
    for key in [*range(1, 101), *range(551, 601)]:
        del journal.documents[key]
    for key in range(101, 201):
        journal.documents[key] = (f"changed under way {key}", journal.documents[key][1])
    process.ends(0)
    lab.run(file)
    lab.check_completed(journal)


def test_documents_with_ids_below_the_bound_made_later_are_not_missed(lab):
    """The backfill walks by id; what is inserted behind its cursor comes by way of the change log."""
    journal = lab.documents(500, first=1000)
    provider = lab.provider(latency_ms=50)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(200)
    with lab.database.sql.cursor() as cursor:
        for key in range(1, 101):
            journal.documents[key] = (f"late, with a low id {key}", "low")
            cursor.execute("INSERT INTO docs (id, body, title) VALUES (%s, %s, 'low')", (key, journal.documents[key][0]))
    process.ends(0)
    lab.run(file)
    lab.check_completed(journal)
