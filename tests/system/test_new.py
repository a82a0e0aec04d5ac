"""`new`: a migration file from flags, or from answers at a terminal, that `plan` takes as it stands."""
import json
import os
import pty
import re
import select

import pytest

from hub import tokenizer
from lab import DIMENSIONS
from program import BINARY, clean_environment

FLAGS = ("--source-model", "old", "--model", "new", "--dimensions", 64)


@pytest.fixture
def table(lab):
    lab.database.execute(f"CREATE TABLE articles (id uuid PRIMARY KEY, title text, body text, embedding vector({DIMENSIONS})); "
                         "INSERT INTO articles SELECT gen_random_uuid(), 'title', 'a body of some length ' || i, "
                         f"array_fill(i, array[{DIMENSIONS}])::real[]::vector FROM generate_series(1, 50) i; ANALYZE articles")
    return lab


def content(path):
    """Comments and trailing commas off."""
    text = re.sub(r"(?m)(^|\s)//.*$", "", path.read_text())
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", text))


def test_flags_alone_give_a_file_that_plan_takes(table):
    lab, provider = table, table.provider(dimensions=64)
    out = lab.call("new", *FLAGS, "--url", provider.url).out
    path = lab.directory / "articles.json"
    file = content(path)
    assert file["documents"] == {"table": "public.articles", "id": "id", "content": "body", "where": None}
    assert file["source"] == {"model": "old", "column": "embedding"}
    assert file["target"]["model"] == "new" and file["target"]["dimensions"] == 64
    assert file["target"]["provider"] == {"kind": "openai", "url": provider.url}
    assert "//" in path.read_text() and "SQL that run will use" in out      # the plan was shown
    plan = json.loads(lab.call("plan", path, "--json").out)
    assert plan["ok"] and plan["estimate"]["documents"] == 50
    lab.run(path)
    assert lab.state("articles-to-new") == "completed"


def test_every_answer_is_a_flag(table):
    path = table.directory / "all.json"
    table.call("new", "--out", path, "--id", "m7", "--collection", "texts", "--table", "articles", "--column", "embedding",
               "--key", "id", "--content", "title || ' ' || body", "--where", "title <> ''", "--source-model", "old",
               "--source-url", "http://127.0.0.1:9/v1", "--source-key-env", "OLD_KEY", "--model", "new", "--dimensions", 64,
               "--url", "http://127.0.0.1:9/v1", "--dialect", "openai", "--key-env", "NEW_KEY", "--metric", "l2", "--no-plan")
    file = content(path)
    assert (file["id"], file["collection"]) == ("m7", "texts")
    assert file["documents"]["content"] == "title || ' ' || body" and file["documents"]["where"] == "title <> ''"
    assert file["source"]["provider"]["api_key_env"] == "OLD_KEY" and file["target"]["provider"]["api_key_env"] == "NEW_KEY"
    assert file["target"]["metric"] == "l2"


def test_what_is_there_is_kept_unless_yes_is_given(table):
    path = table.directory / "mine.json"
    path.write_text("precious")
    words = ("new", *FLAGS, "--url", "http://127.0.0.1:9/v1", "--out", path, "--no-plan")
    assert "left as it is" in table.call(*words, code=2).err and path.read_text() == "precious"
    table.call(*words, "--yes")
    assert content(path)["collection"] == "articles"


def test_a_key_is_neither_taken_nor_repeated(table):
    key = "sk-proj-abcdef0123456789"
    process = table.call("new", *FLAGS, "--url", "https://api.example/v1", "--key-env", key, "--no-plan", code=2)
    assert key not in process.out + process.err and "name of an environment variable" in process.err
    assert not (table.directory / "articles.json").exists()


def test_what_is_missing_is_named_by_its_flag(table):
    assert "--source-model is needed" in table.call("new", code=2).err
    assert "--path is needed" in table.call("new", *FLAGS, code=2).err
    assert "no table public.nothing" in table.call("new", "--table", "public.nothing", code=2).err
    table.database.execute("CREATE TABLE other (id int PRIMARY KEY, body text, v vector(3))")
    process = table.call("new", code=2)
    assert "several vector columns" in process.err and "public.other.v" in process.err


def test_a_collection_without_vectors_yet(lab):
    lab.database.execute("CREATE TABLE notes (n int PRIMARY KEY, note text)")
    out = lab.call("new", "--table", "notes", "--no-source", "--model", "new", "--dimensions", 8, "--url", "http://127.0.0.1:9/v1",
                   "--out", "-").out
    assert '"source": null' in out and '"content": "note"' in out and '"id": "n"' in out


def test_at_a_terminal_it_asks_and_offers_what_it_found(table):
    folder = table.directory / "models" / "all-MiniLM-L6-v2"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"")
    (folder / "tokenizer.json").write_bytes(tokenizer())
    unusable = table.directory / "models" / "a-broken-one"      # as `model list` shows, too
    unusable.mkdir()
    (unusable / "model.onnx").write_bytes(b"")
    (unusable / "tokenizer.json").write_text("{}")
    assert [model["usable"] for model in json.loads(table.call("model", "list", "--json").out)["models"]] == [False, True]
    answers = [("unique column", ""), ("text to embed", "title || body"), ("short name", ""), ("made the old vectors", "old"),
               ("keep the old vectors", "none"), ("the new model", "1"), ("model folder", "")]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(table.directory)
        os.execve(BINARY, [str(BINARY), "new", "--no-plan"], clean_environment(REEMBED_DATABASE_URL=table.url, TERM="xterm"))
    shown = b""
    for question, answer in answers:
        while question.encode() not in shown.rpartition(b"\r\n")[2]:
            assert select.select([terminal], [], [], 30)[0], f"no question {question}: {shown.decode()}"
            shown += os.read(terminal, 4096)
        os.write(terminal, answer.encode() + b"\n")
        shown += b"\r\n"
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode()
    file = content(table.directory / "articles.json")
    assert file["documents"]["content"] == "title || body" and file["source"]["model"] == "old"
    assert file["target"]["model"] == "all-MiniLM-L6-v2" and file["target"]["dimensions"] == 384
    assert file["target"]["provider"] == {"kind": "onnx", "path": "models/all-MiniLM-L6-v2"}
    assert b"here: models/all-MiniLM-L6-v2" in shown and b"a-broken-one" not in shown and b"next:" in shown
