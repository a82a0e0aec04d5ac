"""A whole run under valgrind: no invalid access, nothing leaked."""
import re
import shutil

import pytest

from lab import merged
from program import SCALE

pytestmark = [
    pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed"),
    pytest.mark.skipif(SCALE < 1, reason="a sanitizer is looking already"),
]

VALGRIND = ("valgrind", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
            "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=99", "--num-callers=20")


def run(lab, *words, code=0):
    process = lab.start(*words, wrapper=VALGRIND)
    process.ends(code, 180)
    summary = re.search(r"ERROR SUMMARY: (\d+) errors", process.err)
    assert summary and summary.group(1) == "0", process
    assert "definitely lost: 0 bytes" in process.err or "no leaks are possible" in process.err, process
    return process


def test_a_complete_run_in_process(lab):
    journal = lab.documents(300)
    lab.database.execute("UPDATE docs SET body = '' WHERE id = 5")
    journal.documents[5] = ("", journal.documents[5][1])
    file = lab.file(source={"provider": {"kind": "hashing"}}, target={"index": {"method": "hnsw"}})
    run(lab, "run", file)
    lab.check_completed(journal)
    lab.database.execute("UPDATE docs SET body = body || '!' WHERE id <= 20")
    for key in range(1, 21):
        body, title = journal.documents[key]
        journal.documents[key] = (body + "!", title)
    run(lab, "run", file)
    lab.check_completed(journal)


def test_a_run_with_an_embeddings_server_and_its_faults(lab):
    journal = lab.documents(400)
    provider = lab.provider(fault={"kind": "nan", "marker": "document 7,"}, latency_ms=5)
    provider.set(fault={"kind": "status", "status": 429, "at": 4, "retry": "ms", "retry_ms": 100})
    provider.set(fault={"kind": "reset", "at": 6})
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20}, "gates": {"max_failed": 1}}))
    run(lab, "run", file, code=9)
    assert lab.failures() == {"7": "invalid_vector"}
    bodies = journal.bodies()
    del bodies["7"]
    lab.check_target(bodies)


def test_refusals(lab):
    lab.documents(10)
    provider = lab.provider(key="another-key")
    run(lab, "run", lab.file(**lab.http(provider)), code=5)
    run(lab, "run", lab.file("wrong.json", backfill={"batchsize": 1}), code=2)
    run(lab, "status", "nobody", code=2)


def test_a_run_that_is_paused(lab):
    lab.documents(2000)
    provider = lab.provider(latency_ms=100)
    process = lab.start("run", lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}})), wrapper=VALGRIND)
    lab.wait_processed(20)
    lab.database.execute("SELECT reembed.pause('m1')")
    process.ends(8, 60)
    assert "ERROR SUMMARY: 0 errors" in process.err, process
