"""Flow control of a whole migration: what one process is told holds for all of them, by the server's own clock and journal.

REEMBED_TEST_LONG=1 runs them in full size."""
import json

import pytest

from lab import merged
from program import PATIENCE, eventually, sized

GRACE_MS = 700 * PATIENCE           # a process hears of a wait through the database: what was on its way by then counts not


def pair(lab, file):
    """Two processes that both work."""
    first = lab.start("run", file)
    second = lab.start("run", file)
    return first, second


def waits(requests):
    """Times of answers that asked for quiet, in the server's milliseconds."""
    return [request["at"] for request in requests if request["outcome"] in ("status", "rate_limit")]


# --- what the server asks for ---

STORMS = [("openai", "seconds"), ("openai", "date"), ("openai", "ms"), ("openai", "reset"), ("gemini", "body")]


@pytest.mark.parametrize("dialect, style", STORMS)
def test_no_process_sends_while_the_server_asks_for_quiet(lab, dialect, style):
    """Every answer of a storm says 429: nothing may follow it before its time, and afterwards all goes as before."""
    threads, storms = 4, sized(6, 2)
    each = 60                       # requests between two storms
    count = each * (storms + 2) * 10
    journal = lab.documents(count, words=3)
    faults = [{"kind": "status", "status": 429, "retry": style, "retry_ms": 2000 * PATIENCE, "at": each * (i + 1)}
              for i in range(storms)]
    provider = lab.provider(dialect=dialect, faults=faults, latency_ms=40, grace_ms=GRACE_MS)
    url = f"http://127.0.0.1:{provider.port}/v1" + ("beta" if dialect == "gemini" else "")
    file = lab.file(**merged(lab.http(provider, dialect=dialect, url=url),
                             {"backfill": {"batch_size": 10, "max_concurrent": threads}}))
    for process in pair(lab, file):
        process.ends(0, 120)
    lab.check_completed(journal)
    assert not lab.failures()

    requests = provider.requests()
    told = waits(requests)
    assert len(told) == storms
    assert provider.counters()["violations"] == 0
    for at in told:
        # the same by the journal: a second's rounding is the style's own
        early = [request["at"] - at for request in requests if at + GRACE_MS < request["at"] < at + 1000 * PATIENCE]
        assert not early, f"requests {early} ms after a wait of {2000 * PATIENCE} ms was told"
    # throughput came back by itself: both processes had all their requests in flight again
    after = [request["in_flight"] for request in requests if request["at"] > told[-1] + 2000 * PATIENCE]
    assert max(after) >= 2 * threads - 1, f"at most {max(after)} requests in flight after the last storm"


def test_a_server_that_says_429_without_a_time_is_left_alone_for_longer_and_longer(lab):
    journal = lab.documents(600, words=3)
    provider = lab.provider(fault={"kind": "status", "status": 429, "retry": "none", "times": 12})
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10, "max_concurrent": 4}}))
    lab.run(file, seconds=120)
    lab.check_completed(journal)
    assert not lab.failures()
    assert provider.counters()["refused"] == 12


def test_a_process_that_starts_during_a_wait_waits_too(lab):
    journal = lab.documents(1200, words=3)
    wait = 4000 * PATIENCE
    provider = lab.provider(latency_ms=20, grace_ms=300 * PATIENCE,
                            fault={"kind": "status", "status": 429, "retry": "ms", "retry_ms": wait, "at": 20})
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}}))
    first = lab.start("run", file)
    eventually(lambda: waits(provider.requests()), 30, "the refusal")
    eventually(lambda: "asks to wait" in first.err, 30, "the first process to know")
    # what is shown to people while it lasts
    note = eventually(lambda: lab.database.value("SELECT max(note) FROM reembed.workers WHERE note ~ 'asks to wait'"), 5, "a note")
    assert "asks to wait" in lab.call("status", "m1").out, note
    second = lab.start("run", file)
    first.ends(0, 60)
    second.ends(0, 60)
    lab.check_completed(journal)
    assert provider.counters()["violations"] == 0


def test_texts_that_are_cut_by_the_server_ask_for_a_permit_too(lab):
    """A text that is too long takes a second request: it counts, and waits, like any other."""
    journal = lab.documents(300, words=3)
    lab.database.execute("UPDATE docs SET body = body || repeat(' too long', 100) WHERE id % 3 = 0")
    provider = lab.provider(dialect="jina", max_text_tokens=60, latency_ms=5, grace_ms=150 * PATIENCE, faults=[
        {"kind": "status", "status": 429, "retry": "ms", "retry_ms": 900 * PATIENCE, "every": 60}])
    file = lab.file(**merged(lab.http(provider, dialect="jina"), {"backfill": {"batch_size": 5, "max_concurrent": 6}}))
    lab.run(file, seconds=120)
    assert lab.state() == "completed" and not lab.failures()
    assert lab.progress("truncated") == 100
    assert provider.counters()["violations"] == 0
    assert lab.progress("requests") == provider.counters()["requests"]


# --- limits that the file sets ---

def most_in(times, milliseconds):
    """The largest number of requests in any window of this length."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= milliseconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_requests_a_minute_hold_for_two_processes_together(lab):
    limit = 600
    count = sized(1300, 90)         # 600 a minute: 130 s, or 9
    journal = lab.documents(count, words=3)
    provider = lab.provider()
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 1, "max_concurrent": 4},
                                                  "limits": {"requests_per_minute": limit}}))
    for process in pair(lab, file):
        process.ends(0, 300)
    lab.check_completed(journal)
    times = [request["at"] for request in provider.requests()]
    assert len(times) >= count
    assert most_in(times, 60000) <= limit
    # no window of any length holds more than its share and one per cent of the limit: so no minute can
    worst = max(len(times[i:j + 1]) - limit * 0.98 * (times[j] - times[i]) / 60000
                for i in range(len(times)) for j in range(i, len(times)))
    print(f"{len(times)} requests in {(times[-1] - times[0]) / 1000:.1f} s, at most {most_in(times, 60000)} a minute, "
          f"{most_in(times, 1000)} a second, burst {worst:.1f}")
    assert worst <= limit * 0.02


def test_tokens_a_minute_hold_for_two_processes_together(lab):
    limit = 12000
    journal = lab.documents(sized(1000, 70), words=8)
    provider = lab.provider()
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 2, "max_concurrent": 4},
                                                  "limits": {"tokens_per_minute": limit}}))
    for process in pair(lab, file):
        process.ends(0, 600)
    lab.check_completed(journal)
    sent = [(request["at"], request["tokens"]) for request in provider.requests()]
    largest = max(tokens for _, tokens in sent)
    worst = max(sum(tokens for _, tokens in sent[i:j + 1]) - limit * (sent[j][0] - sent[i][0]) / 60000
                for i in range(len(sent)) for j in range(i, len(sent)))
    print(f"{sum(tokens for _, tokens in sent)} tokens in {(sent[-1][0] - sent[0][0]) / 1000:.1f} s, burst {worst:.0f}")
    # a burst is at most some requests: nothing like a minute's worth
    assert worst <= max(limit * 0.02, 4 * largest)


# --- the breaker ---

def test_the_breaker_is_shown_with_its_reason_and_probes_with_one_text(lab):
    journal = lab.documents(800, words=3)
    provider = lab.provider(latency_ms=20)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    provider.set(fault={"kind": "status", "status": 502})
    eventually(lambda: "asked again with one text now and then" in process.err, 60, "the breaker to open")
    opened = len(provider.requests())
    eventually(lambda: len(provider.requests()) >= opened + 3, 60, "some probes")
    shown = lab.call("status", "m1").out
    assert "provider is away" in shown and "502" in shown, shown
    workers = json.loads(lab.call("status", "m1", "--json").out)["workers"]
    assert any("502" in (worker["note"] or "") for worker in workers), workers
    probes = provider.requests()[opened:]
    canary = provider.requests()[0]["hashes"]
    assert all(request["hashes"] == canary for request in probes), "only the canary is sent while the breaker is open"
    provider.set(faults=[])
    process.ends(0, 60)
    assert "answers again" in process.err
    lab.check_completed(journal)
    assert not lab.failures()


def test_a_probe_is_no_request_in_a_time_of_quiet(lab):
    journal = lab.documents(600, words=3)
    provider = lab.provider(latency_ms=20, grace_ms=GRACE_MS)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    provider.set(fault={"kind": "status", "status": 502})
    eventually(lambda: "asked again with one text now and then" in process.err, 60, "the breaker to open")
    # from now on the probes are told to wait
    provider.set(faults=[{"kind": "status", "status": 429, "retry": "ms", "retry_ms": 3000 * PATIENCE, "times": 2}])
    process.ends(0, 120)
    lab.check_completed(journal)
    counters = provider.counters()
    assert counters["violations"] == 0 and not lab.failures()
