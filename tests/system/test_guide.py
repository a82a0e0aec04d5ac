"""What docs/ tells an operator to type is typed here: rights, SQL, connections, dump and restore, removal."""
import json
import pathlib
import re
import subprocess

import psycopg
import pytest

import oracle
from database import Database, with_parts
from http_client import Client
from lab import DIMENSIONS, OLD_MODEL
from program import SOURCE, clean_environment, eventually
from system_fixtures import database_name

PAGES = [SOURCE / "docs" / f"{name}.md" for name in ("cookbook", "operating", "runbooks", "upgrading", "faq", "serve")]
WORKER = "reembed_worker"                   # as docs/operating.md calls it
MIGRATION, MODEL = "docs-small-to-large", "text-embedding-3-large"
READS = ("SELECT", "WITH", "BEGIN", "SET LOCAL", "COMMIT")


def blocks(page):
    for block in re.findall(r"^```sql\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        statements = [re.sub(r"^--.*$", "", part, flags=re.MULTILINE).strip() for part in block.split(";")]
        yield block, [statement for statement in statements if statement]


def only_reads(statements):
    return all(statement.startswith(READS) for statement in statements)


def block_with(page, words):
    """The one block of a page that has these words, statement by statement."""
    found = [statements for block, statements in blocks(SOURCE / "docs" / page) if words in block]
    assert len(found) == 1, f"{page}: {len(found)} blocks with {words}"
    return found[0]


def migration(lab, **changes):
    from lab import merged
    return lab.file(**merged({"id": MIGRATION, "source": {"provider": {"kind": "hashing"}},
                              "target": {"model": MODEL, "dimensions": DIMENSIONS, "index": {"method": "hnsw"}}}, changes))


@pytest.fixture
def worker(lab):
    """The role of the operating guide's block, and nothing but what that block grants."""
    statements = block_with("operating.md", "CREATE ROLE")
    lab.documents(200)
    database = lab.database
    database.execute(f"DROP ROLE IF EXISTS {WORKER}")
    for statement in statements:
        database.execute(statement.replace("DATABASE app", f"DATABASE {database.name}"))
    yield with_parts(lab.url, user=WORKER)
    database.execute(f"DROP OWNED BY {WORKER} CASCADE; DROP ROLE {WORKER}")


def test_the_rights_of_the_guide_are_enough_and_each_is_needed(lab, worker):
    plan = json.loads(lab.call("plan", migration(lab), "--json", url=worker).out)
    assert plan["ok"]
    lab.run(migration(lab), url=worker)
    lab.database.execute("UPDATE docs SET body = 'changed in the window ' || id WHERE id <= 20")
    lab.run(migration(lab), url=worker)
    bodies = {str(key): body for key, body in lab.database.rows("SELECT id, body FROM docs WHERE id <= 20")}
    wrong = oracle.compare(lab.database.vectors("SELECT id, embedding FROM docs WHERE id <= 20"), bodies, OLD_MODEL, DIMENSIONS)
    assert not wrong, wrong[:3]
    for words in (["rollback", MIGRATION], ["cutover", MIGRATION], ["verify", MIGRATION], ["finalize", MIGRATION, "--now"]):
        lab.call(*words, url=worker)
    for statement in block_with("operating.md", "maintenance_work_mem"):
        lab.database.execute(statement)
    with psycopg.connect(worker) as sql:
        assert sql.execute("SHOW maintenance_work_mem").fetchone() == ("2GB",)


@pytest.mark.parametrize("right", ["SELECT ON public.docs", "TRIGGER ON public.docs", "CREATE ON DATABASE"])
def test_without_one_of_them_it_is_refused_and_named(lab, worker, right):
    lab.database.execute(f"REVOKE {right.replace('DATABASE', f'DATABASE {lab.database.name}')} FROM {WORKER}")
    process = lab.start("run", migration(lab), url=worker)
    assert process.wait() in (2, 4) and "GRANT" in process.err or "permission denied" in process.err, process


# --- the statements ---

def test_every_statement_that_reads_runs(lab):
    journal = lab.documents(300)
    bodies = journal.bodies()
    with lab.database.sql.cursor() as cursor:
        cursor.executemany("UPDATE docs SET embedding = %s::vector WHERE id = %s",
                           [(json.dumps(vector.tolist()), key)
                            for key, vector in zip(bodies, oracle.vectors(OLD_MODEL, bodies.values(), DIMENSIONS))])
    lab.run(migration(lab))
    new, old = (json.dumps(oracle.vectors(model, [bodies["7"]], DIMENSIONS)[0].tolist()) for model in (MODEL, OLD_MODEL))
    values = {"vector": new, "old vector": old, "new vector": new, "count": 5, "words": "title", "id": 7,
              "vectors": [new, new]}
    ran = 0
    with psycopg.connect(lab.url, autocommit=True, cursor_factory=psycopg.RawCursor) as sql:
        for page in PAGES:
            for block, statements in blocks(page):
                if not only_reads(statements):
                    continue
                kinds = dict(re.findall(r"\$(\d): ([a-z ]+)", block))
                rows = []
                for statement in statements:
                    most = max([int(number) for number in re.findall(r"\$(\d)", statement)], default=0)
                    parameters = [values[kinds[str(number)]] for number in range(1, most + 1)]
                    result = sql.execute(statement, parameters or None)
                    rows += result.fetchall() if result.description else []
                    ran += 1
                if "vector" in kinds.values() and "words" not in kinds.values():
                    assert rows and rows[0][0] in (7, "7") and len(rows) == 5, (page.name, block, rows)
                elif page.name == "cookbook.md":
                    assert rows, (page.name, block)
    assert ran >= 20
    # the others are in the tests of this file
    others = [block for page in PAGES for block, statements in blocks(page) if not only_reads(statements)]
    assert len(others) == 3, others


# --- connections ---

def test_a_process_holds_as_many_connections_as_the_guide_says(lab, tmp_path):
    text = (SOURCE / "docs" / "operating.md").read_text()
    assert "So five at least, eight with everything at its default" in text
    lab.documents(2000)
    connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'reembed%%'"
    most = 0

    def holds(number):
        nonlocal most
        found = lab.database.value(connections)
        most = max(most, found)
        return found == number

    slow = {"limits": {"max_documents_per_second": 500}}
    least = lab.start("run", migration(lab, source={"provider": ...}, target={"provider": {"kind": "hashing"}}, **slow), "--follow")
    eventually(lambda: holds(5), 30, "five connections")
    lab.wait_state("completed", MIGRATION)
    eventually(lambda: holds(3), 30, "three connections")
    least.stops(0, within=10)
    eventually(lambda: holds(0), 10, "none")
    assert most == 5
    lab.call("finalize", MIGRATION, "--now")
    provider = lab.provider(latency_ms=20)
    http = {"provider": {"kind": "openai", "url": provider.url}}
    process = lab.start("run", lab.file(id="second", source={"model": MODEL, "table": lab.target_table(MIGRATION), "id": "doc_id",
                                                             **http}, target={"model": "third", **http},
                                        backfill={"max_concurrent": 16}, **slow), "--follow", "--listen", "127.0.0.1:0")
    Client(process).ask("/api/status")      # the server connects when it is asked
    eventually(lambda: holds(8), 30, "eight connections")
    lab.wait_state("completed", "second")
    process.stops(0, within=10)
    assert most == 8


# --- dump and restore ---

def test_a_migration_goes_on_after_a_dump_and_a_restore(lab, server_url, seed, server_version):
    dump = next(iter(pathlib.Path(SOURCE / ".cache").glob(f"pgserver-*/*/pginstall{server_version}/bin/pg_dump")), None)
    if dump is None:
        pytest.skip("no pg_dump of this version here: the server is another's")
    journal = lab.documents(1000)
    file = migration(lab)
    lab.run(file, "--until", 0.3, code=3)
    lab.database.execute("UPDATE docs SET body = 'before the dump ' || id WHERE id % 10 = 0")
    lab.database.execute("DELETE FROM docs WHERE id % 10 = 1")
    other = lab.open(Database(server_url, database_name(seed)))
    other.execute("DROP EXTENSION vector")
    text = subprocess.run([dump, lab.url], check=True, capture_output=True, env=clean_environment()).stdout
    subprocess.run([dump.parent / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", other.url], input=text, check=True,
                   capture_output=True, env=clean_environment())
    stored = other.value(f"SELECT count(*) FROM reembed_data.{lab.target_table(MIGRATION).partition('.')[2]}")
    assert stored >= 300
    other.execute("UPDATE docs SET body = 'after the restore ' || id WHERE id % 10 = 2")     # the triggers came along
    lab.run(file, url=other.url)
    lab.call("verify", MIGRATION, url=other.url)
    bodies = {str(key): body for key, body in other.rows("SELECT id, body FROM docs")}
    wrong = oracle.compare(other.vectors(f"SELECT doc_id, embedding FROM {lab.target_table(MIGRATION)}"), bodies, MODEL, DIMENSIONS)
    assert len(bodies) == 900 and not wrong, wrong[:3]
    del journal


# --- removal ---

def test_after_the_removal_of_the_guide_the_vectors_are_there_and_nothing_else_is(lab):
    lab.documents(100)
    lab.run(migration(lab))
    text = (SOURCE / "docs" / "operating.md").read_text()
    assert f"reembed finalize {MIGRATION} --now --detach" in text
    lab.call("finalize", MIGRATION, "--now", "--detach")
    table = lab.database.value(block_with("operating.md", "SELECT query_table")[0])
    for statement in block_with("operating.md", "DROP SCHEMA"):
        lab.database.execute(statement)
    assert table == "reembed_data.docs__text_embedding_3_large", "the name in the guide"
    assert lab.database.value("SELECT count(*) FROM public.docs__text_embedding_3_large WHERE embedding IS NOT NULL") == 100
    assert lab.database.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'reembed%%'") == []
    assert lab.database.rows("SELECT tgname FROM pg_trigger WHERE tgrelid = 'docs'::regclass") == []
    assert lab.database.rows("SELECT proname FROM pg_proc WHERE proname LIKE '%%capture%%'") == []
    lab.database.execute("UPDATE docs SET body = 'nobody listens' WHERE id = 1; DELETE FROM docs WHERE id = 2")
