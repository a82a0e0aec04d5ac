"""--follow, --once, --max-runtime, and processes that share one migration."""
import collections
import signal
import time

from lab import MODEL, OLD_MODEL
from program import PATIENCE, eventually, scaled


def both_providers():
    return {"source": {"provider": {"kind": "hashing"}}}


def no_changes_left(lab):
    spaces = lab.database.value("SELECT captured FROM reembed.collection WHERE collection = 'docs'")
    return all(lab.database.value("SELECT (reembed.pending_changes('docs', %s)).pending", space) == 0 for space in spaces)


def test_follow_keeps_both_spaces_current_until_sigterm(lab):
    journal = lab.documents(500)
    lab.database.execute("UPDATE docs SET embedding = NULL")
    follower = lab.start("run", lab.file(**both_providers()), "--follow")
    lab.wait_state("completed")
    assert follower.running, follower
    application = lab.application(journal)
    eventually(lambda: application.changes >= 300, 60, "300 changes")
    application.stop()
    eventually(lambda: no_changes_left(lab), 30, "the changes to be followed")
    assert follower.running, follower
    follower.stops(0, within=5)
    lab.check_completed(journal)
    # documents that never changed have no old vector: nobody asked for one
    sources = dict(lab.database.vectors("SELECT id, embedding FROM docs"))
    bodies = {key: body for key, body in journal.bodies().items() if key in sources}
    assert len(bodies) == len(sources) > 100
    lab.check_source(bodies)
    lab.check_nothing_claimed()
    lab.check_nobody_alive()


def test_follow_begun_on_a_completed_migration_stays_too(lab):
    journal = lab.documents(200)
    file = lab.file()
    lab.run(file)
    follower = lab.start("run", file, "--follow")
    eventually(lambda: lab.database.value("SELECT count(*) FROM reembed.workers WHERE alive") == 1, 10, "the follower")
    application = lab.application(journal)
    eventually(lambda: application.changes >= 100, 60, "100 changes")
    application.stop()
    eventually(lambda: no_changes_left(lab), 30, "the changes to be followed")
    follower.stops(0, within=5)
    lab.check_completed(journal)


def test_follow_keeps_the_active_space_after_the_window(lab):
    journal = lab.documents(200)
    file = lab.file(**both_providers())
    lab.run(file)
    lab.call("finalize", "m1", "--now")
    follower = lab.start("run", file, "--follow")
    lab.database.execute("UPDATE docs SET body = 'after the window ' || id WHERE id <= 50")
    bodies = journal.bodies() | {str(key): f"after the window {key}" for key in range(1, 51)}
    eventually(lambda: no_changes_left(lab), 30, "the changes to be followed")
    follower.stops(0, within=5)
    lab.check_target(bodies)
    assert lab.database.value("SELECT phase FROM reembed.routing") == "stable"
    assert lab.database.value("SELECT count(embedding) FROM docs") == 0


def test_completed_and_run_again_is_done_at_once(lab):
    lab.documents(100)
    provider = lab.provider()
    file = lab.file(**lab.http(provider))
    lab.run(file)
    before = provider.counters()["requests"]
    again = lab.run(file)
    assert again.seconds < 2 * PATIENCE
    assert provider.counters()["requests"] == before, "the model was asked although nothing was left to do"


def test_once_ends_when_nothing_is_claimable(lab):
    count = 1000
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=20)
    file = lab.file(**lab.http(provider), backfill={"batch_size": 10})
    slow = lab.start("run", file)
    lab.wait_processed(50)
    once = lab.start("run", file, "--once")
    assert once.wait(60) in (0, 3), once
    slow.ends(0)
    lab.run(file, "--once")
    lab.check_completed(journal)


def test_max_runtime_ends_with_work_left(lab):
    count = 5000
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=100)
    file = lab.file(**lab.http(provider), backfill={"batch_size": 10})
    process = lab.run(file, "--max-runtime", 1, code=3)
    assert 1 <= process.seconds < 4 * PATIENCE
    stored = len(lab.target_vectors())
    assert 0 < stored < count
    lab.check_nothing_claimed()
    lab.check_nobody_alive()
    assert stored == provider.counters()["texts"] - 1, "what was paid is not stored (one text is the canary)"
    lab.run(file, "--max-runtime", 0.2, "--ok-if-more", code=0)
    provider.set(latency_ms=0)
    lab.run(file)
    lab.check_completed(journal)


def test_two_processes_share_the_work_and_pay_once(lab):
    count = scaled(6000, 1000)
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=20, jitter_ms=20)
    file = lab.file(**lab.http(provider), backfill={"batch_size": 20, "max_concurrent": 3}, database={"lease_secs": 30})
    processes = [lab.start("run", file) for _ in range(2)]
    for process in processes:
        process.ends(0)
    lab.check_completed(journal)
    shares = [row[0] for row in lab.database.rows("SELECT processed FROM reembed.workers")]
    print("processed by each:", shares)
    assert sum(shares) == count and min(shares) > count / 10
    times = collections.Counter(provider.paid())
    assert sum(times.values()) == count + 2 and sorted(times.values())[-2:] == [1, 2], "a text was paid twice"


def test_processes_that_start_together_create_one_migration(lab):
    journal = lab.documents(500)
    file = lab.file()
    processes = [lab.start("run", file) for _ in range(6)]
    for process in processes:
        process.ends(0)
    lab.check_completed(journal)
    assert lab.database.value("SELECT count(*) FROM reembed.migration") == 1
    events = collections.Counter(event for (event,) in lab.database.rows("SELECT event FROM reembed.events"))
    assert all(events[once] == 1 for once in ("create", "start", "captured", "cutover", "complete")), events


def test_a_process_stopped_in_its_tracks_holds_others_up_for_its_lease_only(lab):
    journal = lab.documents(400)
    provider = lab.provider(latency_ms=100)
    file = lab.file(**lab.http(provider), backfill={"batch_size": 10}, database={"lease_secs": 2, "statement_timeout_secs": 2})
    frozen = lab.start("run", file)
    lab.wait_processed(20)
    frozen.send(signal.SIGSTOP)
    began = time.monotonic()
    provider.set(latency_ms=0)
    lab.run(file)
    assert time.monotonic() - began < (2 + 2 + 3) * PATIENCE
    lab.check_completed(journal)
    # it wakes up with answers to what others have done meanwhile: nothing of that may be stored over newer vectors
    lab.database.execute("UPDATE docs SET body = 'edited while it slept ' || id WHERE id <= 300")
    lab.run(file)
    bodies = journal.bodies() | {str(key): f"edited while it slept {key}" for key in range(1, 301)}
    lab.check_target(bodies)
    frozen.send(signal.SIGCONT)
    assert frozen.wait(30) == 0, frozen
    lab.run(file)
    lab.check_target(bodies)
    lab.check_counts()


def test_routing_names_both_models_in_the_window(lab):
    lab.documents(50)
    lab.run(lab.file())
    row = lab.database.row("SELECT phase, query_model, write_models FROM reembed.routing")
    assert row == ("rollback_window", MODEL, [OLD_MODEL, MODEL])


def test_changes_get_through_although_whoever_drains_them_stands_still_now_and_then(lab):
    journal = lab.documents(20)
    provider = lab.provider(latency_ms=50)
    file = lab.file(**lab.http(provider), backfill={"batch_size": 10, "max_concurrent": 1}, database={"lease_secs": 0.3})
    lab.run(file)
    followers = [lab.start("run", file, "--follow") for _ in range(2)]
    eventually(lambda: all("working" in process.err for process in followers), 30, "the followers to work")
    journal.fill(lab.database, 600, first=1000)
    for number in range(80):            # all of them at once take 3 s; nobody has a second
        if no_changes_left(lab):
            break
        sleeper = followers[number % 2]
        sleeper.send(signal.SIGSTOP)
        time.sleep(0.5)
        sleeper.send(signal.SIGCONT)
        time.sleep(0.3)
    assert no_changes_left(lab), "the changes were never applied"
    for process in followers:
        process.stops(0, within=10)
    lab.check_completed(journal)
