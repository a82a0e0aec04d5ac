"""The rollback window, both ways: what is written reaches both spaces, and who goes back knows what that costs."""
import json
import os
import pty
import subprocess

import pytest

from application import Application
from lab import MODEL, OLD_MODEL
from program import BINARY, clean_environment, eventually, scaled
from spaces import SOURCE_HASHING, answers, fill_source, routing

COLUMN = {"target": {"placement": "column"}}
CHANGES = 1000


def write(lab, journal, changes):
    """So many inserts, edits and deletes, by an application that knows nothing of vectors."""
    application = Application(lab.url, journal, lab.random.randrange(2 ** 32), pace=0, first=max(journal.documents) + 1)
    application.start()
    eventually(lambda: application.changes >= changes, 120, f"{changes} changes")
    application.stop()
    return application.changes


@pytest.mark.parametrize("placement", [{}, COLUMN], ids=["side", "column"])
def test_a_thousand_changes_in_the_window_then_back_then_forward_again(lab, placement):
    """Each space answers as if it had been embedded from scratch just now: every vector is recomputed from its text."""
    journal = lab.documents(scaled(1000, 300))
    fill_source(lab, journal)
    file = lab.file(**SOURCE_HASHING | {"target": {**lab.config()["target"], **placement.get("target", {})}})
    source = "SELECT id, embedding FROM docs"
    lab.run(file)
    assert routing(lab) == ("rollback_window", MODEL)

    written = write(lab, journal, scaled(CHANGES, 100))
    lab.run(file)
    lab.call("rollback", "m1", "--reason", "worse results")
    assert routing(lab) == ("stable", OLD_MODEL)
    lab.check_source(journal, source)
    lab.check_target(journal)
    answers(lab, journal, OLD_MODEL)

    # rolled back, run says so, but it leaves nothing undone that was recorded
    written += write(lab, journal, scaled(CHANGES, 100))
    assert "rolled back" in lab.run(file, code=6).err
    lab.check_source(journal, source)
    lab.check_target(journal)
    assert "rolled back" in lab.run(file, code=6).err

    lab.call("cutover", "m1")
    assert routing(lab) == ("rollback_window", MODEL)
    answers(lab, journal, MODEL)
    written += write(lab, journal, scaled(CHANGES, 100))
    lab.run(file)
    print(f"{written} changes")
    lab.check_completed(journal)
    if placement:
        lab.check_source(journal, source, MODEL)
        source = "SELECT id, embedding__old_hash FROM docs"
    lab.check_source(journal, source)
    answers(lab, journal, MODEL)
    lab.check_nothing_claimed()


@pytest.mark.parametrize("changes", ["in the log only", "applied to the target"])
def test_a_source_that_the_application_keeps_says_what_a_rollback_would_lose(lab, changes):
    journal = lab.documents(200)
    fill_source(lab, journal)
    lab.database.execute("UPDATE docs SET embedding = NULL WHERE id <= 5")       # missing before, so not lost by it
    file = lab.file()
    lab.run(file)
    status = lab.call("status", "m1")
    assert "5 documents have no vector there\n" in status.out
    assert json.loads(lab.call("status", "m1", "--json").out)["source_missing"] == 5

    lab.database.execute("INSERT INTO docs (id, body) SELECT i, 'new ' || i FROM generate_series(1001, 1012) i")
    lab.database.execute("DELETE FROM docs WHERE id BETWEEN 100 AND 110")
    if changes == "applied to the target":
        lab.run(file)
    assert "17 documents have no vector there, a rollback would lose 12 of them" in lab.call("status", "m1").out
    before = routing(lab)
    refused = lab.call("rollback", "m1", code=6)
    assert "12 documents" in refused.err and "public.docs.embedding" in refused.err and "--force" in refused.err
    assert routing(lab) == before
    # the application fills in what it owes; then nothing would be lost
    lab.database.execute("UPDATE docs SET embedding = (SELECT embedding FROM docs WHERE id = 50) WHERE id BETWEEN 1001 AND 1010")
    assert "2 documents" in lab.call("rollback", "m1", code=6).err
    lab.call("rollback", "m1", "--force")
    assert routing(lab) == ("stable", OLD_MODEL)
    assert lab.database.value("SELECT detail->>'lost' FROM reembed.events WHERE event = 'rollback'") == "2"


def test_a_table_of_vectors_that_the_application_keeps_is_counted_too(lab):
    journal = lab.documents(60)
    lab.database.execute("ALTER TABLE docs DROP COLUMN embedding; CREATE TABLE vecs (doc bigint PRIMARY KEY, vec vector(32))")
    fill_source(lab, journal, "vecs", "doc", "vec")
    lab.run(lab.file(source={"table": "public.vecs", "id": "doc", "column": "vec"}))
    lab.database.execute("INSERT INTO docs (id, body) VALUES (1001, 'new'), (1002, 'new too')")
    lab.database.execute("INSERT INTO vecs SELECT 1001, vec FROM vecs WHERE doc = 1")
    assert "1 documents" in lab.call("rollback", "m1", code=6).err
    lab.database.execute("INSERT INTO vecs SELECT 1002, vec FROM vecs WHERE doc = 1")
    lab.call("rollback", "m1")


def test_nothing_is_lost_by_a_rollback_when_workers_keep_the_source(lab):
    lab.documents(60)
    lab.run(lab.file(**SOURCE_HASHING))
    lab.database.execute("INSERT INTO docs (id, body) VALUES (1001, 'new')")
    assert json.loads(lab.call("status", "m1", "--json").out)["source_missing"] is None
    lab.call("rollback", "m1")


# --- finalize ---

def at_a_terminal(lab, *words, answer):
    """Runs with a terminal for stdin and stderr; returns exit code and what was shown there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([str(BINARY), *words], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
                               env=clean_environment(REEMBED_DATABASE_URL=lab.url), cwd=lab.directory)
    os.close(theirs)
    os.write(ours, (answer + "\n").encode())
    out = process.communicate(timeout=30)[0].decode()
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:             # the other end is closed
        pass
    os.close(ours)
    return process.returncode, shown.decode(), out


def test_old_vectors_are_dropped_by_name_and_never_inside_the_window(lab):
    journal = lab.documents(50)
    fill_source(lab, journal)
    lab.run(lab.file(**SOURCE_HASHING))
    assert "rollback window is open" in lab.call("finalize", "m1", "--drop-source", "--yes", code=6).err
    code, shown, _ = at_a_terminal(lab, "finalize", "m1", "--drop-source", "--now", answer="n")
    assert code != 0 and "column embedding of public.docs" in shown, shown
    assert lab.database.value("SELECT count(embedding) FROM docs") == 50 and routing(lab)[0] == "rollback_window"
    code, shown, out = at_a_terminal(lab, "finalize", "m1", "--drop-source", "--now", answer="y")
    assert code == 0 and "dropped column embedding of public.docs" in out, (shown, out)
    columns = lab.database.rows("SELECT attname FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attnum > 0 AND NOT attisdropped")
    assert columns == [("id",), ("body",), ("title",)]
    answers(lab, journal, MODEL)


def test_finalize_with_yes_drops_without_asking(lab):
    lab.documents(20)
    lab.run(lab.file())
    code, shown, out = at_a_terminal(lab, "--yes", "finalize", "m1", "--drop-source", "--now", answer="")
    assert code == 0 and "Go on?" not in shown and "dropped column embedding of public.docs" in out


def test_finalize_after_a_rollback_names_the_target_it_drops(lab):
    lab.documents(20)
    lab.run(lab.file())
    lab.call("rollback", "m1")
    table = lab.target_table()
    assert f"dropped table {table}" in lab.call("finalize", "m1").out
    assert lab.database.value("SELECT to_regclass(%s)", table) is None
