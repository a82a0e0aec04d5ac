"""How documents become requests: budgets of a request, equal texts, policies; and what a server that changes in the middle
of a run leads to."""
import collections
import json

import pytest

import oracle
from lab import merged
from program import eventually, sized


def embedded(provider):
    """Requests that brought vectors, without the canary's."""
    canary = provider.requests()[0]["hashes"]
    return [request for request in provider.requests() if request["status"] == 200 and request["hashes"] != canary]


@pytest.mark.parametrize("limit, most", [("max_items", 7), ("max_request_tokens", 120), ("max_request_bytes", 500)])
def test_no_request_is_larger_than_the_file_allows(lab, limit, most):
    journal = lab.documents(200, words=6)
    provider = lab.provider()
    lengths = {f"{oracle.xxh64(text.encode()):016x}": len(text.encode()) for text in journal.bodies().values()}
    lab.run(lab.file(**lab.http(provider, **{limit: most})))
    lab.check_completed(journal)
    for request in embedded(provider):
        size = {"max_items": request["texts"], "max_request_tokens": request["tokens"],
                "max_request_bytes": sum(lengths[text] for text in request["hashes"])}[limit]
        assert size <= most
    # and not much smaller either
    assert len(embedded(provider)) <= 2 * {"max_items": 200 / 7, "max_request_tokens": sum(lengths.values()) / 4 / 120,
                                           "max_request_bytes": sum(lengths.values()) / 500}[limit] + 10


def test_limits_that_are_lower_than_the_dialects_are_learned(lab):
    """A server that takes fewer texts, tokens than its kind: a few refusals, and then none."""
    journal = lab.documents(1000, words=6)
    provider = lab.provider(max_items=9, max_request_tokens=150)
    lab.run(lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 40}})))
    lab.check_completed(journal)
    assert not lab.failures()
    refused = [request for request in provider.requests() if request["status"] != 200]
    assert 1 <= len(refused)
    assert not [request for request in refused if request["request"] > len(provider.requests()) / 2]


def test_equal_texts_are_sent_once(lab):
    journal = lab.documents(400, words=3)
    lab.database.execute("UPDATE docs SET body = 'text number ' || id % 5")
    for key in journal.documents:
        journal.documents[key] = (f"text number {key % 5}", journal.documents[key][1])
    provider = lab.provider()
    lab.run(lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 100}})))
    lab.check_completed(journal)
    assert all(request["texts"] == 5 for request in embedded(provider))
    assert len(embedded(provider)) == 4


@pytest.mark.parametrize("policy, kind, code", [("skip", "skipped", 0), ("fail", "failed", 9)])
def test_documents_without_text_are_treated_by_policy_and_never_sent(lab, policy, kind, code):
    journal = lab.documents(20)
    empty = {3: "", 5: " \t\n ", 7: None}
    for key, text in empty.items():
        lab.database.execute("UPDATE docs SET body = %s WHERE id = %s", text, key)
        journal.documents[key] = (text, journal.documents[key][1])
    provider = lab.provider()
    lab.run(lab.file(**merged(lab.http(provider, on_empty=policy), {"gates": {"max_failed": 3}})), code=code)
    rows = lab.database.rows("SELECT doc_id, kind, reason FROM reembed.failures ORDER BY doc_id")
    assert rows == [(str(key), kind, "empty_content") for key in sorted(empty)]
    lab.check_target(journal)
    assert provider.counters()["texts"] == 17 + 1


def test_the_limits_that_tei_tells_are_used(lab):
    journal = lab.documents(200, words=4)
    provider = lab.provider(dialect="tei", max_items=13, max_text_tokens=100, model="new-hash")
    url = provider.url.removesuffix("/v1")
    lab.run(lab.file(**merged(lab.http(provider, dialect="tei", url=url), {"backfill": {"batch_size": 100}})))
    lab.check_completed(journal)
    assert provider.counters()["refused"] == 0
    assert max(request["texts"] for request in provider.requests()) == 13


# --- the server changes in the middle ---

def middle(lab, **settings):
    provider = lab.provider(latency_ms=20)
    journal = lab.documents(1000)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(200)
    provider.set(**settings)
    return journal, provider, file, process


@pytest.mark.parametrize("settings, repair, words", [
    ({"fault": {"kind": "wrong_dimensions", "item": -1, "dimensions": 24}}, {"faults": []}, "24 dimensions"),
    ({"fault": {"kind": "wrong_model"}}, {"faults": []}, "another-model"),
    ({"fault": {"kind": "quota"}}, {"faults": []}, "no quota left"),
    ({"fault": {"kind": "redirect"}}, {"faults": []}, "redirect"),
    ({"key": "another"}, {"key": ""}, "refuses the key"),
    ({"fault": {"kind": "status", "status": 404}}, {"faults": []}, "knows no model"),
    ({"poison": "document"}, {"poison": "POISON"}, "refuse"),
], ids=["dimensions", "model", "quota", "redirect", "key", "path", "everything"])
def test_what_no_document_is_to_blame_for_stops_with_5_and_stores_nothing_wrong(lab, settings, repair, words):
    journal, provider, file, process = middle(lab, **settings)
    if "poison" in settings:        # the canary too: a server that refuses everything
        provider.set(poison=" ")
    process.ends(5, 60)
    assert words in process.err, process
    assert lab.state() == "failed" and words in lab.progress("reason")
    assert not lab.failures()
    bodies = journal.bodies()
    lab.check_target({key: bodies[key] for key in dict(lab.target_vectors())})
    lab.check_nothing_claimed()
    lab.run(file, code=5)           # not repaired: the same again, and still nobody is blamed
    assert not lab.failures()
    provider.set(**repair)
    lab.run(file)
    lab.check_completed(journal)
    assert not lab.failures()


ENDLESS = [{"kind": "big_body"}, {"kind": "gzip_bomb"}]
OUT_OF_ORDER = ENDLESS + sized([{"kind": "hang"}, {"kind": "reset", "bytes": 300}, {"kind": "html", "status": 502},
                                {"kind": "status", "status": 503, "retry": "none"}, {"kind": "empty"}], [])


@pytest.mark.parametrize("fault", OUT_OF_ORDER, ids=lambda fault: fault["kind"])
def test_a_server_that_is_out_of_order_is_waited_for(lab, fault):
    provider = lab.provider(latency_ms=20)
    journal = lab.documents(600)
    file = lab.file(**merged(lab.http(provider, timeout_secs=2), {"backfill": {"batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    provider.set(fault=fault)
    eventually(lambda: "provider is away" in process.err, 120, "the outage to be told")
    assert process.running and lab.state() == "in_progress" and not lab.failures()
    memory = int(next(line.split()[1] for line in open(f"/proc/{process.pid}/status") if line.startswith("VmHWM")))
    assert memory < 200 * 1024, f"{memory} KB of memory for a reply without end"
    provider.set(faults=[])
    process.ends(0, 120)
    lab.check_completed(journal)
    assert not lab.failures()


def test_failures_tell_attempts_and_the_last_error_and_can_be_retried(lab):
    journal = lab.documents(100)
    provider = lab.provider(poison="document 40,", poison_status=422)
    file = lab.file(**merged(lab.http(provider), {"gates": {"max_failed": 1}}))
    lab.run(file, code=9)
    first = json.loads(lab.call("failures", "m1", "--json").out)[0]
    assert first["doc_id"] == "40" and first["kind"] == "failed" and first["reason"] == "permanent_api_error"
    assert first["http_status"] == 422 and "could not be processed" in first["detail"] and first["attempts"] >= 1
    provider.set(poison="document 40,", poison_status=400)
    lab.call("retry", "m1", "40")
    lab.run(file, code=9)
    again = json.loads(lab.call("failures", "m1", "--json").out)[0]
    assert again["http_status"] == 400 and again["attempts"] > first["attempts"]
    assert again["first_at"] == first["first_at"] and again["last_at"] > first["last_at"]
    lab.call("skip", "m1", "40", "--reason", "known to be bad")
    lab.run(file)
    assert lab.failures() == {"40": "manual_skip"}
    times = collections.Counter(provider.paid())
    assert all(times[f"{oracle.xxh64(text.encode()):016x}"] == 1
               for key, text in journal.bodies().items() if key != "40")


def test_a_key_is_sent_in_the_clear_to_this_machine_only(lab):
    lab.documents(3)
    for url in ("http://192.0.2.1/v1", "http://example.com/v1", "http://127.0.0.1.example.com/v1"):
        process = lab.run(lab.file(target={"provider": {"kind": "openai", "url": url, "api_key_env": "THE_KEY"}}), code=2,
                          env={"THE_KEY": "sk-0123456789"})
        assert "plain http" in process.err
