"""The machine and the other users of the database: clocks that jump, a full disk, old snapshots, DDL, a pooler."""
import os
import pwd
import subprocess
import time

import psycopg
from cases import Skipped, case
from cases.kills import end, fleet_under_fire
from database import server_user
from pooler import Pooler, program
from program import eventually
from trial import faketime


@case("clocks", pr=1, night=6)
def clocks(context):
    """Every process has its own idea of the time, and it jumps while they work. Leases are the database's matter."""
    library = faketime()
    if library is None:
        raise Skipped("libfaketime is not installed (scripts/install-deps installs it)")
    trial = context.trial(documents=500, lease=0.4)
    trial.serve(latency_ms=40)
    trial.sample()
    trial.write(pace=0.05)
    files, fleet = [], []
    for number in range(3):
        files.append(trial.lab.directory / f"time-{number}")
        files[-1].write_text(trial.random.choice(("+3600", "-3600", "+0", "-86400", "+864000")))
        fleet.append(trial.start("--follow", env={
            "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(files[-1]), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}))
    for _ in range(8):
        time.sleep(trial.random.uniform(0.1, 0.5))
        trial.random.choice(files).write_text(trial.random.choice(("+7200", "-7200", "+0", "-30", "+30")))
        trial.counts["clock_jumps"] += 1
    trial.wait_completed()
    trial.application.stop()
    for process in fleet:
        trial.terminate(process, within=3)
    trial.finish()


class SmallDisk:
    """A tablespace on a file system of a few megabytes."""

    def __init__(self, directory, megabytes):
        self.place = directory / "disk"
        self.place.mkdir()
        directory.chmod(0o755)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.place], capture_output=True)
        if os.getuid() != 0 or done.returncode != 0:
            raise Skipped("a small file system can't be mounted here")
        user = server_user()
        if user:
            os.chown(self.place, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        self.filler = self.place / "filler"

    def fill(self):
        file = os.open(self.filler, os.O_CREAT | os.O_WRONLY)
        try:
            while os.write(file, b"\0" * 4096):
                pass
        except OSError:
            pass
        finally:
            os.close(file)

    def free(self):
        self.filler.unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", "-l", self.place], check=False, capture_output=True)


@case("disk-full", pr=1, night=4)
def disk_full(context):
    """The target's disk is full: the migration pauses and says why; it goes on once there is room."""
    trial = context.trial(documents=600)
    disk = SmallDisk(trial.lab.directory, 24)
    name = f"small_{context.seed}"
    sql = trial.database.sql
    try:
        sql.execute(f"CREATE TABLESPACE {name} LOCATION '{disk.place}'")
        trial.lab.run(trial.configure(), "--until", 0.01, code=3)
        sql.execute(f"ALTER TABLE {trial.lab.target_table()} SET TABLESPACE {name}")
        disk.fill()
        trial.sample(idle=None)
        process = trial.start()
        trial.ended(process, (8,))
        assert trial.lab.state() == "paused" and "No space left" in str(trial.lab.progress("reason")), process
        trial.counts["disk_full"] += 1
        disk.free()
        trial.finish()
        sql.execute(f"ALTER TABLE {trial.lab.target_table()} SET TABLESPACE pg_default")
    finally:
        disk.free()
        try:
            sql.execute(f"DROP TABLESPACE IF EXISTS {name}")
        finally:
            disk.close()


@case("ddl", pr=1, night=6)
def ddl(context):
    """Migrations of the application's own: locks on the documents that nothing passes."""
    trial = context.trial(documents=500, database={"lock_timeout_secs": 0.2})
    trial.serve(latency_ms=30)
    trial.sample(lock_timeout=0.2)
    fleet = [trial.start("--follow") for _ in range(2)]
    statements = ("ALTER TABLE docs ADD COLUMN extra{} int", "LOCK TABLE docs IN ACCESS EXCLUSIVE MODE", "CREATE INDEX ON docs (title)",
                  "ALTER TABLE docs ALTER COLUMN title SET STORAGE EXTERNAL", "VACUUM FULL docs", "REINDEX TABLE docs", "ANALYZE docs")
    with psycopg.connect(trial.url, autocommit=True, application_name="ddl") as sql:
        for number in range(10):
            time.sleep(trial.random.uniform(0.05, 0.3))
            statement = trial.random.choice(statements).format(number)
            if statement.startswith("VACUUM"):
                sql.execute(statement)
            else:
                with sql.transaction():
                    sql.execute(statement)
                    time.sleep(trial.random.uniform(0, 0.6))
            trial.counts["ddl"] += 1
    trial.write(pace=0.05)
    end(trial, fleet)


@case("old-snapshots", pr=1, night=4)
def old_snapshots(context):
    """Somebody reads in a transaction that stays open: nothing may wait for it but the index build, and nothing is lost."""
    trial = context.trial(documents=400)
    trial.configure(target={"index": {"method": "hnsw", "m": 4, "ef_construction": 16}})
    trial.sample()
    with psycopg.connect(trial.url, application_name="reader") as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM docs")
        trial.write(pace=0.04)
        fleet = [trial.start("--follow"), trial.start("--follow")]
        eventually(lambda: trial.sampler.latest["total"] and trial.sampler.latest["processed"] >= trial.sampler.latest["total"] * 0.9,
                   60, "the backfill under an old snapshot")
        trial.kill(fleet[0])            # perhaps in the middle of the index build that waits for the reader
        fleet[0] = trial.start("--follow")
        time.sleep(trial.random.uniform(0, 0.5))
        trial.counts["old_snapshots"] += 1
    end(trial, fleet)


@case("pooled-kills", pr=1, night=4)
def pooled_kills(context):
    """pgbouncer in transaction mode: a killed process leaves answers behind that must not reach anybody else."""
    if program() is None:
        raise Skipped("pgbouncer is not installed (scripts/install-deps installs it)")
    trial = context.trial(documents=500, lease=0.5)
    pooler = context.open(Pooler(trial.lab))
    trial.serve(latency_ms=25)
    trial.sample()
    direct, trial.url = trial.url, pooler.url
    trial.write(pace=0.06, url=direct)
    fleet = fleet_under_fire(trial, 2, 10, lambda t, process: t.kill(process))
    trial.counts["pooled_kills"] = trial.counts["kills"]
    trial.wait_completed()
    trial.application.stop()
    for process in fleet:
        trial.terminate(process)
    trial.finish()


