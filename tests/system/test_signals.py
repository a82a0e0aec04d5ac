"""SIGTERM and SIGINT store what was paid for and free what was claimed; the second one ends at once."""
import signal
import time

import pytest

from lab import merged
from program import PATIENCE, eventually, scaled


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stores_what_was_embedded_and_frees_what_was_claimed(lab, number):
    count = scaled(60000, 6000)
    journal = lab.documents(count, words=3)
    # one thread and one document a batch: slow enough to be met in the middle
    file = lab.file(backfill={"batch_size": 2, "max_concurrent": 1})
    process = lab.start("run", file)
    lab.wait_processed(count // 20)
    process.stops(3, within=5, number=number)
    lab.check_nothing_claimed()
    lab.check_nobody_alive()
    lab.check_counts()
    stored = dict(lab.target_vectors())
    assert 0 < lab.processed() == len(stored) < count
    bodies = journal.bodies()
    lab.check_target({key: bodies[key] for key in stored})
    assert "next:" in process.out
    lab.run(file, "--batch-size", 100, "--max-concurrent", 2)
    lab.check_completed(journal)


def test_with_ok_if_more_a_signal_ends_with_0(lab):
    lab.documents(5000)
    provider = lab.provider(latency_ms=100)
    process = lab.start("run", lab.file(**lab.http(provider)), "--ok-if-more", "--batch-size", 10)
    lab.wait_processed(20)
    process.stops(0, within=5)
    lab.check_nothing_claimed()


def test_what_is_being_embedded_is_finished_and_stored(lab):
    count = 2000
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=1000)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10, "max_concurrent": 4}}))
    process = lab.start("run", file)
    eventually(lambda: provider.counters()["in_flight"] == 4, 20, "four requests under way")
    process.stops(3, within=5)
    counters = provider.counters()
    assert counters["texts"] - 1 == len(lab.target_vectors()) >= 40, f"paid and not stored: {counters}"
    lab.check_nothing_claimed()
    provider.set(latency_ms=0)
    lab.run(file)
    lab.check_completed(journal)
    assert provider.counters()["texts"] == count + 2, "a text was paid twice (one canary a start)"


def test_changes_under_way_are_stored_too(lab):
    journal = lab.documents(300)
    provider = lab.provider()
    file = lab.file(**lab.http(provider))
    lab.run(file)
    follower = lab.start("run", file, "--follow")
    eventually(lambda: provider.counters()["texts"] == 302, 20, "the follower's canary")
    provider.set(latency_ms=1000)
    lab.database.execute("UPDATE docs SET body = 'changed ' || id WHERE id <= 30")
    eventually(lambda: provider.counters()["in_flight"] > 0, 20, "the changes to be sent")
    follower.stops(0, within=5)
    lab.check_target(journal.bodies() | {str(key): f"changed {key}" for key in range(1, 31)})
    lab.check_nothing_claimed()


def test_the_second_signal_ends_at_once_and_its_leases_expire(lab):
    journal = lab.documents(500)
    provider = lab.provider(latency_ms=50)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}, "database": {"lease_secs": 1}}))
    # ending at once, it joins no thread
    process = lab.start("run", file, env={"TSAN_OPTIONS": "report_thread_leaks=0"})
    lab.wait_processed(20)
    provider.set(fault={"kind": "hang"})
    eventually(lambda: provider.counters()["faults"] >= 2, 20, "requests that hang")
    process.send(signal.SIGTERM)
    eventually(lambda: "a second signal ends at once" in process.err, 10, "the first signal to be noticed")
    assert process.running
    process.stops(3, within=1)
    provider.set(faults=[])
    lab.run(file)
    lab.check_completed(journal)


def test_the_grace_period_ends(lab):
    lab.documents(500)
    provider = lab.provider(latency_ms=50)
    process = lab.start("run", lab.file(**lab.http(provider)), "--batch-size", 10, "--shutdown-grace-secs", 1)
    lab.wait_processed(20)
    provider.set(fault={"kind": "hang"})
    eventually(lambda: provider.counters()["faults"] >= 2, 20, "requests that hang")
    began = time.monotonic()
    process.stops(3, within=3)
    assert time.monotonic() - began > 0.8
    lab.check_nothing_claimed()


def test_a_signal_while_the_provider_is_away_is_obeyed(lab):
    lab.documents(100)
    provider = lab.provider()
    provider.stop()
    process = lab.start("run", lab.file(**lab.http(provider)))
    eventually(lambda: "provider is away" in process.err, 20, "the provider to be missed")
    process.stops(3, within=5)


def test_a_signal_while_waiting_for_a_lock_is_obeyed(lab):
    lab.documents(100)
    application = lab.database.connect()
    with application.transaction():
        application.execute("UPDATE docs SET title = 'open transaction' WHERE id = 1")
        process = lab.start("run", lab.file())
        eventually(lambda: "waiting for a lock" in process.err, 20, "the lock to be missed")
        process.stops(3, within=5)
    assert lab.progress("processed") == 0


def test_a_signal_during_an_index_build_is_obeyed(lab):
    count = scaled(8000, 3000)
    journal = lab.documents(count, words=3)
    file = lab.file(target={"index": {"method": "hnsw", "m": 64, "ef_construction": 512}}, backfill={"batch_size": 500})
    process = lab.start("run", file)
    eventually(lambda: lab.database.value(
        "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()"), 60, "the build")
    process.stops(3, within=5 * PATIENCE)
    # the server goes on with the build, so that a deadline shorter than it costs nothing; the next run finds it
    lab.run(file)
    lab.check_completed(journal)
    assert lab.database.value("SELECT bool_and(indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                              "WHERE c.relname LIKE %s", "%hnsw")


@pytest.mark.parametrize("command", [["status", "--watch"], ["status", "m1", "--watch"]])
def test_watching_ends_on_a_signal(lab, command):
    lab.documents(10)
    lab.run(lab.file())
    lab.database.execute("SELECT reembed.rollback('m1')")
    process = lab.start(*command)
    eventually(lambda: process.out or not process.running, 10, "the first look")
    if process.running:
        process.send(signal.SIGINT)
        process.wait(5)
