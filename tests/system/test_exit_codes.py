"""Every exit code, and that each refusal is one line that says what to do, on stderr, with nothing on stdout."""
import json
import os
import socket
import threading
import time

import pytest

from database import with_parts
from lab import DOCS, MODEL, merged
from program import PATIENCE, SOURCE


def refused(process, *words):
    """One message of one line (and perhaps one of advice) with these words; nothing on stdout but how it stands."""
    lines = [line for line in process.err.splitlines() if line.startswith("reembed:")]
    assert len(lines) == 1, f"{len(lines)} messages: {process}"
    after = process.err.splitlines()[process.err.splitlines().index(lines[0]):]
    assert len(after) <= 2, f"more than a line and its advice: {process}"
    text = " ".join(after)
    for word in words:
        assert word in text, f"{word!r} is not in the message: {process}"
    if process.code in (5, 6) and process.out:
        assert "\nnext: " in "\n" + process.out
    else:
        assert not process.out, f"something on stdout: {process}"


def nothing_was_installed(lab):
    triggers = lab.database.value("SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                                  "WHERE NOT t.tgisinternal AND c.relnamespace IS DISTINCT FROM to_regnamespace('reembed')")
    assert triggers == 0, "change capture was installed although the migration can't run"


# --- 2: the file ---

@pytest.mark.parametrize("changes, words", [
    ({"backfill": {"batchsize": 10}}, ["backfill.batchsize", "batch_size"]),
    ({"targt": {}}, ["targt", "target"]),
    ({"target": {"provider": {"kinds": "hashing"}}}, ["kinds", "kind"]),
    ({"database": {"lease_sec": 5}}, ["lease_sec", "lease_secs"]),
    ({"backfill": {"target_query_threshold": 1.5}}, ["target_query_threshold", "1"]),
    ({"backfill": {"target_query_threshold": -0.1}}, ["target_query_threshold", "0"]),
    ({"backfill": {"batch_size": 0}}, ["batch_size", "1"]),
    ({"backfill": {"max_concurrent": 0}}, ["max_concurrent", "1"]),
    ({"backfill": {"rollback_window_secs": -1}}, ["rollback_window_secs", "0"]),
    ({"documents": {"id": "tenant, id"}}, ["documents.id", "composite"]),
    ({"documents": {"id": ["tenant", "id"]}}, ["documents.id", "composite"]),
    ({"target": {"metric": "cosin"}}, ["metric", "cosine"]),
    ({"target": {"dimensions": ...}}, ["dimensions"]),
    ({"target": {"provider": {"kind": "openai", "url": "http://127.0.0.1:1/v1", "api_key_env": "SYSTEM_NO_SUCH_KEY"}}},
     ["SYSTEM_NO_SUCH_KEY"]),
    ({"target": {"provider": {"kind": "onnx", "path": "/nonexistent/model"}}}, ["/nonexistent/model"]),
])
def test_a_wrong_file_is_refused(lab, changes, words):
    lab.documents(3)
    process = lab.run(lab.file(**changes), code=2)
    refused(process, *words)
    nothing_was_installed(lab)


@pytest.mark.parametrize("value", ["NaN", "1e999", "-Infinity"])
def test_a_threshold_that_is_no_number_is_refused(lab, value):
    path = lab.file()
    path.write_text(path.read_text().replace('"backfill": {', f'"backfill": {{ "target_query_threshold": {value},'))
    refused(lab.run(path, code=2))


def test_a_file_that_is_not_there_or_no_json_is_refused(lab):
    refused(lab.run(lab.directory / "missing.json", code=2), "missing.json")
    broken = lab.directory / "broken.json"
    broken.write_text('{\n  "id": "m1",\n  "collection" "docs"\n}')
    refused(lab.run(broken, code=2), "broken.json:3")


def test_a_key_goes_over_plain_http_to_this_machine_only(lab):
    lab.documents(3)
    file = lab.file(target={"provider": {"kind": "openai", "url": "http://embeddings.example.net/v1",
                                         "api_key_env": "SYSTEM_KEY"}})
    refused(lab.run(file, code=2, env={"SYSTEM_KEY": "sk-system-secret"}), "http", "https")


def test_a_broken_model_folder_is_refused(lab):
    lab.documents(3)
    folder = lab.directory / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"no graph")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    refused(lab.run(lab.file(target={"provider": {"kind": "onnx", "path": str(folder)}}), code=2))
    nothing_was_installed(lab)


# --- 2: the database ---

@pytest.mark.parametrize("table, changes, words", [
    (DOCS, {"documents": {"table": "public.dogs"}, "source": None}, ["public.dogs"]),
    (DOCS, {"documents": {"id": "ident"}, "source": None}, ["ident", "columns"]),
    (DOCS, {"documents": {"content": "text_body"}}, ["text_body"]),
    (DOCS, {"documents": {"where": "kind = 3"}}, ["kind"]),
    (DOCS, {"source": {"column": "vectors"}}, ["vectors", "embedding"]),
    (DOCS, {"source": {"column": "title"}}, ["title", "vector"]),
    (DOCS, {"source": {"table": "public.nothing"}}, ["public.nothing"]),
    ("CREATE TABLE docs (tenant int, id bigint, body text, PRIMARY KEY (tenant, id))", {"source": None},
     ["composite", "unique"]),
    ("CREATE TABLE docs (id bigint NOT NULL, body text)", {"source": None}, ["key", "UNIQUE INDEX"]),
    ("CREATE TABLE docs (id bigint UNIQUE, body text)", {"source": None}, ["NULL", "SET NOT NULL"]),
    ("CREATE TABLE docs (id numeric PRIMARY KEY, body text)", {"source": None}, ["numeric", "bigint"]),
    ("CREATE VIEW docs AS SELECT 1::bigint AS id, ''::text AS body", {"source": None}, ["not a table"]),
])
def test_a_table_that_does_not_fit_is_refused(lab, table, changes, words):
    lab.database.execute(table)
    refused(lab.run(lab.file(**changes), code=2), *words)
    nothing_was_installed(lab)


@pytest.fixture
def role(lab):
    """A plain role that may create schemas in this database, and nothing else."""
    role = f"{lab.database.name}_role"
    lab.database.execute(f"CREATE ROLE {role} LOGIN")
    lab.database.execute(f"GRANT CREATE ON DATABASE {lab.database.name} TO {role}")
    yield role
    lab.database.execute(f"DROP OWNED BY {role} CASCADE")
    lab.database.execute(f"DROP ROLE {role}")


def test_a_database_without_pgvector_is_refused(lab, role):
    lab.database.execute("DROP EXTENSION vector CASCADE")
    lab.database.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, body text); ALTER TABLE docs OWNER TO {role}")
    refused(lab.run(lab.file(source=None), code=2, url=with_parts(lab.url, user=role)), "vector", "CREATE EXTENSION vector")


def test_a_role_that_may_not_read_the_documents_is_refused(lab, role):
    lab.documents(5)
    refused(lab.run(lab.file(), code=2, url=with_parts(lab.url, user=role)), "public.docs", "GRANT SELECT, TRIGGER")


def test_row_security_that_hides_documents_is_refused(lab, role):
    lab.documents(5)
    lab.database.execute(f"GRANT SELECT, TRIGGER ON docs TO {role}")
    lab.database.execute("ALTER TABLE docs ENABLE ROW LEVEL SECURITY")
    refused(lab.run(lab.file(), code=2, url=with_parts(lab.url, user=role)), "row security", "BYPASSRLS")
    nothing_was_installed(lab)


def test_an_unknown_id_is_refused_by_every_command(lab):
    lab.documents(3)
    lab.run(lab.file())
    for command in (["status"], ["pause"], ["resume"], ["cancel"], ["cutover"], ["rollback"], ["finalize"], ["retry"],
                    ["failures"], ["verify"], ["skip"]):
        more = ["1", "--reason", "r"] if command == ["skip"] else []
        process = lab.call(*command, "m2", *more, code=2)
        refused(process, "m2")


@pytest.mark.parametrize("words, parts", [
    (["run"], ["argument"]),
    (["rum", "x"], ["rum", "run"]),
    (["run", "x", "--onse"], ["--onse", "--once"]),
    (["run", "x", "--batch-size", "0"], ["batch-size"]),
    (["run", "x", "--until", "1.5"], ["until"]),
    (["run", "x", "--once", "--follow"], ["--once", "--follow"]),
    (["--log-level", "loud", "list"], ["loud", "debug"]),
    (["--database-url", "mysql://localhost/x", "list"], []),
])
def test_a_wrong_command_line_is_refused(lab, words, parts):
    refused(lab.start(*words, level=None).ends(2), *parts)


@pytest.mark.parametrize("change, key", [
    ({"target": {"model": "third-hash"}}, "target.model"),
    ({"target": {"dimensions": 16}}, "target.dimensions"),
    ({"target": {"type": "halfvec"}}, "target.type"),
    ({"target": {"metric": "l2"}}, "target.metric"),
    ({"documents": {"content": "title"}}, "documents.content"),
    ({"documents": {"where": "id > 1"}}, "documents.where"),
    ({"source": None}, "source.model"),
])
def test_what_is_migrated_can_not_change_under_an_id(lab, change, key):
    lab.documents(3)
    lab.run(lab.file())
    refused(lab.run(lab.file(**change), code=2), key, "m1")


def test_settings_may_change_under_an_id_and_each_change_is_an_event(lab):
    lab.documents(300)
    provider = lab.provider(latency_ms=50)
    base = lab.http(provider)
    lab.run(lab.file(**base), "--max-runtime", 0.3, "--batch-size", 10, code=3)
    other = lab.provider()
    lab.run(lab.file(**merged(lab.http(other), {"backfill": {"batch_size": 7, "rollback_window_secs": 60},
                                                "gates": {"max_failed": 3}, "database": {"lease_secs": 9}})))
    details = [detail for event, detail in lab.database.rows("SELECT event, detail FROM reembed.events")
               if event == "configured"]
    assert len(details) == 1
    assert details[0]["after"]["gates"]["max_failed"] == 3 and details[0]["before"]["gates"]["max_failed"] == 0
    assert "127.0.0.1" not in json.dumps(lab.database.rows("SELECT config FROM reembed.migration"))
    assert other.counters()["texts"] > 0


# --- 4: the database is away ---

def away(lab, url, *words):
    began = time.monotonic()
    process = lab.run(lab.file(), code=4, url=url)
    assert time.monotonic() - began <= 10 * PATIENCE
    refused(process, *words)


def test_no_server_is_exit_4(lab):
    away(lab, "postgresql://postgres@/postgres?host=/nonexistent/socket", "/nonexistent/socket")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away(lab, f"postgresql://postgres@127.0.0.1:{port}/postgres", str(port))


def test_a_server_that_says_nothing_is_exit_4_within_ten_seconds(lab):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away(lab, f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres")


def test_a_server_that_hangs_up_is_exit_4(lab):
    with socket.create_server(("127.0.0.1", 0)) as rude:
        def hang_up():
            while True:
                try:
                    connection, _ = rude.accept()
                except OSError:
                    return
                connection.close()
        threading.Thread(target=hang_up, daemon=True).start()
        away(lab, f"postgresql://postgres@127.0.0.1:{rude.getsockname()[1]}/postgres")


def test_no_such_database_or_role_is_exit_4(lab):
    away(lab, with_parts(lab.url, "sys_no_such_database"), "sys_no_such_database")
    away(lab, with_parts(lab.url, user="sys_no_such_role"), "sys_no_such_role")


# --- 5: the provider refuses for good ---

def test_another_size_of_vectors_is_exit_5(lab):
    lab.documents(3)
    provider = lab.provider(dimensions=24, takes_dimensions=False)
    process = lab.run(lab.file(**lab.http(provider)), code=5)
    refused(process, "24", "32")
    nothing_was_installed(lab)
    # what was advised works
    provider.set(dimensions=24)
    lab.run(lab.file(**merged(lab.http(provider), {"target": {"dimensions": 24}})))
    assert lab.database.value(f"SELECT count(*) FROM {lab.target_table()}") == 3


def test_a_migration_that_never_started_may_be_corrected(lab):
    """Model, source, table: whatever was wrong in the file that no run could start with."""
    journal = lab.documents(5)
    lab.database.execute("CREATE TABLE other (id bigint PRIMARY KEY, body text, vec vector(8))")
    provider = lab.provider(key="unknown to us")
    lab.run(lab.file(**merged(lab.http(provider), {
        "documents": {"table": "public.other"}, "source": {"model": "older", "table": "public.other", "column": "vec"},
        "target": {"model": "misspelt", "dimensions": 8}})), code=5)
    lab.run(lab.file())
    lab.check_completed(journal)
    assert lab.database.rows("SELECT model FROM reembed.space ORDER BY space_id") == [("old-hash",), (MODEL,)]
    assert lab.database.value("SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                              "WHERE nspname = 'reembed_data' AND relname LIKE %s", "%misspelt%") == 0


def test_a_model_folder_of_another_size_is_exit_5(lab):
    folder = SOURCE / "models/paraphrase-MiniLM-L3-v2"
    if not folder.is_dir() or not os.path.exists(os.environ.get("REEMBED_ONNXRUNTIME", "")):
        pytest.skip("no model folder or no ONNX Runtime (scripts/test fetches both)")
    lab.documents(3)
    process = lab.run(lab.file(target={"provider": {"kind": "onnx", "path": str(folder)}}), code=5)
    refused(process, "384", "32")
    nothing_was_installed(lab)


@pytest.mark.parametrize("settings, words", [
    ({"key": "the-right-key"}, []),
    ({"model": "some-other-model"}, []),
    ({"quota_texts": 0}, []),
])
def test_a_refusal_is_exit_5(lab, settings, words):
    lab.documents(3)
    provider = lab.provider(**settings)
    refused(lab.run(lab.file(**lab.http(provider)), code=5), provider.url, *words)
    nothing_was_installed(lab)


# --- 3, 6, 7, 8, 9 ---

def test_until_reached_is_exit_3_with_a_random_share_embedded(lab):
    count = 2000
    journal = lab.documents(count)
    file = lab.file()
    process = lab.run(file, "--until", 0.2, code=3)
    assert "next:" in process.out
    stored = dict(lab.target_vectors())
    assert 0.15 * count < len(stored) < 0.25 * count
    bodies = journal.bodies()
    lab.check_target({key: bodies[key] for key in stored})
    thirds = [sum(1 for key in stored if low < int(key) <= low + count / 4) for low in range(0, count, count // 4)]
    assert min(thirds) > len(stored) / 8, f"the share is not random: {thirds}"
    lab.run(file)
    lab.check_completed(journal)


def test_a_second_unfinished_migration_is_exit_6(lab):
    lab.documents(3)
    lab.run(lab.file())
    second = lab.file("m2.json", id="m2", target={"model": "third-hash"})
    refused(lab.run(second, code=6), "m1", "finalize")


def test_operations_that_the_state_forbids_are_exit_6(lab):
    lab.documents(3)
    lab.run(lab.file())
    for words in (["pause", "m1"], ["resume", "m1"], ["cancel", "m1"], ["cutover", "m1"], ["finalize", "m1"]):
        if words[0] == "cutover":
            continue        # queries have gone over: nothing to do
        refused(lab.call(*words, code=6), "invalid migration transition from completed")
    lab.call("rollback", "m1")
    process = lab.run(lab.file(), code=6)
    assert "rolled back" in process.err and "cutover" in process.err
    lab.call("finalize", "m1")
    lab.call("cutover", "m1", code=6)


def test_cancelled_is_exit_6_and_paused_8(lab):
    lab.documents(500)
    provider = lab.provider(latency_ms=100)
    file = lab.file(**lab.http(provider))
    lab.run(file, "--max-runtime", 0.3, "--batch-size", 10, code=3)
    lab.call("pause", "m1", "--reason", "lunch")
    process = lab.run(file, code=8)
    assert "lunch" in process.err and "reembed resume m1" in process.err
    lab.call("cancel", "m1")
    process = lab.run(file, code=6)
    assert "cancelled" in process.err and "another id" in process.err


def test_more_failures_than_allowed_are_exit_7_and_no_flip(lab):
    journal = lab.documents(200)
    provider = lab.provider(fault={"kind": "nan", "marker": "document 7,"})
    file = lab.file(**lab.http(provider))
    process = lab.run(file, code=7)
    assert "failed" in process.err and "cutover m1 --force" in process.err, process
    assert lab.failures() == {"7": "invalid_vector"}
    assert lab.database.value("SELECT reembed.route_query('docs')") == "legacy"
    assert lab.state() == "in_progress"
    bodies = journal.bodies()
    del bodies["7"]
    lab.check_target(bodies)
    lab.check_counts()

    lab.call("cutover", "m1", code=7)
    assert lab.database.value("SELECT reembed.route_query('docs')") == "legacy"
    lab.call("cutover", "m1", "--force")
    process = lab.run(file, code=9)
    assert "failed" in process.out and "reembed failures m1" in process.out
    assert lab.state() == "completed"
    lab.run(file, code=9)


def test_failures_within_what_is_allowed_are_exit_9(lab):
    lab.documents(200)
    provider = lab.provider(fault={"kind": "zeros", "marker": "document 7,"})
    process = lab.run(lab.file(**merged(lab.http(provider), {"gates": {"max_failed": 1}})), code=9)
    assert "reembed failures m1" in process.out
    assert lab.state() == "completed" and lab.failures() == {"7": "invalid_vector"}


def test_skips_alone_are_exit_0(lab):
    lab.documents(20)
    lab.database.execute("UPDATE docs SET body = '' WHERE id = 3")
    lab.run(lab.file())
    assert lab.failures() == {"3": "empty_content"}
    assert lab.progress("skipped, failed, effective_coverage") == (1, 0, 1)


def test_without_auto_cutover_the_run_ends_7_and_waits_for_a_person(lab):
    journal = lab.documents(50)
    file = lab.file(gates={"auto_cutover": False})
    process = lab.run(file, code=7)
    assert "auto_cutover" in process.err and "reembed cutover m1" in process.err
    lab.call("cutover", "m1")
    lab.run(file)
    lab.check_completed(journal)


def test_a_budget_pauses_with_exit_8_and_goes_on_when_it_is_raised(lab):
    journal = lab.documents(400)
    provider = lab.provider()
    base = lab.http(provider)
    limited = merged(base, {"backfill": {"batch_size": 10, "max_concurrent": 2}, "limits": {"max_tokens": 4000}})
    process = lab.run(lab.file(**limited), code=8)
    assert "budget" in process.err, process
    assert lab.state() == "paused"
    spent = provider.counters()["tokens"]
    in_flight = 2 * 10 * 80
    assert 4000 - in_flight <= spent <= 4000 + in_flight
    lab.run(lab.file(**limited), code=8)
    lab.run(lab.file(**merged(limited, {"limits": {"max_tokens": 1000000}})))
    lab.check_completed(journal)


def test_status_of_a_model_that_was_embedded_names_it(lab):
    lab.documents(5)
    lab.run(lab.file())
    status = json.loads(lab.call("status", "m1", "--json").out)
    assert status["state"] == "completed" and status["routing"]["query_model"] == MODEL
    assert {gate["gate"] for gate in status["gates"]} == {"coverage", "index", "change_lag", "failed", "overlap", "approval"}
