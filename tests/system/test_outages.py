"""Connections are cut and the server is restarted, in the middle of everything: the work goes on and all of it is right."""
import signal
import time

import pytest

from axe import Axe
from database import with_parts
from lab import OLD_MODEL, merged
from program import PATIENCE, eventually, scaled

SOURCE_HASHING = {"source": {"provider": {"kind": "hashing"}}}


def test_backends_are_terminated_all_the_time(lab):
    count = scaled(6000, 1500)
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=15)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20, "max_concurrent": 3},
                                                  "database": {"lease_secs": 2}, **SOURCE_HASHING}))
    lab.run(file, "--until", 0.01, code=3)
    watcher = lab.watcher()
    application = lab.application(journal, pace=0.01)
    axe = Axe(lab.url, lab.random)
    axe.start()
    processes = [lab.start("run", file) for _ in range(2)]
    for process in processes:
        while process.wait(90) == 4:        # cut before it had ever been connected: only then it may give up
            assert "working" not in process.err, process
            process = lab.start("run", file)
        process.ends(0)
    application.stop()
    axe.stop()
    watcher.stop()
    lab.run(file)
    print(f"{axe.cut} connections cut, {application.changes} changes")
    assert axe.cut > 10
    lab.check_completed(journal)
    assert not lab.failures()
    paid = provider.paid()
    # what is paid again can only be what a lost lease had in flight
    print(f"{len(paid)} texts paid, {len(set(paid))} different ones")
    assert len(paid) - len(set(paid)) <= count / 4 + application.changes


def test_a_connection_lost_behind_a_commit_counts_once(lab):
    """Only the writers' backends, with few documents a statement: the answer to a commit is what gets lost."""
    count = scaled(20000, 2000)
    journal = lab.documents(count, words=3)
    file = lab.file(backfill={"batch_size": 2, "max_concurrent": 1}, database={"lease_secs": 3})
    watcher = lab.watcher()
    axe = Axe(lab.url, lab.random, pace=0.02, like="%WITH fence%")
    axe.start()
    lab.run(file, seconds=90)
    axe.stop()
    watcher.stop()
    print(f"{axe.cut} connections cut")
    assert axe.cut > 5
    lab.check_completed(journal)
    assert lab.processed() == count


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_the_server_is_restarted_in_the_middle(cluster, cluster_lab, how):
    lab = cluster_lab
    count = scaled(5000, 1500)
    journal = lab.documents(count)
    provider = lab.provider(latency_ms=20)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20, "max_concurrent": 2},
                                                  "database": {"lease_secs": 3}, **SOURCE_HASHING}))
    lab.run(file, "--until", 0.01, code=3)
    application = lab.application(journal, pace=0.01, outages=True)
    processes = [lab.start("run", file, "--follow") for _ in range(2)]
    for share in (0.2, 0.6):
        lab.wait_processed(int(share * count * 0.9))
        cluster.restart(how)
        lab.database.reconnect()
    lab.wait_state("completed")
    cluster.restart(how)                # the followers too
    lab.database.reconnect()
    before = application.changes
    eventually(lambda: application.changes > before + 20, 30, "the application to go on")
    application.stop()
    eventually(lambda: lab.progress("changes_pending") == 0, 30, "the last changes")
    for process in processes:
        process.send(signal.SIGTERM)
        assert process.wait(10) in (0, 3), process      # 3: it had not heard of the end yet
        assert "connected to the database again" in process.err
    lab.run(file)
    lab.check_completed(journal)
    assert not lab.failures()
    # the application's edits reached the old column as well
    edited = {str(key): body for key, body, vector in lab.database.rows("SELECT id, body, embedding FROM docs")
              if vector is not None}
    lab.check_source(edited, "SELECT id, embedding FROM docs", OLD_MODEL)


def test_the_server_is_restarted_while_nothing_is_being_written(cluster, cluster_lab):
    """The writer's connection was lost without its noticing: what is read from the new server is not taken for the old one's."""
    lab = cluster_lab
    journal = lab.documents(200)
    provider = lab.provider(latency_ms=1500)
    process = lab.start("run", lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10, "max_concurrent": 2}})))
    eventually(lambda: provider.counters()["in_flight"] == 2, 20, "requests under way")
    cluster.restart("immediate")
    lab.database.reconnect()
    provider.set(latency_ms=0)
    process.ends(0)
    assert process.err.count("chunk given up") <= 12, process       # those that had been read before
    lab.check_completed(journal)


def test_the_server_is_away_for_a_while(cluster, cluster_lab):
    """Only a connection that once stood is waited for."""
    lab = cluster_lab
    journal = lab.documents(2000)
    provider = lab.provider(latency_ms=30)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 10}}))
    process = lab.start("run", file)
    lab.wait_processed(100)
    cluster.stop_fast()
    eventually(lambda: "connection was lost" in process.err, 10, "the loss to be noticed")
    newcomer = lab.run(file, code=4)
    assert newcomer.seconds < 10 * PATIENCE
    paid = provider.counters()["texts"]
    time.sleep(1)                       # nothing to wait for: nothing must happen
    assert process.running
    assert provider.counters()["texts"] <= paid + 2000, provider.counters()
    cluster.start()
    lab.database.reconnect()
    process.ends(0)
    lab.check_completed(journal)
    # all that was read and paid before the outage was kept, or read again because the server is another one
    assert provider.counters()["texts"] <= 2000 + 1 + 2 * 1500


def test_sigterm_while_the_server_is_away_is_obeyed(cluster, cluster_lab):
    lab = cluster_lab
    lab.documents(2000)
    provider = lab.provider(latency_ms=30)
    process = lab.start("run", lab.file(**lab.http(provider)), "--batch-size", 10, "--shutdown-grace-secs", 2)
    lab.wait_processed(50)
    cluster.stop_fast()
    eventually(lambda: "connection was lost" in process.err, 10, "the loss to be noticed")
    began = time.monotonic()
    process.send(signal.SIGTERM)
    assert process.wait(20) in (3, 4), process
    assert time.monotonic() - began < 10 * PATIENCE
    cluster.start()
    lab.database.reconnect()


def test_a_wrong_password_is_exit_4(cluster, cluster_lab):
    lab = cluster_lab
    lab.database.execute("DROP ROLE IF EXISTS sys_password")
    lab.database.execute("CREATE ROLE sys_password LOGIN SUPERUSER PASSWORD 'right-password'")
    cluster.require_password("sys_password")
    lab.documents(10)
    wrong = with_parts(lab.url, user="sys_password", password="wrong-password")
    process = lab.run(lab.file(), code=4, url=wrong, level="debug")
    assert "password" in process.err and "sys_password" in process.err and not process.out
    assert "wrong-password" not in process.err
    assert process.seconds < 10 * PATIENCE
    missing = lab.run(lab.file(), code=4, url=with_parts(lab.url, user="sys_password"))
    assert "password" in missing.err
    right = lab.run(lab.file(), url=with_parts(lab.url, user="sys_password", password="right-password"), level="debug")
    assert "right-password" not in right.err + right.out


def test_a_standby_or_read_only_server_is_refused(lab):
    lab.documents(10)
    lab.database.execute(f"ALTER DATABASE {lab.database.name} SET default_transaction_read_only = on")
    process = lab.run(lab.file(), code=4)
    assert process.seconds < 10 * PATIENCE
    assert "read-only" in process.err or "read only" in process.err
