"""What the application does while no process is alive is not lost, whatever the reason that none is."""
import time

import pytest

from lab import merged
from program import PATIENCE, eventually, scaled


def change_500_documents(lab, journal):
    """Edits, inserts and deletes; the application's own statements, with nobody listening."""
    journal_rows = journal.documents
    lab.database.execute("UPDATE docs SET body = 'edited meanwhile ' || id WHERE id BETWEEN 100 AND 299")
    lab.database.execute("INSERT INTO docs (id, body, title) SELECT g, 'made meanwhile ' || g, 'new' "
                         "FROM generate_series(900001, 900150) g")
    lab.database.execute("DELETE FROM docs WHERE id BETWEEN 400 AND 549")
    for key in range(100, 300):
        journal_rows[key] = (f"edited meanwhile {key}", journal_rows[key][1])
    for key in range(900001, 900151):
        journal_rows[key] = (f"made meanwhile {key}", "new")
    for key in range(400, 550):
        del journal_rows[key]


def slow_migration(lab, provider):
    # the changed documents lie on both sides of where the backfill stops
    return lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10, "max_concurrent": 2}}))


def test_changes_made_during_a_pause_reach_the_target(lab):
    journal = lab.documents(1000)
    provider = lab.provider(latency_ms=50)
    file = slow_migration(lab, provider)
    process = lab.start("run", file)
    lab.wait_processed(150)
    lab.call("pause", "m1", "--reason", "too loud")
    process.ends(8, 10)
    assert "paused" in process.err and "reembed resume m1" in process.err
    lab.check_nothing_claimed()
    lab.check_nobody_alive()
    before = lab.progress("processed, changes_pending")
    assert 150 <= before[0] < 1000

    change_500_documents(lab, journal)
    assert lab.progress("changes_pending") >= 500
    assert lab.database.value("SELECT phase FROM reembed.routing") == "migrating"
    refused = lab.run(file, code=8)
    assert "too loud" in refused.err and "reembed resume m1" in refused.err

    provider.set(latency_ms=0)
    lab.call("resume", "m1")
    assert lab.processed() >= 150, "a pause forgot what was done"
    lab.run(file)
    lab.check_completed(journal)


def test_changes_made_while_failed_reach_the_target(lab):
    journal = lab.documents(1000)
    provider = lab.provider(latency_ms=50, key="good-key")
    file = lab.file(**merged(lab.http(provider, api_key_env="SYSTEM_KEY"),
                             {"backfill": {"batch_size": 10, "max_concurrent": 2}}))
    process = lab.start("run", file, env={"SYSTEM_KEY": "good-key"})
    lab.wait_processed(150)
    provider.set(key="another-key")
    process.ends(5, 30)
    assert lab.state() == "failed"
    assert not lab.failures(), "a revoked key is no document's fault"
    lab.check_nothing_claimed()

    change_500_documents(lab, journal)
    provider.set(key="good-key", latency_ms=0)
    lab.run(file, env={"SYSTEM_KEY": "good-key"})
    lab.check_completed(journal)
    assert not lab.failures()


@pytest.mark.parametrize("way", ["pause", "kill"])
def test_changes_made_after_the_flip_and_before_completion_reach_the_target(lab, way):
    """A person lets queries go over early; then nobody is alive for a while."""
    journal = lab.documents(1000)
    provider = lab.provider(latency_ms=50)
    file = lab.file(**merged(lab.http(provider), {
        "backfill": {"batch_size": 10, "max_concurrent": 2, "target_query_threshold": 0.25},
        "database": {"lease_secs": 1}}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    assert "coverage" in lab.call("cutover", "m1", code=7).err
    lab.wait_processed(400)
    lab.call("cutover", "m1")
    if way == "pause":
        lab.call("pause", "m1")
        process.ends(8, 10)
    else:
        process.kill()
    change_500_documents(lab, journal)
    assert lab.database.value("SELECT reembed.route_query('docs')") == "target", "routing followed the state"
    provider.set(latency_ms=0)
    if way == "pause":
        lab.call("resume", "m1")
    lab.run(file)
    lab.check_completed(journal)


@pytest.mark.parametrize("order, code, state, by", [
    ("pause", 8, "paused", "sql"), ("pause", 8, "paused", "command"),
    ("cancel", 6, "cancelled", "sql"), ("cancel", 6, "cancelled", "command")])
def test_a_running_process_obeys_within_two_seconds(lab, order, code, state, by):
    lab.documents(5000)
    provider = lab.provider(latency_ms=400)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10, "max_concurrent": 4}}))
    processes = [lab.start("run", file) for _ in range(2)]
    lab.wait_processed(60)
    if by == "sql":
        lab.database.execute(f"SELECT reembed.{order}('m1')")
    else:
        lab.call(order, "m1", "--reason", "a person said so")
    assert lab.state() == state
    began = time.monotonic()
    for process in processes:
        process.ends(code, 10)
    took = time.monotonic() - began
    assert took <= 2 * PATIENCE, f"obeyed after {took:.1f} s"
    lab.check_nothing_claimed()
    lab.check_counts()


def test_a_provider_that_does_not_answer_delays_no_order(lab):
    lab.documents(2000)
    provider = lab.provider(latency_ms=50)
    process = lab.start("run", lab.file(**lab.http(provider)), "--batch-size", 10)
    lab.wait_processed(20)
    provider.set(fault={"kind": "hang"})
    eventually(lambda: provider.counters()["faults"] >= 2, 10, "requests that hang")
    began = time.monotonic()
    lab.database.execute("SELECT reembed.pause('m1')")
    process.ends(8, 10)
    assert time.monotonic() - began <= 2 * PATIENCE
    lab.check_nothing_claimed()


def test_cancel_gives_up_and_another_migration_takes_up_what_was_paid(lab):
    count = scaled(1000, 500)
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=30)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    lab.call("cancel", "m1")
    process.ends(6, 10)
    paid, stored = provider.counters()["texts"], len(lab.target_vectors())
    assert stored >= 100
    assert "cancelled" in lab.run(file, code=6).err
    provider.set(latency_ms=0)
    lab.run(lab.file("m2.json", id="m2", **lab.http(provider)))
    lab.check_completed(journal, "m2")
    assert provider.counters()["texts"] - paid == count - stored + 1, "paid twice (one text is the canary)"
