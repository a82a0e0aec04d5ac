"""Money: what a file allows is not exceeded by more than the requests that were in flight, and `plan` says it before."""
import json

import pytest

from lab import merged
from program import sized


def spent(provider):
    """By the server's journal: what was paid, and the largest request."""
    answered = [request["tokens"] for request in provider.requests() if request["status"] == 200]
    return sum(answered), max(answered)


@pytest.mark.parametrize("usage", [True, False], ids=["usage told", "usage estimated"])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("limit", ["max_tokens", "max_cost"])
def test_a_budget_is_never_exceeded_by_more_than_what_is_in_flight(lab, limit, processes, usage):
    threads = 3
    journal = lab.documents(sized(5000, 800), words=6)
    provider = lab.provider(usage=usage, latency_ms=10)
    tokens = sum((len(text) + 3) // 4 for text in journal.bodies().values())
    allowed = tokens // 2
    base = merged(lab.http(provider), {"backfill": {"batch_size": 10, "max_concurrent": threads}})

    def limits(allowed):
        if limit == "max_tokens":
            return {"limits": {"max_tokens": allowed}}
        return {"limits": {"price_per_million_tokens": 20, "max_cost": allowed * 20 / 1e6}}

    starts = processes
    if limit == "max_cost":
        # what is forecast to cost more is not begun at all; what has begun pauses
        lab.run(lab.file(**merged(base, limits(tokens * 2))), "--max-runtime", "0.05", code=3)
        starts += 1
    file = lab.file(**merged(base, limits(allowed)))
    running = [lab.start("run", file) for _ in range(processes)]
    for process in running:
        process.ends(8, 60)
    assert lab.state() == "paused" and lab.progress("reason") == "budget"
    paid, largest = spent(provider)
    print(f"{allowed} tokens allowed, {paid} paid, {largest} the largest request")
    assert paid <= allowed + processes * threads * largest
    # not stopped early either: what is left would not do for another request of each thread
    assert paid >= allowed - 2 * processes * threads * largest
    assert lab.progress("tokens") == paid
    if limit == "max_cost":
        assert lab.progress("cost") == pytest.approx(paid * 20 / 1e6)
    # what was paid is stored: nothing but the canaries, and repeated by nobody
    assert len(lab.target_vectors()) == provider.counters()["texts"] - starts
    lab.check_counts()
    lab.check_nothing_claimed()

    lab.run(file, code=8)           # not raised: still paused
    assert spent(provider)[0] == paid
    more = lab.file(**merged(base, limits(tokens * 2)))
    lab.run(more)
    lab.check_completed(journal)
    assert provider.counters()["repeated_texts"] == starts, "the canary of each further start, no document twice"


def test_a_process_without_work_does_not_hold_back_the_budget_of_another(lab):
    """What a process has reserved and not used is given back when its requests are over, not when it ends."""
    journal = lab.documents(60, words=3)
    provider = lab.provider(latency_ms=300)
    tokens = sum((len(text) + 3) // 4 for text in journal.bodies().values())
    base = merged(lab.http(provider), {"backfill": {"batch_size": 30, "max_concurrent": 1}, "limits": {"max_tokens": tokens + 60}})
    file = lab.file(**base)
    running = [lab.start("run", file) for _ in range(2)]
    codes = sorted(process.wait(30) for process in running)
    assert codes in ([0, 0], [8, 8]), running


def test_plan_forecasts_what_the_run_then_costs(lab):
    count = sized(5000, 600)
    lab.documents(count, words=9)
    provider = lab.provider()
    file = lab.file(**merged(lab.http(provider), {
        "backfill": {"batch_size": 50},
        "limits": {"price_per_million_tokens": 10, "requests_per_minute": 6000, "tokens_per_minute": 1200000}}))
    said = lab.call("plan", file).out
    estimate = json.loads(lab.call("plan", file, "--json").out)["estimate"]
    print(estimate)
    for word in ("tokens", "requests", "cost"):
        assert word in said, said
    asked = provider.counters()["texts"]
    lab.run(file)
    used = {"tokens": lab.progress("tokens"), "requests": lab.progress("requests"), "cost": lab.progress("cost")}
    assert estimate["documents"] == count
    assert asked <= 4, "a forecast pays for nothing but the canary"
    assert abs(estimate["tokens"] - used["tokens"]) <= 0.05 * used["tokens"]
    assert abs(estimate["requests"] - used["requests"]) <= 0.05 * used["requests"] + 2
    assert abs(estimate["cost"] - used["cost"]) <= 0.05 * used["cost"]
    assert estimate["seconds"] >= max(estimate["requests"] / 6000, estimate["tokens"] / 1200000) * 60 * 0.99
