"""Tables, ids, expressions, vectors and indexes of every kind; empty and odd collections."""
import uuid

import oracle
import pytest

from lab import DIMENSIONS, MODEL, OLD_MODEL, merged
from program import scaled

NO_SOURCE = {"source": None}


def body(number):
    return f"body of {number} " + "more " * (number % 20)


def ids(kind, count):
    if kind == "uuid":
        return [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2 ** 128)) for number in range(1, count + 1)]
    if kind in ("text", "varchar(80)"):
        strange = ["", " ", "a'b", 'a"b', "a\\b", "é", "Z", "a", "z,{}", "NULL", "null", "0", "00", "9" * 60, "tab\there"]
        return (strange + [f"key-{number}" for number in range(count)])[:count]
    if kind in ("smallint", "bigint"):
        edge = 2 ** (15 if kind == "smallint" else 63)
        return [str(number) for number in [-edge, edge - 1, 0, -1, 1] + list(range(2, count - 3))]
    return [str(number - count // 2) for number in range(count)]


def create(lab, kind, count, table="docs", suffix=""):
    """Fills a table of this kind of id and returns id -> body."""
    lab.database.execute(f"CREATE TABLE {table} (id {kind} PRIMARY KEY, body text){suffix}")
    keys = ids(kind, count)
    with lab.database.sql.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES (%s::{kind}, %s)", [(key, body(n)) for n, key in enumerate(keys)])
    return {key: body(number) for number, key in enumerate(keys)}


@pytest.mark.parametrize("kind", ["smallint", "integer", "bigint", "uuid", "text", "varchar(80)", 'text COLLATE "C"'])
def test_every_kind_of_id(lab, kind):
    kind_only, _, collation = kind.partition(" COLLATE ")
    documents = create(lab, kind_only, 700)
    if collation:
        lab.database.execute(f"ALTER TABLE docs ALTER COLUMN id TYPE text COLLATE {collation}")
    file = lab.file(**NO_SOURCE, backfill={"batch_size": 7})
    lab.run(file, "--until", 0.3, code=3)
    some = list(documents)[::9]
    lab.database.execute(f"UPDATE docs SET body = body || ' edited' WHERE id = ANY (%s::{kind_only}[])", some)
    documents.update({key: documents[key] + " edited" for key in some})
    gone = list(documents)[::13]
    lab.database.execute(f"DELETE FROM docs WHERE id = ANY (%s::{kind_only}[])", gone)
    documents = {key: text for key, text in documents.items() if key not in gone}
    lab.run(file)
    lab.check_target(documents)
    lab.check_counts()
    assert lab.state() == "completed"


@pytest.mark.parametrize("column", ["Id", "order", "odd column", 'quo"te'])
def test_names_that_need_quotes(lab, column):
    quoted = '"' + column.replace('"', '""') + '"'
    lab.database.execute(f'CREATE SCHEMA "Odd Schema"; CREATE TABLE "Odd Schema"."Docs; --" ({quoted} int PRIMARY KEY, '
                         f'"Body" text, "select" vector({DIMENSIONS}))')
    lab.database.execute(f'INSERT INTO "Odd Schema"."Docs; --" ({quoted}, "Body") SELECT g, \'body of \' || g FROM generate_series(1, 300) g')
    file = lab.file(collection="The Collection's; name", documents={"table": '"Odd Schema"."Docs; --"', "id": column, "content": '"Body"'},
                    source={"table": '"Odd Schema"."Docs; --"', "id": column, "column": "select", "provider": {"kind": "hashing"}})
    lab.run(file)
    lab.database.execute(f'UPDATE "Odd Schema"."Docs; --" SET "Body" = "Body" || \'!\' WHERE {quoted} <= 50')
    lab.run(file)
    documents = {str(key): f"body of {key}" + ("!" if key <= 50 else "") for key in range(1, 301)}
    lab.check_target(documents)
    lab.check_source({key: text for key, text in documents.items() if text.endswith("!")},
                     f'SELECT {quoted}, "select" FROM "Odd Schema"."Docs; --"')


@pytest.mark.parametrize("parts", ["list", "hash", "attached"])
def test_a_partitioned_table(lab, parts):
    if parts == "hash":
        lab.database.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text) PARTITION BY HASH (id)")
        for number in range(4):
            lab.database.execute(f"CREATE TABLE docs_{number} PARTITION OF docs FOR VALUES WITH (MODULUS 4, REMAINDER {number})")
    else:
        lab.database.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text) PARTITION BY RANGE (id)")
        lab.database.execute("CREATE TABLE docs_0 PARTITION OF docs FOR VALUES FROM (0) TO (500)")
        lab.database.execute("CREATE TABLE docs_1 PARTITION OF docs FOR VALUES FROM (500) TO (100000)")
    lab.database.execute("INSERT INTO docs SELECT g, 'body of ' || g FROM generate_series(1, 1000) g")
    documents = {str(key): f"body of {key}" for key in range(1, 1001)}
    file = lab.file(**NO_SOURCE)
    lab.run(file, "--until", 0.2, code=3)
    # writes aimed at the parent and at a partition itself, and rows that move from one to the other
    lab.database.execute("UPDATE docs SET body = 'by the parent ' || id WHERE id % 10 = 3")
    lab.database.execute("UPDATE docs_1 SET body = 'by the partition ' || id WHERE id % 10 = 4")
    lab.database.execute("DELETE FROM docs_0 WHERE id % 10 = 5")
    documents = {str(key): text for key, text in lab.database.rows("SELECT id, body FROM docs")}
    lab.database.execute("UPDATE docs SET id = id + 20000 WHERE id BETWEEN 480 AND 499")
    if parts == "attached":
        lab.database.execute("CREATE TABLE docs_2 PARTITION OF docs FOR VALUES FROM (100000) TO (200000)")
        lab.database.execute("INSERT INTO docs_2 SELECT g, 'attached later ' || g FROM generate_series(100001, 100100) g")
    documents = {str(key): text for key, text in lab.database.rows("SELECT id, body FROM docs")}
    lab.run(file)
    lab.check_target(documents)
    lab.check_counts()
    lab.database.execute("TRUNCATE docs_1")
    lab.run(file)
    lab.check_target({str(key): text for key, text in lab.database.rows("SELECT id, body FROM docs")})


def test_content_expression_and_filter(lab):
    lab.database.execute("CREATE TABLE docs (id int PRIMARY KEY, title text, body text, lang text, deleted_at timestamptz)")
    lab.database.execute("INSERT INTO docs SELECT g, 'title ' || g, 'body ' || g, CASE WHEN g % 3 = 0 THEN 'de' ELSE 'en' END "
                         "FROM generate_series(1, 600) g")
    file = lab.file(**NO_SOURCE, documents={"content": "coalesce(title, '') || E'\\n' || body",
                                            "where": "lang = 'en' AND deleted_at IS NULL"})
    def documents():
        return {str(key): f"{title or ''}\n{text}" for key, title, text in lab.database.rows(
            "SELECT id, title, body FROM docs WHERE lang = 'en' AND deleted_at IS NULL")}
    lab.run(file, "--until", 0.1, code=3)
    # into the filter, out of it, and changes of either part of the expression
    lab.database.execute("UPDATE docs SET lang = 'en' WHERE id % 30 = 0")
    lab.database.execute("UPDATE docs SET deleted_at = now() WHERE id % 7 = 0")
    lab.database.execute("UPDATE docs SET title = NULL WHERE id % 11 = 0")
    lab.database.execute("UPDATE docs SET body = 'other body' WHERE id % 13 = 0")
    lab.run(file)
    lab.check_target(documents())
    lab.database.execute("UPDATE docs SET lang = 'fr' WHERE id % 5 = 0")
    lab.database.execute("UPDATE docs SET deleted_at = NULL WHERE id % 7 = 0")
    lab.run(file)
    lab.check_target(documents())
    lab.check_counts()
    assert lab.database.value("SELECT count(*) FROM docs") == 600


@pytest.mark.parametrize("kind, metric", [("vector", "inner_product"), ("vector", "l2"), ("halfvec", "cosine"),
                                          ("halfvec", "l2"), ("halfvec", "inner_product")])
@pytest.mark.parametrize("index", ["hnsw", "ivfflat"])
def test_types_metrics_and_indexes(lab, kind, metric, index):
    journal = lab.documents(400)
    lab.run(lab.file(target={"type": kind, "metric": metric, "index": {"method": index}}))
    lab.check_target(journal, half=kind == "halfvec")
    word = {"inner_product": "ip", "l2": "l2", "cosine": "cosine"}[metric]
    assert lab.database.rows(
        "SELECT am.amname, o.opcname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_am am ON am.oid = c.relam JOIN pg_opclass o ON o.oid = i.indclass[0] "
        "WHERE i.indrelid = %s::regclass AND am.amname IN ('hnsw', 'ivfflat')", lab.target_table()
    ) == [(index, f"{kind}_{word}_ops", True)]
    text = journal.bodies()["77"]
    query = str(oracle.vectors(MODEL, [text], DIMENSIONS)[0].tolist())
    assert lab.database.row("SELECT doc_id, model FROM reembed.search('docs', %s::vector, 1)", query) == ("77", MODEL)


@pytest.mark.parametrize("old_index, expected", [("hnsw", "hnsw"), ("ivfflat", "ivfflat"), (None, None)])
def test_an_index_as_the_source_has_it(lab, old_index, expected):
    journal = lab.documents(200)
    lab.database.execute("UPDATE docs SET embedding = array_fill(id::float8, ARRAY[32])::vector")
    if old_index:
        lab.database.execute(f"CREATE INDEX ON docs USING {old_index} (embedding vector_l2_ops)")
    lab.run(lab.file(target={"index": "as_source"}))
    lab.check_completed(journal)
    found = lab.database.rows("SELECT am.amname FROM pg_class c JOIN pg_am am ON am.oid = c.relam JOIN pg_namespace n "
                              "ON n.oid = c.relnamespace WHERE n.nspname = 'reembed_data' AND am.amname IN ('hnsw', 'ivfflat')")
    assert [name for (name,) in found] == ([expected] if expected else [])


def test_large_vectors_are_halfvec_by_themselves(lab):
    lab.documents(30)
    lab.run(lab.file(target={"dimensions": 2500}))
    assert lab.database.value("SELECT vector_type FROM reembed.space WHERE model = %s", MODEL) == "halfvec"
    documents = {str(key): text for key, text in lab.database.rows("SELECT id, body FROM docs")}
    lab.check_target(documents, dimensions=2500, half=True)


def test_without_dual_write_changes_wait_for_the_backfill_and_are_not_lost(lab):
    journal = lab.documents(600)
    provider = lab.provider(latency_ms=40)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"dual_write": False, "batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    for key in range(1, 41):
        journal.documents[key] = (f"edited behind {key}", journal.documents[key][1])
    lab.database.execute("UPDATE docs SET body = 'edited behind ' || id WHERE id <= 40")
    lab.wait_processed(300)
    assert lab.progress("changes_pending") == 40, "changes are drained although dual_write is off"
    assert lab.database.value("SELECT write_models FROM reembed.routing") == [OLD_MODEL]
    process.ends(0)
    lab.run(file)
    lab.check_completed(journal)


@pytest.mark.parametrize("threshold", [0, 1])
def test_thresholds_at_both_ends(lab, threshold):
    journal = lab.documents(500)
    provider = lab.provider(latency_ms=20)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"target_query_threshold": threshold, "batch_size": 20}}))
    lab.run(file)
    lab.check_completed(journal)


def test_a_missing_document_holds_a_threshold_of_1_back(lab):
    lab.documents(100)
    provider = lab.provider(fault={"kind": "zeros", "marker": "document 50,"})
    file = lab.file(**merged(lab.http(provider), {"backfill": {"target_query_threshold": 1}, "gates": {"max_failed": 1}}))
    ended = lab.run(file, code=7)
    assert "coverage" in ended.err and "99.00 %" in ended.err


@pytest.mark.parametrize("source", [True, False])
def test_an_empty_table_completes_and_flips_by_itself(lab, source):
    lab.documents(0)
    lab.run(lab.file(**({} if source else NO_SOURCE)))
    assert lab.state() == "completed"
    assert lab.progress("total, processed, progress, effective_coverage") == (0, 0, 1, 1)
    assert lab.database.value("SELECT query_model FROM reembed.routing") == MODEL
    lab.database.execute("INSERT INTO docs (id, body) VALUES (1, 'the first one')")
    lab.run(lab.file(**({} if source else NO_SOURCE)))
    lab.check_target({"1": "the first one"})


def test_documents_that_are_all_empty_are_skipped_and_complete(lab):
    lab.documents(0)
    lab.database.execute("INSERT INTO docs (id, body) SELECT g, (ARRAY['', ' ', E'\\t\\n', NULL])[g % 4 + 1] FROM generate_series(1, 200) g")
    lab.run(lab.file())
    assert lab.state() == "completed"
    assert lab.progress("total, processed, skipped, failed, pending, effective_total, effective_coverage") == (200, 0, 200, 0, 0, 0, 1)
    assert set(lab.failures().values()) == {"empty_content"}
    # and one of them gets text
    lab.database.execute("UPDATE docs SET body = 'now there is something' WHERE id = 100")
    lab.run(lab.file())
    lab.check_target({"100": "now there is something"})
    assert "100" not in lab.failures() and len(lab.failures()) == 199
    lab.check_counts()


def test_empty_documents_may_be_failures(lab):
    lab.documents(20)
    lab.database.execute("UPDATE docs SET body = NULL WHERE id = 3")
    file = lab.file(target={"provider": {"on_empty": "fail"}}, gates={"max_failed": 1})
    lab.run(file, code=9)
    assert lab.failures() == {"3": "empty_content"}


def test_odd_texts_are_embedded_byte_by_byte(lab):
    texts = ["\u00e9\u0301", "\U0001F600 emoji", "a" * 60000, "tab\tnew\nline\r\n", "\u200b zero width", "'; DROP TABLE docs; --",
             "\\x00 \\u0000", "{\"json\": [1,2]}", "x", "\x01\x1f\x7f", "نص عربي", "漢字" * 5000, "trailing blanks   "]
    lab.documents(0)
    with lab.database.sql.cursor() as cursor:
        cursor.executemany("INSERT INTO docs (id, body) VALUES (%s, %s)", list(enumerate(texts)))
    lab.run(lab.file())
    lab.check_target({str(key): text for key, text in enumerate(texts)})
    provider = lab.provider()
    lab.run(lab.file("m2.json", id="m2", collection="again", **merged(lab.http(provider), {"source": None, "target": {"model": "by-http"}})))
    lab.check_target({str(key): text for key, text in enumerate(texts)}, "m2", "by-http")


def test_texts_that_are_equal_are_paid_once_a_batch(lab):
    lab.documents(0)
    lab.database.execute("INSERT INTO docs (id, body) SELECT g, 'the same text ' || g % 5 FROM generate_series(1, 500) g")
    provider = lab.provider()
    lab.run(lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 100}})))
    lab.check_target({str(key): f"the same text {key % 5}" for key in range(1, 501)})
    assert provider.counters()["texts"] == 5 * 5 + 1


def test_documents_longer_than_any_model_takes_are_cut_and_counted(lab):
    """Where no limit is known, 65,536 characters are read."""
    lab.documents(0)
    lab.database.execute("INSERT INTO docs (id, body) VALUES (1, repeat('é', 70000)), (2, repeat('é', 65536))")
    lab.run(lab.file())
    assert lab.progress("truncated") == 1
    lab.check_target({"1": "é" * 65536, "2": "é" * 65536})


def test_documents_too_long_for_the_model_are_cut_and_counted(lab):
    lab.documents(0)
    lab.database.execute("INSERT INTO docs (id, body) SELECT g, CASE WHEN g % 10 = 0 THEN repeat('long ', 200) || g ELSE 'short ' || g END "
                         "FROM generate_series(1, 200) g")
    file = lab.file(target={"provider": {"max_tokens": 50}})
    lab.run(file)
    assert lab.progress("truncated, skipped, failed") == (20, 0, 0)
    documents = {str(key): text.encode()[:200].decode() for key, text in lab.database.rows("SELECT id, body FROM docs")}
    lab.check_target(documents)

    lab.run(lab.file("m2.json", id="m2", collection="skipping", source=None,
                     target={"model": "skipping", "provider": {"max_tokens": 50, "on_too_long": "skip"}}))
    assert lab.progress("truncated, skipped, failed", "m2") == (0, 20, 0)
    lab.run(lab.file("m3.json", id="m3", collection="failing", source=None, gates={"max_failed": 20},
                     target={"model": "failing", "provider": {"max_tokens": 50, "on_too_long": "fail"}}), code=9)
    assert lab.progress("truncated, skipped, failed", "m3") == (0, 0, 20)


def test_prefixes_are_part_of_what_is_embedded(lab):
    journal = lab.documents(50)
    lab.run(lab.file(target={"provider": {"document_prefix": "passage: "}}))
    lab.check_target({key: "passage: " + text for key, text in journal.bodies().items()})


@pytest.mark.parametrize("settings", [{"batch_size": 1, "max_concurrent": 8}, {"batch_size": 1000, "max_concurrent": 1},
                                      {"batch_size": 33, "max_concurrent": 3}])
def test_batches_of_every_size_and_several_writers(lab, settings):
    count = scaled(4000, 500)
    journal = lab.documents(count)
    lab.run(lab.file(backfill=settings, database={"writers": 3}))
    lab.check_completed(journal)
    assert lab.processed() == count


def test_two_collections_of_one_table(lab):
    journal = lab.documents(200)
    first = lab.file("a.json", id="a", collection="titles", documents={"content": "title"}, source=None, target={"model": "model-a"})
    second = lab.file("b.json", id="b", collection="bodies", source=None, target={"model": "model-b"})
    processes = [lab.start("run", first), lab.start("run", second)]
    for process in processes:
        process.ends(0)
    lab.database.execute("UPDATE docs SET title = 'other title' WHERE id = 5")
    lab.run(first)
    lab.run(second)
    titles = {str(key): title for key, (_, title) in journal.documents.items()} | {"5": "other title"}
    lab.check_target(titles, "a", "model-a")
    lab.check_target(journal, "b", "model-b")


@pytest.mark.parametrize("place", ["column", "table"])
def test_truncate_while_nobody_is_alive(lab, place):
    lab.documents(500)
    source = {"provider": {"kind": "hashing"}}
    query = "SELECT id, embedding FROM docs"
    if place == "table":
        lab.database.execute("CREATE TABLE vecs (doc bigint PRIMARY KEY, v vector(32))")
        lab.database.execute("INSERT INTO vecs SELECT id, array_fill(1, ARRAY[32])::vector FROM docs")
        source |= {"table": "public.vecs", "id": "doc", "column": "v"}
        query = "SELECT doc, v FROM vecs"
    file = lab.file(source=source)
    lab.run(file)
    lab.database.execute("TRUNCATE docs")
    lab.database.execute("INSERT INTO docs (id, body) SELECT g, 'afterwards ' || g FROM generate_series(400, 420) g")
    lab.run(file)
    documents = {str(key): f"afterwards {key}" for key in range(400, 421)}
    lab.check_target(documents)
    lab.check_source(documents, query)


def test_the_applications_own_before_trigger_is_heard(lab):
    """An UPDATE that names another column, whose trigger changes the content."""
    journal = lab.documents(100)
    lab.database.execute("CREATE FUNCTION retitle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                         "NEW.body := 'made from ' || NEW.title; RETURN NEW; END $$")
    lab.database.execute("CREATE TRIGGER retitle BEFORE UPDATE OF title ON docs FOR EACH ROW EXECUTE FUNCTION retitle()")
    lab.run(lab.file())
    lab.database.execute("UPDATE docs SET title = 'title number ' || id WHERE id <= 30")
    lab.run(lab.file())
    lab.check_target(journal.bodies() | {str(key): f"made from title number {key}" for key in range(1, 31)})


def test_an_unrelated_update_is_not_paid_for(lab):
    journal = lab.documents(100)
    provider = lab.provider()
    file = lab.file(**lab.http(provider))
    lab.run(file)
    before = provider.counters()["texts"]
    lab.database.execute("UPDATE docs SET title = 'untold', body = body")
    lab.run(file)
    assert lab.progress("changes_pending") == 0
    assert provider.counters()["texts"] == before
    lab.check_target(journal)
