"""Cutover under load while processes are killed: routing is always one of the two models, and what it says is consistent."""
import threading
import time

import psycopg
import pytest

from lab import MODEL, OLD_MODEL, merged
from program import eventually, scaled
from spaces import SOURCE_HASHING, fill_source, routing

READERS, READS_A_SECOND = 5, 500
POINTS = [f"finisher.{point}" for point in ("claimed", "staged", "walked", "swept", "recorded", "flipping", "flipped", "completing", "completed")]


class Readers:
    """Reads routing with the migration's own row in one statement, and searches what routing names, 500 times a second.
    Every row that was ever seen must be consistent in itself, and with the one before."""

    def __init__(self, url):
        self.url, self.reads, self.wrong, self.seen = url, 0, [], set()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(READERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        pause = READERS / READS_A_SECOND
        versions = 0
        try:
            with psycopg.connect(self.url, autocommit=True) as sql:
                while not self._enough.wait(pause):
                    row = sql.execute(
                        "SELECT r.query_model, r.phase, r.version, r.flipped_at, r.window_ends_at, m.state, m.flipped_at, m.completed_at, "
                        "m.window_ends_at, r.query_table, r.query_column FROM reembed.routing r JOIN reembed.migration m USING (collection)").fetchone()
                    versions = self._judge(row, versions)
                    model = sql.execute("SELECT model FROM reembed_data.docs_current LIMIT 1").fetchone()
                    if model and model[0] not in (OLD_MODEL, MODEL):
                        self.wrong.append(model)
                    self.reads += 1
        except Exception as error:
            self.wrong.append(repr(error))

    def _judge(self, row, before):
        model, phase, version, flipped_at, window, state, m_flipped, completed, m_window, table, column = row
        self.seen.add((model, phase, state))
        flipped = model == MODEL
        if (model not in (OLD_MODEL, MODEL) or flipped != (flipped_at is not None) or (flipped_at != m_flipped) or version < before
                or (phase == "rollback_window") != (state == "completed") or (window is not None) != (phase == "rollback_window")
                or (state == "completed" and (m_window - completed).total_seconds() != 3600)
                or (state == "completed" and not flipped) or (state == "rolled_back" and flipped)):
            self.wrong.append(row)
        return version

    def stop(self):
        self._enough.set()
        for thread in self._threads:
            thread.join(30)
        assert not self.wrong, f"{len(self.wrong)} wrong of {self.reads} reads: {self.wrong[:3]}"


@pytest.fixture(params=["side", "column"])
def placed(request, lab):
    journal = lab.documents(scaled(600, 200))
    fill_source(lab, journal)
    file = lab.file(**merged(SOURCE_HASHING, {"target": {"placement": request.param}, "database": {"lease_secs": 1},
                                              "backfill": {"rollback_window_secs": 3600}}))
    return lab, journal, file, request.param


def waits(lab, what):
    return lab.database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE %s "
        "AND state = 'active' AND wait_event_type IN ('Lock', 'Timeout')", f"%{what}%")


def test_cutover_under_500_reads_a_second_with_kills_at_every_step(placed):
    """Killed while it waits for the lock of the flip, just after, and at random moments; then the flip happens once."""
    lab, journal, file, placement = placed
    lab.run(file, "--until", 0.1, code=3)
    readers = Readers(lab.url)
    # somebody holds the view: the flip waits, and the process is killed while it does
    with psycopg.connect(lab.url) as holder:
        holder.execute("SELECT count(*) FROM reembed_data.docs_current")
        if placement == "column":
            # its column could not even be added: let that happen first
            holder.rollback()
        for _ in range(3):
            process = lab.start("run", file)
            if placement == "column":
                eventually(lambda: lab.database.row("SELECT copy_done FROM reembed.placement") == (True,) or routing(lab)[1] == MODEL, 60, "the copy")
            else:
                eventually(lambda: waits(lab, "try_cutover"), 60, "the flip that waits")
            process.kill()
            assert placement == "column" or routing(lab) == ("migrating", OLD_MODEL)
        holder.rollback()
    # killed at each step of the finisher, before and after what it does there, and at random moments
    for point in POINTS:
        process = lab.start("run", file, env={"REEMBED_FAIL_POINTS": f"{point}=kill"})
        process.wait(60)
    for number in range(5):
        process = lab.start("run", file)
        time.sleep(lab.random.uniform(0, 0.4))         # the moment itself is what is random
        process.kill()
    lab.run(file)
    assert routing(lab) == ("rollback_window", MODEL)
    first = lab.database.value("SELECT flipped_at FROM reembed.routing")

    # a person's commands, killed at random moments as well: each happened, or did not
    for number in range(12):
        word = lab.random.choice(["rollback", "cutover"])
        process = lab.start(word, "m1", *(["--force"] if word == "cutover" else []))
        time.sleep(lab.random.uniform(0, 0.05))
        process.kill()
    eventually(lambda: not lab.database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
                                              "AND query LIKE 'SELECT reembed.%%'"), 30, "what the killed ones left to the server")
    if lab.state() == "rolled_back":
        lab.call("cutover", "m1", "--force")
    lab.run(file)
    readers.stop()
    print(f"{readers.reads} reads, seen {sorted(readers.seen)}")
    flips = lab.database.rows("SELECT event, detail->>'version' FROM reembed.events WHERE event IN ('cutover', 'rollback') AND detail ? 'version' ORDER BY at")
    assert [int(version) for _, version in flips] == list(range(2, 2 + len(flips))), flips
    assert [event for event, _ in flips] == ["cutover", "rollback"] * (len(flips) // 2) + ["cutover"] * (len(flips) % 2), flips
    assert lab.database.value("SELECT flipped_at FROM reembed.routing") >= first
    assert readers.reads > 100
    lab.check_completed(journal)
    if placement == "column":
        lab.check_source(journal, "SELECT id, embedding FROM docs", MODEL)
        lab.check_source(journal, "SELECT id, embedding__old_hash FROM docs", OLD_MODEL)
