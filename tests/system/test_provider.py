"""What embeddings servers do: outages, refusals, limits, replies that are wrong. No outage fails a document, no bad
document costs another one its vector."""
import collections
import time

import pytest

from lab import MODEL, merged
from program import eventually, scaled


def start(lab, provider, count=400, batch=10, **changes):
    journal = lab.documents(count)
    file = lab.file(**merged(merged(lab.http(provider), {"backfill": {"batch_size": batch}}), changes))
    return journal, file, lab.start("run", file)


# --- the server is away, or refuses ---

def test_a_server_that_is_down_in_the_middle_is_waited_for(lab):
    provider = lab.provider(latency_ms=30)
    journal, file, process = start(lab, provider, 1000)
    lab.wait_processed(100)
    provider.set(fault={"kind": "status", "status": 502})
    eventually(lambda: "provider is away" in process.err, 60, "the outage to be told")
    assert "502" in process.err
    note = eventually(lambda: lab.database.value("SELECT max(note) FROM reembed.workers WHERE note IS NOT NULL"), 10, "a note")
    assert "away" in note
    assert process.running and lab.state() == "in_progress" and not lab.failures()
    # the breaker lets next to nothing through
    before = provider.counters()["requests"]
    time.sleep(2)                       # two seconds of outage are what is measured
    assert provider.counters()["requests"] - before <= 10
    provider.set(faults=[], latency_ms=0)
    process.ends(0, 60)
    lab.check_completed(journal)
    assert not lab.failures()


def test_a_server_that_is_gone_and_comes_back(lab):
    provider = lab.provider(latency_ms=30)
    journal, file, process = start(lab, provider, 600)
    lab.wait_processed(100)
    provider.set(fault={"kind": "reset", "bytes": 0})
    eventually(lambda: "provider is away" in process.err, 60, "the outage to be told")
    assert not lab.failures()
    provider.set(faults=[])
    process.ends(0, 60)
    lab.check_completed(journal)
    assert not lab.failures()


@pytest.mark.parametrize("settings, repair", [
    ({"key": "revoked"}, {"key": ""}),
    ({"quota_texts": 0}, {"quota_texts": -1}),
    ({"model": "some-other-model"}, {"model": ""}),
])
def test_a_refusal_in_the_middle_stops_with_5_and_goes_on_after_the_repair(lab, settings, repair):
    provider = lab.provider(latency_ms=20)
    journal, file, process = start(lab, provider, 1000)
    lab.wait_processed(200)
    provider.set(**settings)
    process.ends(5, 30)
    assert lab.state() == "failed" and not lab.failures()
    error = lab.progress("reason")
    assert provider.url in error, error
    assert lab.progress("error_count") == 1
    lab.check_nothing_claimed()
    stored = len(lab.target_vectors())
    assert stored >= 200 and lab.processed() <= stored

    paid = provider.counters()["texts"]
    provider.set(**repair)
    lab.run(file)
    lab.check_completed(journal)
    assert not lab.failures()
    # what was paid before is not paid again, but for what was refused (one text is the canary)
    assert provider.counters()["texts"] - paid == 1000 - stored + 1


def test_all_processes_end_when_one_is_refused(lab):
    provider = lab.provider(latency_ms=50)
    journal, file, process = start(lab, provider, 2000)
    second = lab.start("run", file)
    lab.wait_processed(100)
    provider.set(key="revoked")
    process.ends(5, 30)
    second.ends(5, 30)
    assert lab.database.value("SELECT count(*) FROM reembed.events WHERE event = 'fail'") == 1


def test_too_many_requests_are_waited_for_as_the_server_asks(lab):
    provider = lab.provider(fault={"kind": "status", "status": 429, "at": 5, "retry": "seconds", "retry_ms": 2000})
    journal, file, process = start(lab, provider, 600, backfill={"max_concurrent": 4})
    process.ends(0, 60)
    lab.check_completed(journal)
    counters = provider.counters()
    assert counters["violations"] == 0 and counters["refused"] >= 1
    assert process.seconds >= 2


def test_the_wait_that_one_process_is_told_holds_for_all(lab):
    provider = lab.provider(latency_ms=20, fault={"kind": "status", "status": 429, "at": 30, "retry": "seconds", "retry_ms": 2000},
                            grace_ms=300)
    journal, file, process = start(lab, provider, 1500)
    second = lab.start("run", file)
    process.ends(0, 60)
    second.ends(0, 60)
    lab.check_completed(journal)
    assert provider.counters()["violations"] == 0


def test_requests_a_minute_are_kept(lab):
    provider = lab.provider(requests_per_minute=60, minute_ms=3000, retry="seconds")
    journal, file, process = start(lab, provider, scaled(300, 100), limits={"requests_per_minute": 1000})
    process.ends(0, 60)
    lab.check_completed(journal)
    assert provider.counters()["refused"] == 0


def test_a_limit_of_documents_a_second_is_kept(lab):
    journal = lab.documents(300)
    file = lab.file(backfill={"batch_size": 10}, limits={"max_documents_per_second": 100})
    process = lab.run(file)
    assert 2 <= process.seconds
    lab.check_completed(journal)


# --- one document ---

FAULTS = ["nan", "zeros", "null", "null_element", "huge", "wrong_dimensions"]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_vector_of_one_document_costs_the_others_nothing(lab, kind):
    provider = lab.provider(fault={"kind": kind, "marker": "document 77,"})
    journal, file, process = start(lab, provider, 200, 50, gates={"max_failed": 1})
    process.ends(9)
    rows = lab.database.rows("SELECT doc_id, kind, reason, detail, attempts FROM reembed.failures")
    assert [row[:3] for row in rows] == [("77", "failed", "invalid_vector")], rows
    assert rows[0][3] and rows[0][4] >= 1
    bodies = journal.bodies()
    del bodies["77"]
    lab.check_target(bodies)
    lab.check_counts()
    listed = lab.call("failures", "m1")
    assert "77" in listed.out and "invalid_vector" in listed.out
    # an edit heals it without being asked
    provider.set(faults=[])
    lab.database.execute("UPDATE docs SET body = 'a better text' WHERE id = 77")
    lab.run(file)
    assert not lab.failures()
    lab.check_target(journal.bodies() | {"77": "a better text"})
    lab.check_counts()


def test_a_text_that_makes_its_whole_request_fail_is_found(lab):
    provider = lab.provider(poison="document 123,", poison_status=400)
    journal, file, process = start(lab, provider, 400, 100, gates={"max_failed": 1})
    process.ends(9)
    rows = lab.database.rows("SELECT doc_id, reason, http_status FROM reembed.failures")
    assert rows == [("123", "permanent_api_error", 400)]
    bodies = journal.bodies()
    del bodies["123"]
    lab.check_target(bodies)
    requests = provider.counters()["requests"]
    assert requests <= 4 + 1 + 2 * 7 + 8, f"{requests} requests to find one text in a hundred"


def test_many_bad_documents_are_told_apart(lab):
    provider = lab.provider(poison="POISON", poison_status=422)
    journal = lab.documents(300)
    bad = lab.random.sample(range(1, 301), 12)
    for key in bad:
        journal.documents[key] = (f"POISON {key}", journal.documents[key][1])
    lab.database.execute("UPDATE docs SET body = 'POISON ' || id WHERE id = ANY (%s)", bad)
    file = lab.file(**merged(lab.http(provider), {"gates": {"max_failed": 12}, "backfill": {"batch_size": 100}}))
    lab.run(file, code=9)
    assert set(lab.failures()) == {str(key) for key in bad}
    lab.check_target({key: text for key, text in journal.bodies().items() if int(key) not in bad})
    lab.check_counts()


def test_retry_by_hand_and_skip(lab):
    provider = lab.provider(fault={"kind": "zeros", "marker": "document 1"})
    journal, file, process = start(lab, provider, 100, 50)
    process.ends(7)
    failed = {str(key) for key in [1, *range(10, 20), 100]}
    assert set(lab.failures()) == failed
    lab.call("skip", "m1", "10", "11", "--reason", "not worth it")
    assert lab.progress("skipped, failed") == (2, 10)
    # still broken: a retry finds that out
    lab.call("retry", "m1", "12")
    lab.run(file, code=7)
    assert set(lab.failures()) == failed and lab.failures()["10"] == "manual_skip"
    provider.set(faults=[])
    lab.call("retry", "m1", "12", "13")
    lab.run(file, code=7)
    assert set(lab.failures()) == failed - {"12", "13"}
    lab.call("retry", "m1")
    lab.run(file)
    assert not lab.failures()
    lab.check_completed(journal)


def test_a_document_that_fails_in_the_window_does_not_stop_the_others(lab):
    provider = lab.provider()
    journal, file, process = start(lab, provider, 100)
    process.ends(0)
    provider.set(fault={"kind": "nan", "marker": "BAD"})
    lab.database.execute("UPDATE docs SET body = 'edited ' || id WHERE id <= 20")
    lab.database.execute("UPDATE docs SET body = 'BAD' WHERE id = 7")
    lab.run(file, code=9)
    bodies = journal.bodies() | {str(key): f"edited {key}" for key in range(1, 21)}
    del bodies["7"]         # its old vector is not passed off as current
    lab.check_target(bodies)


# --- wrong replies ---

@pytest.mark.parametrize("kind", ["duplicate", "no_index", "fewer", "more", "wrong_type", "garbage", "empty", "cut_json",
                                  "html", "error_200", "truncate"])
def test_a_malformed_reply_now_and_then_is_asked_for_again(lab, kind):
    provider = lab.provider(fault={"kind": kind, "every": 5})
    journal, file, process = start(lab, provider, 200, 20)
    process.ends(0, 120)
    lab.check_completed(journal)
    assert not lab.failures()
    assert provider.counters()["faults"] > 0


def test_a_reply_in_another_order_is_put_in_order(lab):
    provider = lab.provider(fault={"kind": "reorder"})
    journal, file, process = start(lab, provider, 200, 50)
    process.ends(0)
    lab.check_completed(journal)


@pytest.mark.parametrize("kind", ["duplicate", "fewer", "wrong_type"])
def test_a_server_whose_replies_are_always_malformed_stores_nothing_wrong(lab, kind):
    provider = lab.provider(latency_ms=10)
    journal, file, process = start(lab, provider, 1000, 20)
    lab.wait_processed(100)
    provider.set(fault={"kind": kind})
    eventually(lambda: provider.counters()["faults"] >= 5, 30, "malformed replies")
    eventually(lambda: not process.running or "provider is away" in process.err, 60, "the run to say so")
    assert not lab.failures(), "a malformed reply is no document's fault"
    stored = dict(lab.target_vectors())
    bodies = journal.bodies()
    lab.check_target({key: bodies[key] for key in stored})
    provider.set(faults=[])
    if process.running:
        process.ends(0, 90)
    else:
        assert process.code == 5, process
        lab.run(file)
    lab.check_completed(journal)


# --- another model behind the same name ---

def test_another_model_behind_the_same_name_is_noticed(lab):
    provider = lab.provider(latency_ms=20)
    journal = lab.documents(600)
    name = {"model": "their-name"}
    file = lab.file(**merged(lab.http(provider, **name), {"backfill": {"batch_size": 10}}))
    lab.run(file, "--max-runtime", 0.5, code=3)
    before = dict(lab.target_vectors())
    assert before
    # the address now leads to a server whose vectors are others, of the same size
    other = lab.file("other.json", **merged(lab.http(provider, model="their-name-v2"), {"backfill": {"batch_size": 10}}))
    process = lab.run(other, code=5)
    assert "another model" in process.err and "canary" in process.err
    assert dict(lab.target_vectors()).keys() == before.keys()
    assert lab.state() == "failed"
    lab.run(file)
    lab.check_target(journal, model="their-name")
    lab.run(other)                      # completed, nothing to embed: nothing is asked
    lab.database.execute("UPDATE docs SET body = 'edited' WHERE id = 1")
    process = lab.run(other, code=5)
    assert "another model" in process.err
    # nothing was mixed
    lab.check_target({key: text for key, text in journal.bodies().items()}, model="their-name")


def test_the_canary_of_the_source_is_kept_too(lab):
    provider = lab.provider()
    lab.documents(50)
    part = {"source": {"provider": {"kind": "openai", "url": provider.url, "model": "old-v1"}}}
    lab.run(lab.file(**part))
    lab.database.execute("UPDATE docs SET body = 'edited' WHERE id = 1")
    changed = merged(part, {"source": {"provider": {"model": "old-v2"}}})
    assert "another model" in lab.run(lab.file("changed.json", **changed), code=5).err


# --- dialects ---

@pytest.mark.parametrize("dialect", ["openai", "tei", "ollama", "cohere", "jina", "voyage", "mistral", "gemini", "vllm",
                                     "llama-server", "infinity", "localai", "tei-openai"])
def test_every_dialect_brings_the_right_vectors(lab, dialect):
    count = 300
    journal = lab.documents(count)
    provider = lab.provider(dialect=dialect, **({"model": MODEL} if dialect == "tei" else {}))
    url = provider.url if dialect not in ("tei", "ollama", "infinity") else provider.url.removesuffix("/v1")
    if dialect in ("cohere", "gemini"):
        url = provider.url.removesuffix("/v1") + ("/v2" if dialect == "cohere" else "/v1beta")
    lab.run(lab.file(**merged(lab.http(provider), {"target": {"provider": {"dialect": dialect, "url": url}}})))
    lab.check_completed(journal)
    times = collections.Counter(provider.paid())
    assert sum(times.values()) == count + 1
