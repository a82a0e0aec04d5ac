"""`doctor`: what it finds in a column, that it finds nothing where all is well, and that it writes nothing."""
import json
import re

import pytest

import oracle
from database import with_parts
from lab import DIMENSIONS, OLD_MODEL, merged

QUIET = {"connection.ok", "role.superuser", "statistics.missing", "provider.ok", "model.confirmed"}


def fill(lab, count=400, kind="vector", column=None):
    """Documents with the right vectors of OLD_MODEL."""
    texts = [f"document {key}: " + "words and more words, " * (key % 7) for key in range(1, count + 1)]
    lab.database.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, title text, body text, updated_at timestamptz, "
                         f"embedded_at timestamptz, embedding {column or f'{kind}({DIMENSIONS})'})")
    with lab.database.sql.cursor() as cursor, cursor.copy(
            "COPY docs (id, title, body, updated_at, embedded_at, embedding) FROM STDIN") as copy:
        for key, (text, vector) in enumerate(zip(texts, oracle.vectors(OLD_MODEL, texts, DIMENSIONS)), 1):
            copy.write_row((key, f"title {key}", text, "2026-01-01", "2026-01-02",
                            "[" + ",".join(repr(float(x)) for x in vector) + "]"))
    lab.database.execute("ANALYZE docs")
    return texts


def doctor(lab, *words, code=0, **how):
    report = json.loads(lab.call("doctor", *words, "--json", code=code, **how).out)
    for finding in report["findings"]:
        assert finding["severity"] in ("error", "warning", "info") and re.fullmatch(r"[a-z]+\.[a-z_]+", finding["id"])
        assert finding["text"] and finding.keys() == {"id", "severity", "subject", "text", "fix"}, finding
        assert finding["severity"] == "info" or finding["fix"], finding
    assert report["ok"] == (report["counts"]["error"] == 0)
    return report


def ids(report):
    return {finding["id"] for finding in report["findings"]}


def file_with_provider(lab, **changes):
    return lab.file(**merged({"source": {"provider": {"kind": "hashing"}}}, changes))


@pytest.mark.parametrize("kind", ["vector", "halfvec"])
def test_nothing_is_found_where_all_is_well(lab, kind):
    fill(lab, kind=kind)
    lab.database.execute(f"CREATE INDEX ON docs USING hnsw (embedding {kind}_cosine_ops)")
    for words in ((), ("--table", "docs"), (file_with_provider(lab),)):
        report = doctor(lab, *words, "--fail-on", "warning")
        assert ids(report) <= QUIET, report["findings"]
        assert [column["column"] for column in report["columns"]] == ["embedding"]
        assert report["columns"][0]["looked_at"] == 400 and report["columns"][0]["all_rows"]
    assert "model.confirmed" in ids(report)


SPOILT = {
    "vectors.zero": "UPDATE docs SET embedding = array_fill(0, array[32])::real[]::vector WHERE id IN (3, 5)",
    "vectors.not_finite": "CREATE CAST (bytea AS vector) WITHOUT FUNCTION; "
                          "UPDATE docs SET embedding = ('\\x20000000' || repeat('0000c07f', 32))::bytea::vector WHERE id = 4",
    "norms.mixed": "UPDATE docs SET embedding = (SELECT array_agg(x * 7) FROM unnest(embedding::real[]) x)::vector WHERE id < 9",
    "vectors.shared": "UPDATE docs SET embedding = (SELECT embedding FROM docs WHERE id = 20) WHERE id IN (30, 31)",
    "vectors.missing": "UPDATE docs SET embedding = NULL WHERE id = 7",
    "text.missing": "UPDATE docs SET body = '  ' WHERE id IN (8, 9); UPDATE docs SET body = NULL WHERE id = 10",
    "vectors.stale": "UPDATE docs SET updated_at = '2026-02-01' WHERE id % 9 = 0",
    "index.invalid": "CREATE INDEX broken ON docs USING hnsw (embedding vector_l2_ops); "
                     "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass",
    "triggers.disabled": "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
                         "CREATE TRIGGER old BEFORE UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION nothing(); "
                         "ALTER TABLE docs DISABLE TRIGGER old",
    "table.unlogged": "ALTER TABLE docs SET UNLOGGED",
    "key.missing": "ALTER TABLE docs DROP CONSTRAINT docs_pkey",
}


@pytest.mark.parametrize("finding", SPOILT)
def test_what_is_wrong_with_a_column_is_found(lab, finding):
    fill(lab)
    lab.database.execute(SPOILT[finding])
    report = doctor(lab, "--table", "public.docs")
    assert ids(report) - QUIET == {finding}, report["findings"]
    severity = next(f["severity"] for f in report["findings"] if f["id"] == finding)
    doctor(lab, "--table", "public.docs", "--fail-on", severity, code=7)
    doctor(lab, "--table", "public.docs", "--fail-on", "error", code=7 if severity == "error" else 0)


def test_dimensions_that_differ_or_are_not_fixed(lab):
    fill(lab, column="vector")
    assert ids(doctor(lab)) - QUIET == {"dimensions.unfixed"}
    lab.database.execute("UPDATE docs SET embedding = array_fill(0.2, array[25])::real[]::vector WHERE id = 3")
    report = doctor(lab, "--fail-on", "error", code=7)
    assert "dimensions.mixed" in ids(report) and report["columns"][0]["sizes"] == "32 (399), 25 (1)"


def test_a_large_table_wants_an_index_and_is_looked_at_in_part(lab):
    lab.database.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text, embedding vector(4))")
    lab.database.execute("INSERT INTO docs SELECT i, 'text ' || i, ARRAY[sin(i), cos(i), sin(2 * i), cos(2 * i)]::real[]::vector "
                         "FROM generate_series(1, 120000) i; ANALYZE docs")
    report = doctor(lab)
    column = report["columns"][0]
    assert 10000 <= column["looked_at"] <= 20000 and not column["all_rows"] and 110000 < column["rows"] < 130000
    assert "index.missing" in ids(report)
    assert "20000 rows" in report["limits"] and "nothing was written" in report["limits"]


@pytest.mark.parametrize("changes, finding", [
    ({"source": {"model": "someone-else"}}, "model.differs"),
    ({"source": {"provider": {"document_prefix": "passage: "}}}, "model.setting"),
    ({"documents": {"content": "title || body"}}, "model.differs"),
    ({"documents": {"content": "nobody"}}, "content.invalid"),
    ({"documents": {"id": "title"}}, "key.missing"),
    ({"documents": {"table": "public.nodocs"}, "source": {"table": "public.nodocs"}}, "documents.missing"),
    ({"source": {"column": "nothing"}}, "source.missing"),
])
def test_a_file_that_is_wrong_about_its_source(lab, changes, finding):
    fill(lab)
    report = doctor(lab, file_with_provider(lab, **changes), "--fail-on", "error", code=7)
    assert finding in ids(report), report["findings"]
    assert "connection.ok" in ids(report) and "provider.ok" in ids(report)


def test_edited_texts_show_when_they_are_embedded_again(lab):
    fill(lab, 24)
    lab.database.execute("UPDATE docs SET body = body || ' edited' WHERE id <= 5")
    report = doctor(lab, file_with_provider(lab))
    partly = next(f for f in report["findings"] if f["id"] == "model.partly")
    assert "5 of 24" in partly["text"]


def test_vectors_in_a_table_of_their_own(lab):
    texts = fill(lab, 100)
    lab.database.execute("CREATE TABLE vectors AS SELECT id AS doc, embedding AS v FROM docs; "
                         "CREATE UNIQUE INDEX ON vectors (doc); ALTER TABLE docs DROP embedding; ANALYZE vectors")
    file = file_with_provider(lab, source={"table": "public.vectors", "id": "doc", "column": "v"})
    assert ids(doctor(lab, file)) <= QUIET and len(texts) == 100
    lab.database.execute("DELETE FROM vectors WHERE doc = 4; INSERT INTO vectors SELECT 999, v FROM vectors WHERE doc = 5")
    report = doctor(lab, file)
    assert ids(report) - QUIET == {"vectors.missing", "vectors.orphaned"}


def test_a_provider_that_does_not_answer_is_a_finding(lab):
    fill(lab)
    file = lab.file(target={"provider": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}})
    report = doctor(lab, file, "--fail-on", "error", code=7)
    assert "provider.unusable" in ids(report)


def test_rights_row_security_and_a_missing_extension(lab, server_url):
    fill(lab)
    role = f"stranger_{lab.seed}"
    lab.database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        url = with_parts(lab.url, user=role)
        assert ids(doctor(lab, url=url)) >= {"columns.none"}
        assert "privileges.select" in ids(doctor(lab, "--table", "public.docs", url=url))
        lab.database.execute(f"GRANT SELECT ON docs TO {role}")
        report = doctor(lab, lab.file(), url=url)
        assert {"privileges.trigger", "privileges.create"} <= ids(report)
        lab.database.execute("ALTER TABLE docs ENABLE ROW LEVEL SECURITY")
        assert "rowsecurity.hides" in ids(doctor(lab, url=url))
    finally:
        lab.database.execute(f"DROP OWNED BY {role}")
        lab.database.execute(f"DROP ROLE {role}")
    lab.database.execute("DROP EXTENSION vector CASCADE")
    report = doctor(lab, "--fail-on", "error", code=7)
    assert ids(report) >= {"extension.missing"} and report["columns"] == []


def test_a_database_that_is_away_is_told_in_the_report_too(lab):
    report = json.loads(lab.call("doctor", "--json", code=4, url="postgresql://nobody@127.0.0.1:9/nothing").out)
    assert ids(report) == {"connection.failed"}


def test_nothing_is_written(lab):
    """Every transaction is a read-only one: an expression that writes is refused by the server."""
    fill(lab)
    lab.database.execute("CREATE SEQUENCE drawn; CREATE TABLE written (x int); CREATE FUNCTION sly(text) RETURNS text "
                         "LANGUAGE plpgsql AS 'BEGIN INSERT INTO written VALUES (1); RETURN $1; END'")

    def state():
        return lab.database.row("SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), "
                                "(SELECT sum(hashtext(t::text)) FROM docs t), (SELECT count(*) FROM written), "
                                "(SELECT is_called FROM drawn)")
    before = state()
    for words in ((), ("--table", "docs"), (file_with_provider(lab),)):
        doctor(lab, *words)
    for content in ("nextval('drawn')::text || body", "sly(body)"):
        report = doctor(lab, file_with_provider(lab, documents={"content": content}))
        refused = next(f for f in report["findings"] if f["id"] == "content.invalid")
        assert "read-only transaction" in refused["text"]
    assert state() == before


def test_a_page_that_needs_nothing_but_itself(lab):
    fill(lab)
    lab.database.execute('ALTER TABLE docs RENAME COLUMN title TO "<script>alert(1)</script>"')
    lab.database.execute("ALTER TABLE docs ALTER body TYPE varchar; UPDATE docs SET embedding = NULL WHERE id = 1")
    page = lab.directory / "findings.html"
    lab.call("doctor", "--html", page)
    text = page.read_text()
    assert "<script" not in text and "http:" not in text and "https:" not in text
    assert "vectors.missing" in text and "prefers-color-scheme:dark" in text and text.endswith("</html>\n")
    lab.call("doctor", "--html", lab.directory / "no/such/folder.html", code=2)


def test_for_people(lab):
    fill(lab)
    lab.database.execute("UPDATE docs SET embedding = NULL WHERE id = 1")
    out = lab.call("doctor", "--table", "docs").out
    assert "vectors.missing" in out and "fix:" in out and out.splitlines()[-1].startswith("next: ")
    lab.call("doctor", "--fail-on", "sometimes", code=2)
    lab.call("doctor", lab.file(), "--table", "docs", code=2)
    assert "columns.none" in lab.call("doctor", "--table", "public.nothing").out
