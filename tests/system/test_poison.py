"""Many texts that make their whole request fail, and a server that fails at random: only what is at fault is recorded, and
little more is paid than what the faults destroyed.

REEMBED_TEST_LONG=1 runs them with 20,000 documents."""
import collections

import pytest

import oracle
from lab import merged
from program import eventually, sized


@pytest.mark.parametrize("status", [400, 500])
def test_texts_that_poison_their_request_are_found_and_nothing_else(lab, status):
    count, bad = sized(20000, 3000), sized(40, 6)
    if status >= 500:       # tried again before it is believed, at each step of the search: that takes a while
        count, bad = sized(5000, 300), sized(10, 1)
    journal = lab.documents(count, words=5)
    poisons = lab.random.sample(range(1, count + 1), bad)
    for key in poisons:
        journal.documents[key] = (f"POISON {key}", journal.documents[key][1])
    lab.database.execute("UPDATE docs SET body = 'POISON ' || id WHERE id = ANY (%s)", poisons)
    provider = lab.provider(poison_status=status)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 100, "max_concurrent": 4},
                                                  "gates": {"max_failed": bad}}))
    lab.run(file, code=9, seconds=600)
    assert lab.failures() == {str(key): "permanent_api_error" for key in poisons}
    assert all(row == ("failed", status) for row in lab.database.rows("SELECT kind, http_status FROM reembed.failures"))
    lab.check_target({key: text for key, text in journal.bodies().items() if int(key) not in poisons})
    lab.check_counts()
    lab.check_untouched(journal)
    calls = provider.counters()["requests"]
    print(f"{calls} requests for {count} documents, {bad} of them poison")
    if status == 400:
        assert calls <= count / 100 + bad * 15
    # every document that was embedded was embedded once: a request that is refused costs nothing
    times = collections.Counter(provider.paid())
    assert all(times[f"{oracle.xxh64(text.encode()):016x}"] == (0 if int(key) in poisons else 1)
               for key, text in journal.bodies().items())


FAULTS = [
    {"kind": "status", "status": 429, "retry": "ms", "retry_ms": 20},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502},
    {"kind": "status", "status": 503, "retry": "none"},
    {"kind": "status", "status": 424},
    {"kind": "html"},
    {"kind": "html", "status": 502},
    {"kind": "error_200"},
    {"kind": "reset", "bytes": 0},
    {"kind": "reset", "bytes": 700},
    {"kind": "truncate"},
    {"kind": "cut_json"},
    {"kind": "wrong_type"},
    {"kind": "wrong_type", "variant": 3},
    {"kind": "garbage"},
    {"kind": "empty"},
    {"kind": "fewer"},
    {"kind": "more"},
    {"kind": "duplicate"},
]
# These destroy nothing: what comes is used.
HARMLESS = [{"kind": "reorder"}, {"kind": "no_index"}, {"kind": "drip", "bytes": 20000, "ms": 1}]


def at_random(faults, share):
    """Each request meets one of the faults with this probability in all, each of them equally often."""
    chances, left = [], 1.0
    for _ in faults:
        chances.append(share / len(faults) / left)
        left -= share / len(faults)
    return [{**fault, "probability": chance} for fault, chance in zip(faults, chances)]


def test_a_run_under_random_faults_completes_and_pays_little_more(lab):
    count = sized(20000, 3000)
    journal = lab.documents(count, words=5)
    provider = lab.provider(faults=at_random(FAULTS + HARMLESS, 0.3))
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20, "max_concurrent": 8}}))
    process = lab.run(file, seconds=600)
    lab.check_completed(journal)
    assert not lab.failures()
    requests = provider.requests()
    faults = collections.Counter(request["outcome"] for request in requests if request["outcome"] != "ok")
    print(f"{len(requests)} requests, {sum(faults.values())} with a fault: {dict(faults)}; {process.seconds:.1f} s")
    assert sum(faults.values()) >= 0.2 * len(requests)
    # what arrived whole and was usable, against what was destroyed on the way
    harmless = {"ok"} | {fault["kind"] for fault in HARMLESS}
    used = sum(request["texts"] for request in requests if request["outcome"] in harmless)
    destroyed = sum(request["texts"] for request in requests if request["outcome"] not in harmless)
    print(f"{used} texts paid and used, {destroyed} destroyed by faults, {count} documents")
    assert count <= used <= count * 1.05


@pytest.mark.parametrize("processes", [2])
def test_several_processes_under_random_faults_complete(lab, processes):
    count = sized(20000, 2000)
    journal = lab.documents(count, words=5)
    provider = lab.provider(faults=at_random(FAULTS + HARMLESS, 0.3))
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20, "max_concurrent": 4}}))
    running = [lab.start("run", file) for _ in range(processes)]
    for process in running:
        process.ends(0, 600)
    lab.check_completed(journal)
    assert not lab.failures()
    hashes = {f"{oracle.xxh64(text.encode()):016x}" for text in journal.bodies().values()}
    sent = {text for request in provider.requests() for text in request["hashes"]}
    assert len(sent - hashes) == 1, "what was sent besides the documents is the canary"


def test_an_outage_in_the_middle_of_a_search_blames_nobody(lab):
    """A server that dies while a poison text is being looked for: what was not decided is decided later."""
    journal = lab.documents(600, words=5)
    lab.database.execute("UPDATE docs SET body = 'POISON' WHERE id = 77")
    provider = lab.provider(latency_ms=20)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 100, "max_concurrent": 1},
                                                  "gates": {"max_failed": 1}}))
    provider.set(fault={"kind": "status", "status": 503, "retry": "none", "marker": "document 78,"})
    process = lab.start("run", file)
    eventually(lambda: any(request["outcome"] == "status" for request in provider.requests()), 30, "the search")
    provider.set(faults=[{"kind": "reset", "bytes": 0}])
    eventually(lambda: "provider is away" in process.err, 60, "the outage to be told")
    assert "78" not in lab.failures()
    provider.set(faults=[])
    process.ends(9, 60)
    assert lab.failures() == {"77": "permanent_api_error"}
    bodies = journal.bodies()
    del bodies["77"]
    lab.check_target(bodies)
