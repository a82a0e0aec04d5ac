"""target.placement "column": the new vectors get the name of the old column, and an application's SQL stays as it is."""
import json
import threading
import time

import oracle
import psycopg
import pytest

from application import PLAIN
from lab import DIMENSIONS, MODEL, OLD_MODEL, merged
from program import PATIENCE, eventually, scaled
from spaces import SOURCE_HASHING, answers, fill_source, routing

HNSW = {"index": {"method": "hnsw", "m": 4, "ef_construction": 16}}
COLUMN = {"target": {"placement": "column"}, **SOURCE_HASHING}


def column_file(lab, *changes, **more):
    how = COLUMN
    for change in (*changes, more):
        how = merged(how, change)
    return lab.file(**how)


def columns(lab):
    """The vector columns of docs by name, with the model that made their vectors (or None where there is none)."""
    names = [name for name, in lab.database.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attnum > 0 AND NOT attisdropped "
        "AND format_type(atttypid, NULL) IN ('vector', 'halfvec') ORDER BY attnum")]
    bodies = dict(lab.database.rows("SELECT id::text, body FROM docs"))
    found = {}
    for name in names:
        stored = lab.database.vectors(f'SELECT id, "{name}" FROM docs')
        found[name] = [model for model in (OLD_MODEL, MODEL)
                       if stored and not oracle.compare(stored, bodies, model, DIMENSIONS)]
    return {name: models[0] if models else None for name, models in found.items()}


def settled(lab):
    return lab.database.value("SELECT sum((reembed.pending_changes('docs', s)).pending) "
                              "FROM reembed.collection c, unnest(c.captured) s") == 0


def captured(lab):
    """Changes are recorded, for both spaces: from now on none may be lost."""
    return lab.database.value("SELECT to_regclass('reembed.collection')") is not None and \
        lab.database.value("SELECT max(cardinality(captured)) FROM reembed.collection") == 2


def prepared(lab, count=300, **how):
    journal = lab.documents(count, **how)
    fill_source(lab, journal)
    return journal


# --- there and back ---

def test_the_new_vectors_take_the_old_name_and_give_it_back(lab):
    journal = prepared(lab)
    lab.database.execute("CREATE INDEX docs_old ON docs USING hnsw (embedding vector_cosine_ops)")
    file = column_file(lab, {"target": HNSW})
    lab.run(file)
    lab.check_completed(journal)
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}
    row = lab.database.row("SELECT query_model, query_table, query_id_column, query_column, phase FROM reembed.routing")
    assert row == (MODEL, "public.docs", "id", "embedding", "rollback_window")
    assert lab.database.value("SELECT reembed.route_query('docs')") == "target"
    answers(lab, journal, MODEL)
    valid = lab.database.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'docs'::regclass AND indisvalid ORDER BY 1")
    assert valid == [("docs_embedding__new_hash_hnsw",), ("docs_old",), ("docs_pkey",)]

    lab.call("rollback", "m1")
    assert columns(lab) == {"embedding": OLD_MODEL, "embedding__new_hash": MODEL}
    assert lab.database.row("SELECT query_model, query_table, query_column FROM reembed.routing") == (OLD_MODEL, "public.docs", "embedding")
    answers(lab, journal, OLD_MODEL)
    lab.call("cutover", "m1")
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}

    # the old column goes by name, and only after the window or with --now
    assert "rollback window is open" in lab.call("finalize", "m1", "--drop-source", code=6).err
    assert "embedding__old_hash" in columns(lab)
    lab.call("finalize", "m1", "--now", "--drop-source")
    assert columns(lab) == {"embedding": MODEL}
    assert lab.database.value("SELECT detail->>'dropped' FROM reembed.events WHERE event = 'finalize'") == \
        "column embedding__old_hash of public.docs"
    # and run goes on keeping the column
    lab.database.execute("UPDATE docs SET body = 'after it all ' || id WHERE id < 50")
    lab.run(file)
    assert columns(lab) == {"embedding": MODEL}


def test_rolled_back_and_finalized_takes_the_new_column_away(lab):
    journal = prepared(lab)
    lab.run(column_file(lab))
    lab.call("rollback", "m1")
    lab.call("finalize", "m1")
    assert columns(lab) == {"embedding": OLD_MODEL}
    assert not lab.database.rows("SELECT 1 FROM pg_class WHERE relnamespace = 'reembed_data'::regnamespace AND relkind = 'r' "
                                 "AND relname <> 'docs_changes'")
    assert lab.database.value("SELECT count(*) FROM reembed.placement") == 0
    lab.check_untouched(journal)


def test_cancelled_takes_the_new_column_away_and_a_later_one_may_follow(lab):
    prepared(lab)
    lab.run(column_file(lab, gates={"auto_cutover": False}), code=7)
    assert set(columns(lab)) == {"embedding", "embedding__new_hash"}
    lab.call("cancel", "m1")
    assert columns(lab) == {"embedding": OLD_MODEL}
    second = lab.file("m2.json", **merged(COLUMN, {"id": "m2"}))
    lab.run(second)
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}


def test_a_migration_follows_another_in_the_same_column(lab):
    journal = prepared(lab)
    lab.run(column_file(lab))
    lab.call("finalize", "m1", "--now", "--drop-source")
    lab.database.execute("UPDATE docs SET body = 'between both ' || id WHERE id <= 20")
    for key in range(1, 21):
        journal.documents[key] = (f"between both {key}", journal.documents[key][1])
    second = lab.file("m2.json", id="m2", source={"model": MODEL, "provider": {"kind": "hashing"}},
                      target={"model": "third-hash", "placement": "column"})
    lab.run(second)
    lab.check_source(journal, "SELECT id, embedding FROM docs", "third-hash")
    lab.check_source(journal, "SELECT id, embedding__new_hash FROM docs", MODEL)
    lab.call("rollback", "m2")
    answers(lab, journal, MODEL)


# --- what an application may rely on ---

def test_positional_inserts_prepared_searches_rights_and_comments_survive(lab, server_url):
    """NOT NULL on the old column, rights on the column alone, statements prepared before: all go on."""
    lab.database.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, body text, title text, embedding vector({DIMENSIONS}))")
    from application import Journal
    journal = Journal()
    journal.fill(lab.database, 200)
    fill_source(lab, journal)
    lab.database.execute("ALTER TABLE docs ALTER embedding SET NOT NULL; COMMENT ON COLUMN docs.embedding IS 'what searches use'; "
                         "ALTER TABLE docs ALTER embedding SET STORAGE MAIN")
    role = "placed_" + lab.database.name
    lab.database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        lab.database.execute(f"GRANT SELECT (id, embedding), UPDATE (embedding), INSERT ON docs TO {role} WITH GRANT OPTION")
        rights = lab.database.value("SELECT attacl::text FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attname = 'embedding'")
        with psycopg.connect(lab.url, autocommit=True) as app:
            app.execute(f"SET ROLE {role}")
            app.execute("PREPARE hits (vector) AS SELECT id FROM docs ORDER BY embedding <=> $1 LIMIT 1")
            app.execute("PREPARE put (bigint, text, text, vector) AS INSERT INTO docs VALUES ($1, $2, $3, $4)")

            def use(number, model):
                body = journal.documents[9][0]
                vector = str(oracle.vectors(model, [body], DIMENSIONS)[0].tolist())
                for _ in range(7):      # beyond the five custom plans
                    assert app.execute(f"EXECUTE hits ('{vector}')").fetchone() == (9,)
                old = [str(vector.tolist()) for vector in oracle.vectors(OLD_MODEL, [f"positional {n}" for n in (number, number + 1)], DIMENSIONS)]
                app.execute(f"EXECUTE put ({number}, 'positional {number}', 'new', '{old[0]}')")
                app.execute(f"INSERT INTO docs VALUES ({number + 1}, 'positional {number + 1}', 'new', '{old[1]}')")
                journal.documents.update({n: (f"positional {n}", "new") for n in (number, number + 1)})

            use(1001, OLD_MODEL)
            lab.run(column_file(lab))
            use(1101, MODEL)
            app.execute("INSERT INTO docs (id, body) VALUES (1201, 'without a vector')")    # it did have to give one before
            journal.documents[1201] = ("without a vector", None)
            lab.run(column_file(lab))
            assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}
            facts = "SELECT attname, attacl::text, attstorage::text, col_description(attrelid, attnum), attnotnull FROM pg_attribute " \
                    "WHERE attrelid = 'docs'::regclass AND attname = 'embedding'"
            assert lab.database.row(facts) == ("embedding", rights, "m", "what searches use", False)
            lab.call("rollback", "m1")
            use(1301, OLD_MODEL)
            lab.call("cutover", "m1", "--force")
            use(1401, MODEL)
            lab.run(column_file(lab))
        assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}
        lab.check_untouched(journal)
    finally:
        lab.database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


class Searcher(threading.Thread):
    """An application that knows one statement. Its vectors are of either model; both models have as many dimensions."""

    def __init__(self, lab, pace=0.002):
        super().__init__(daemon=True)
        self.lab, self.pace = lab, pace
        self.done, self.slowest, self.errors = 0, 0.0, []
        self._enough = threading.Event()

    def run(self):
        vector = str(oracle.vectors(MODEL, ["anything"], DIMENSIONS)[0].tolist())
        try:
            with psycopg.connect(self.lab.url, autocommit=True) as sql:
                while not self._enough.is_set():
                    began = time.monotonic()
                    if self.done % 7 == 0:      # select, think, then update, in one transaction
                        with sql.transaction():
                            key = sql.execute("SELECT id FROM docs ORDER BY embedding <=> %s::vector LIMIT 1", (vector,)).fetchone()[0]
                            sql.execute("SELECT count(*) FROM (SELECT FROM reembed_data.docs_current LIMIT 5) x") if self.done else None
                            sql.execute("UPDATE docs SET title = title WHERE id = %s", (key,))
                    sql.execute("SELECT id FROM docs ORDER BY embedding <=> %s::vector LIMIT 10", (vector,), prepare=True).fetchall()
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.done += 1
                    self._enough.wait(self.pace)
        except Exception as error:
            self.errors.append(error)

    def stop(self):
        self._enough.set()
        self.join(60)
        assert not self.errors, f"the application's statement failed: {self.errors[0]!r}"


def test_an_application_goes_on_through_copy_cutover_rollback_and_kills(lab):
    """Processes are killed at random moments all along, edits never stop; in the end both columns are exact."""
    journal = prepared(lab, scaled(3000, 500))
    file = column_file(lab, {"target": HNSW}, database={"lease_secs": 1}, gates={"max_change_lag_secs": 3600})
    follower = lab.start("run", file, "--follow")
    eventually(lambda: captured(lab), 20, "the capture of changes")
    application = lab.application(journal, kinds={**PLAIN, "same": 15, "back": 8})
    searchers = [Searcher(lab) for _ in range(2)]
    for searcher in searchers:
        searcher.start()
    seen = set()
    kills = 0
    deadline = time.monotonic() + 120 * PATIENCE
    while lab.state() != "completed":
        assert time.monotonic() < deadline, follower
        time.sleep(lab.random.uniform(0, 0.5))         # the moment itself is what is random
        row = lab.database.row("SELECT p.copied > 0, p.copy_done, p.checked FROM reembed.placement p") or (None,)
        seen.add(row)
        if kills < 12:
            kills += 1
            assert follower.running, follower
            follower.kill()
            follower = lab.start("run", file, "--follow")
    print(f"{kills} kills at {seen}")
    for step, model in [("rollback", OLD_MODEL), ("cutover", MODEL), ("rollback", OLD_MODEL), ("cutover", MODEL)]:
        before = application.changes
        lab.call(step, "m1", *(["--force"] if step == "cutover" else []))
        assert routing(lab)[1] == model
        follower.kill()
        follower = lab.start("run", file, *(["--follow"] if step == "cutover" else []))
        eventually(lambda: application.changes > before + 20, 30, "more changes")
        if step == "rollback":
            follower.ends(6)
    application.stop()
    for searcher in searchers:
        searcher.stop()
    print(f"{application.changes} changes, {sum(s.done for s in searchers)} searches, the slowest write {application.slowest:.3f} s, "
          f"search {max(s.slowest for s in searchers):.3f} s")
    eventually(lambda: settled(lab), 60, "the last changes")
    follower.stops(0, within=5)
    lab.check_completed(journal)
    lab.check_source(journal, "SELECT id, embedding FROM docs", MODEL)
    lab.check_source({key: body for key, body in journal.bodies().items()}, "SELECT id, embedding__old_hash FROM docs", OLD_MODEL)


def test_a_long_transaction_delays_the_cutover_and_nobody_else(lab):
    prepared(lab)
    file = column_file(lab, gates={"auto_cutover": False})
    lab.run(file, code=7)
    with psycopg.connect(lab.url) as holder:
        holder.execute("SELECT count(*) FROM docs")     # a report, left open
        searcher = Searcher(lab)
        searcher.start()
        cutover = lab.start("cutover", "m1")
        eventually(lambda: lab.database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%reembed.cutover%%' AND "
                                              "wait_event_type = 'Timeout' AND datname = current_database()"), 20, "a pause between two attempts")
        done = searcher.done
        eventually(lambda: searcher.done > done + 50, 30, "searches that go on")
        assert cutover.running and routing(lab) == ("migrating", OLD_MODEL)
        holder.rollback()
        cutover.ends(0)
        searcher.stop()
    assert routing(lab)[1] == MODEL
    assert set(columns(lab)) == {"embedding", "embedding__old_hash"}


def test_a_document_that_is_deleted_and_inserted_again_as_it_was(lab):
    """Its row is another one, whose columns are empty; its text is not, so no model is asked for the target."""
    journal = prepared(lab)
    file = column_file(lab)
    lab.run(file)
    again = "DELETE FROM docs WHERE id <= 40; INSERT INTO docs (id, body, title) SELECT * FROM kept"
    lab.database.execute(f"CREATE TEMP TABLE kept AS SELECT id, body, title FROM docs WHERE id <= 40; BEGIN; {again}; COMMIT")
    assert lab.database.value("SELECT count(*) FROM docs WHERE embedding IS NULL") == 40
    lab.run(file)
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}
    lab.database.execute("CREATE TEMP TABLE all_of_them AS SELECT id, body, title FROM docs; TRUNCATE docs; "
                         "INSERT INTO docs (id, body, title) SELECT * FROM all_of_them")
    lab.run(file)
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}
    lab.check_untouched(journal)


def test_verify_looks_into_the_column_too(lab):
    """Vectors that somebody else wrote there, or took away, are found and mended."""
    prepared(lab)
    file = column_file(lab)
    lab.run(file)
    assert "column_differing" in lab.call("verify", "m1", "--json").out
    lab.database.execute("UPDATE docs SET embedding = embedding__old_hash WHERE id <= 3; UPDATE docs SET embedding = NULL WHERE id = 4")
    found = json.loads(lab.call("verify", "m1", "--json", code=7).out)
    assert (found["column_differing"], found["queued"], found["stale"], found["missing"]) == (4, 4, 0, 0)
    lab.run(file)
    lab.call("verify", "m1")
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}


def test_a_search_that_waits_for_the_exchange_of_names_looks_into_the_right_column(lab):
    """It has read which column holds which model, and is held up before it opens the table."""
    journal = prepared(lab, 100)
    lab.run(column_file(lab, {"target": HNSW}))
    text = journal.documents[7][0]
    vector = {model: str(oracle.vectors(model, [text], DIMENSIONS)[0].tolist()) for model in (MODEL, OLD_MODEL)}
    assert lab.database.value("SELECT reembed.searched_target(m) = p.column_space FROM reembed.migration m JOIN reembed.placement p ON p.migration = m.number")
    for command, sides in [("rollback", (None, MODEL)), ("cutover", (OLD_MODEL, None)), ("rollback", (OLD_MODEL, None)), ("cutover", (None, MODEL))]:
        answers_of = []
        with psycopg.connect(lab.url) as operator:
            operator.execute(f"SELECT reembed.{command}('m1')")

            def search():
                with psycopg.connect(lab.url, autocommit=True) as sql:
                    answers_of.extend(sql.execute("SELECT doc_id FROM reembed.search_fused('docs', %s::vector, %s::vector, 1)",
                                                  [side and vector[side] for side in sides]).fetchall())
            thread = threading.Thread(target=search, daemon=True)
            thread.start()
            eventually(lambda: lab.database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
                                                  "AND query LIKE '%%search_fused%%'"), 20, "the search that waits")
            operator.commit()
        thread.join(30)
        assert answers_of == [("7",)], (command, sides)


def test_nothing_that_is_written_while_another_migration_takes_over_is_lost(lab):
    """The column stops being a copy of its side table and becomes the next migration's source, under an application's writes."""
    journal = prepared(lab, 200)
    lab.run(column_file(lab))
    lab.call("finalize", "m1", "--now", "--drop-source")
    second = lab.file("m2.json", id="m2", source={"model": MODEL, "provider": {"kind": "hashing"}},
                      target={"model": "third-hash", "placement": "column"}, gates={"max_change_lag_secs": 3600})
    lab.database.execute("UPDATE docs SET body = 'still waiting ' || id WHERE id <= 20")       # no process is there to see it
    for key in range(1, 21):
        journal.documents[key] = (f"still waiting {key}", journal.documents[key][1])
    application = lab.application(journal, pace=0, kinds={**PLAIN, "same": 15})
    for number in range(3):
        process = lab.start("run", second, env={"REEMBED_FAIL_POINTS": f"prepare.{('entered', 'captured', 'counted')[number]}=kill"})
        process.wait(60)
    follower = lab.start("run", second, "--follow")
    lab.wait_state("completed", "m2")
    application.stop()
    eventually(lambda: settled(lab), 60, "the last changes")
    follower.stops(0, within=5)
    lab.check_source(journal, "SELECT id, embedding FROM docs", "third-hash")
    lab.check_source(journal, "SELECT id, embedding__new_hash FROM docs", MODEL)


# --- refused by name ---

BOUND = {
    "view": ("CREATE VIEW docs_view AS SELECT id, embedding FROM docs", "view public.docs_view"),
    "materialized view": ("CREATE MATERIALIZED VIEW docs_frozen AS SELECT id, embedding FROM docs", "materialized view public.docs_frozen"),
    "constraint": ("ALTER TABLE docs ADD CONSTRAINT docs_dims CHECK (vector_dims(embedding) > 1)", "constraint docs_dims"),
    "expression index": ("CREATE INDEX docs_halves ON docs USING hnsw ((embedding::halfvec(32)) halfvec_cosine_ops)", "index public.docs_halves"),
    "partial index": ("CREATE INDEX docs_some ON docs USING hnsw (embedding vector_cosine_ops) WHERE id < 10", "index public.docs_some"),
    "trigger": ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
                "CREATE TRIGGER docs_watch BEFORE UPDATE OF embedding ON docs FOR EACH ROW EXECUTE FUNCTION f()", "trigger docs_watch"),
    "policy": ("CREATE POLICY docs_seen ON docs USING (embedding IS NOT NULL)", "policy docs_seen"),
    "generated column": ("ALTER TABLE docs ADD dims int GENERATED ALWAYS AS (vector_dims(embedding)) STORED", "generated column dims"),
    "publication": ("CREATE PUBLICATION docs_out FOR TABLE docs (id, embedding)", "publication docs_out"),
    "publication of the table": ("CREATE PUBLICATION docs_all FOR TABLE docs", "publication docs_all"),
    "function": ("CREATE FUNCTION nearest(q vector) RETURNS bigint BEGIN ATOMIC SELECT id FROM docs ORDER BY embedding <=> q LIMIT 1; END",
                 "function public.nearest(public.vector)"),
}


def test_what_is_bound_to_the_column_is_refused_by_name(lab):
    """In plan and at the start, exit 2, before anything is touched; nothing else of the table is in the way."""
    prepared(lab, 20)
    lab.database.execute("CREATE VIEW docs_texts AS SELECT id, body FROM docs; CREATE INDEX docs_old ON docs USING hnsw (embedding vector_l2_ops); "
                         "CREATE PUBLICATION docs_texts FOR TABLE docs (id, body); ALTER TABLE docs ADD CONSTRAINT positive CHECK (id > 0)")
    file = column_file(lab)
    plan = lab.call("plan", file)
    assert "ADD COLUMN embedding__new_hash" in plan.out and "RENAME COLUMN" in plan.out
    for statement, name in BOUND.values():
        with lab.database.connect() as sql:
            sql.execute(statement)
            for command in ("plan", "run"):
                ended = lab.call(command, file, code=2)
                assert name in ended.err + ended.out and "side" in ended.err, (name, ended)
            kind, what = name.rsplit(" ", 1)
            kind = kind.replace("generated column", "column")
            sql.execute({"constraint": "ALTER TABLE docs DROP CONSTRAINT docs_dims", "column": "ALTER TABLE docs DROP dims",
                         "trigger": "DROP TRIGGER docs_watch ON docs; DROP FUNCTION f()", "policy": "DROP POLICY docs_seen ON docs"}
                        .get(kind, f"DROP {kind} {what}"))
    assert set(columns(lab)) == {"embedding"}
    lab.run(file)
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}


def test_what_was_bound_since_holds_the_cutover_back(lab):
    prepared(lab, 20)
    file = column_file(lab, gates={"auto_cutover": False})
    lab.run(file, code=7)
    lab.database.execute("CREATE VIEW docs_view AS SELECT id, embedding FROM docs")
    assert "view public.docs_view" in lab.call("cutover", "m1", code=2).err
    assert "view public.docs_view" in lab.run(file, code=2).err
    assert routing(lab) == ("migrating", OLD_MODEL)
    lab.database.execute("DROP VIEW docs_view")
    lab.call("cutover", "m1")
    lab.run(file)
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}


@pytest.mark.parametrize("table, source, text", [
    ("CREATE TABLE docs (id bigint PRIMARY KEY, body text, title text, embedding vector(32)) PARTITION BY RANGE (id); "
     "CREATE TABLE docs_1 PARTITION OF docs DEFAULT", {}, "partitioned"),
    ("CREATE TABLE docs (id bigint PRIMARY KEY, body text, title text); CREATE TABLE vecs (id bigint PRIMARY KEY, embedding vector(32))",
     {"table": "public.vecs", "id": "id"}, "column of the documents table"),
])
def test_tables_that_no_column_can_be_placed_in(lab, table, source, text):
    lab.database.execute(table)
    file = column_file(lab, source=source)
    for command in ("plan", "run"):
        ended = lab.call(command, file, code=2)
        assert text in ended.err and "side" in ended.err, ended


def test_a_cutover_before_the_column_is_filled_is_refused_even_by_force(lab):
    prepared(lab, 400)
    provider = lab.provider(latency_ms=50)
    process = lab.start("run", column_file(lab, lab.http(provider), backfill={"batch_size": 10}))
    lab.wait_processed(50)
    assert "not filled yet" in lab.call("cutover", "m1", "--force", code=6).err
    assert routing(lab) == ("migrating", OLD_MODEL)
    assert set(columns(lab)) == {"embedding"}
    process.stops(3, within=10)


def test_a_row_that_the_application_holds_is_filled_later(lab):
    prepared(lab, 100)
    lab.run(column_file(lab, gates={"auto_cutover": False}), code=7)
    lab.database.execute("UPDATE docs SET embedding__new_hash = NULL")          # as if the copy began only now
    lab.database.execute("UPDATE reembed.placement SET cursor = NULL, copied = 0, copy_done = false, checked = false")
    with psycopg.connect(lab.url) as holder:
        holder.execute("SELECT 1 FROM docs WHERE id IN (7, 50) FOR UPDATE")
        process = lab.start("run", column_file(lab))
        eventually(lambda: lab.database.row("SELECT copy_done FROM reembed.placement") == (True,), 30, "the copy")
        eventually(lambda: lab.progress("changes_pending") == 2, 10, "the held rows")
        assert lab.database.value("SELECT count(*) FROM docs WHERE embedding__new_hash IS NULL") == 2
        holder.rollback()
    process.ends(0)
    assert columns(lab) == {"embedding__old_hash": OLD_MODEL, "embedding": MODEL}
