"""What holds the backfill back for the database's sake, and that it never holds back the changes of documents."""
import datetime
import signal

import pytest

from program import eventually, scaled


def hours(first, last, zone="UTC"):
    """Active hours that begin and end so many hours from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = ((now + datetime.timedelta(hours=h)).strftime("%H:%M") for h in (first, last))
    return f"{begin}-{end} {zone}"


def note_of(lab):
    return lab.state() and lab.database.value("SELECT max(note) FROM reembed.workers WHERE alive") or ""


def held_with(lab, process, text):
    """The worker says what it waits for, and nothing of the backfill is done."""
    eventually(lambda: text in note_of(lab), 30, f"a note with {text!r}")
    assert process.running
    assert lab.processed() == 0


def held_but_changes_are_embedded(lab, journal, process, text):
    held_with(lab, process, text)
    lab.database.execute("UPDATE docs SET body = 'edited while it is held' WHERE id = %s", min(journal.documents))
    eventually(lambda: lab.progress("changes_applied") >= 1, 30, "the edit to be embedded")
    assert lab.processed() == 0


def test_outside_its_active_hours_the_backfill_waits_and_changes_do_not(lab):
    journal = lab.documents(scaled(200))
    process = lab.start("run", lab.file(limits={"active_hours": hours(2, 4)}))
    held_but_changes_are_embedded(lab, journal, process, "active hours")
    process.stops(3, within=5)
    # the hours may change; those over midnight, or that have begun, let it work
    lab.run(lab.file(limits={"active_hours": hours(-1, 22)}))
    assert lab.state() == "completed"


def test_hours_are_those_of_the_time_zone(lab):
    lab.documents(scaled(100))
    # what is an hour from now in UTC is now an hour further east
    process = lab.start("run", lab.file(limits={"active_hours": hours(0.9, 1.9)}))
    held_with(lab, process, "active hours")
    process.stops(3, within=5)
    lab.run(lab.file(limits={"active_hours": hours(0.9, 1.9, "Etc/GMT-1")}))


def test_a_time_zone_that_the_database_does_not_know_is_refused(lab):
    lab.documents(10)
    done = lab.run(lab.file(limits={"active_hours": "22:00-06:00 Europe/Nowhere"}), code=2)
    assert "limits.active_hours" in done.err and "Europe/Nowhere" in done.err and "pg_timezone_names" in done.err
    assert lab.database.value("SELECT to_regclass('reembed.migration')") is None, "it was refused before anything was done"


def test_sessions_that_wait_for_a_lock_hold_it_back_until_they_have_it(lab):
    journal = lab.documents(scaled(200))
    lab.database.execute("CREATE TABLE other (id int PRIMARY KEY)")
    lab.database.execute("INSERT INTO other VALUES (1)")
    holder, waiter = lab.database.connect(), lab.database.connect()
    holder.autocommit = False
    holder.execute("UPDATE other SET id = 1")
    waiter.pgconn.send_query(b"UPDATE other SET id = 1")
    eventually(lambda: lab.database.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, 30, "a lock wait")

    process = lab.start("run", lab.file(limits={"max_waiting_locks": 0}))
    held_but_changes_are_embedded(lab, journal, process, "wait for a lock")
    holder.rollback()
    process.ends(0)
    assert lab.state() == "completed"


def test_a_busy_log_holds_it_back(lab):
    journal = lab.documents(scaled(200))
    lab.database.execute("CREATE TABLE noise (t text)")

    def write():
        lab.database.execute("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
        return "bytes of WAL" in note_of(lab)

    process = lab.start("run", lab.file(limits={"max_wal_bytes_per_second": 1000}))
    eventually(lambda: lab.state() == "in_progress", 30)
    # before the second look nothing is known, and nothing is done
    eventually(write, 30, "a note of the WAL")
    assert lab.processed() == 0 and process.running
    assert journal
    process.stops(3, within=5, number=signal.SIGTERM)
    lab.run(lab.file(limits={"max_wal_bytes_per_second": 1e12}))


@pytest.mark.parametrize("limit", [{"max_waiting_locks": 1000}, {"max_wal_bytes_per_second": 1e12},
                                   {"active_hours": "00:00-24:00"}])
def test_limits_that_are_kept_hold_nothing_back(lab, limit):
    journal = lab.documents(scaled(300))
    lab.run(lab.file(limits=limit))
    lab.check_completed(journal)
