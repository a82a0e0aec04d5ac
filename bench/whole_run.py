"""What bench/run-http and bench/run-peers share: a private Postgres, the fake embeddings server, and the measurement of
one command from its start to its end.

Figures are of the whole command, start-up and checks included: seconds by the wall, CPU seconds of the command (its
children too) and of Postgres (without the connection that samples), the largest resident memory of the command, bytes
of WAL, growth of the database, and the longest transaction seen in pg_stat_activity, looked at every 10 ms.
"""
import contextlib
import dataclasses
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg

TOP = pathlib.Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.01
TICK = os.sysconf("SC_CLK_TCK")
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}  # the rest as a new Postgres has it


@dataclasses.dataclass
class Figures:
    documents: int
    seconds: float
    client_cpu: float
    postgres_cpu: float
    rss_mb: float
    wal_bytes: int
    disk_bytes: int
    longest_ms: float

    @property
    def rate(self):
        return self.documents / self.seconds


def median(rounds, value):
    return statistics.median(value(figures) for figures in rounds)


class Postgres:
    """A private Postgres 18 below `folder`; `uri(database)` leads to it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / "pg"

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped then, too
        self._script("start", "--version", "18")
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            for name, value in SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self._script("stop")
        self._script("start", "--version", "18")
        self.postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        return self

    def __exit__(self, *_):
        self._script("stop")

    def _script(self, action, *options):
        done = subprocess.run([TOP / "scripts" / "private-postgres", action, self.folder, *options], check=True,
                              capture_output=True, text=True)
        return done.stdout.strip()

    def uri(self, database):
        return self._script("uri").replace("/postgres?", f"/{database}?")

    def execute(self, database, *statements):
        with psycopg.connect(self.uri(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def cpu_seconds(self, but_not):
        """Of the postmaster, of its children, and of those that have ended."""
        ticks = 0
        for process in pathlib.Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == but_not:
                continue
            with contextlib.suppress(OSError):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                own, children, parent = fields[11:13], fields[13:15], int(fields[1])
                if int(process.name) == self.postmaster:
                    ticks += sum(map(int, own + children))
                elif parent == self.postmaster:
                    ticks += sum(map(int, own))
        return ticks / TICK


@contextlib.contextmanager
def embedding_server(build, **settings):
    """tests/fake_server in the OpenAI form, without limits of its own; gives its address."""
    settings = {"dialect": "openai", "max-items": 0, "max-request-tokens": 0, **settings}
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    server = subprocess.Popen([build / "bin" / "fake-embedding-server", *words], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    finally:
        server.terminate()
        server.wait()


def resident_mb(pid):
    """The largest resident memory so far; ru_maxrss would count the parent's, of before the exec."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0


def one_number(connection, query):
    return connection.execute(query).fetchone()[0]


LONGEST = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) * 1000 FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def measure(postgres, database, documents, command, environment):
    """Runs `command`, which must end with 0, on `database`."""
    with psycopg.connect(postgres.uri(database), autocommit=True) as watch, tempfile.TemporaryFile() as output:
        watch.execute("CHECKPOINT")
        here = watch.info.backend_pid
        disk = one_number(watch, "SELECT pg_database_size(current_database())")
        wal = one_number(watch, "SELECT pg_current_wal_insert_lsn()")
        cpu = postgres.cpu_seconds(here)
        longest = rss = 0
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                 env={**os.environ, **environment})
        while True:
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if ended:
                break
            rss = max(rss, resident_mb(child.pid))
            longest = max(longest, float(one_number(watch, LONGEST)))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            raise SystemExit(f"{command[0]} ended with {child.returncode}:\n{output.read().decode()}")
        return Figures(
            documents=documents,
            seconds=seconds,
            client_cpu=usage.ru_utime + usage.ru_stime,
            postgres_cpu=postgres.cpu_seconds(here) - cpu,
            rss_mb=rss,
            wal_bytes=int(one_number(watch, f"SELECT pg_current_wal_insert_lsn() - '{wal}'::pg_lsn")),
            disk_bytes=one_number(watch, "SELECT pg_database_size(current_database())") - disk,
            longest_ms=longest,
        )


def make_documents(postgres, database, documents, old_dimensions=0, indexed=False):
    """A database with a table `docs` of texts of about 1 kB; with old vectors, and an HNSW index of them, if asked."""
    postgres.execute("postgres", f'CREATE DATABASE "{database}"')
    old = f", embedding vector({old_dimensions})" if old_dimensions else ""
    vector = ", (SELECT array_agg(random() + g * 0 - k * 0) FROM generate_series(1, %d) k)::vector" % old_dimensions
    postgres.execute(
        database,
        "CREATE EXTENSION vector",
        f"CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL{old})",
        "INSERT INTO docs SELECT g, (SELECT string_agg(md5(g::text || k::text), ' ') FROM generate_series(1, 31) k)"
        f"{vector if old_dimensions else ''} FROM generate_series(1, {documents}) g",
        *(["SET maintenance_work_mem = '512MB'", "CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)"]
          if indexed else []),
        "VACUUM (ANALYZE, FREEZE) docs",
    )


@contextlib.contextmanager
def copy_of(postgres, template):
    """A database that is as `template`, gone afterwards."""
    name = "bench_run"
    postgres.execute("postgres", f'DROP DATABASE IF EXISTS "{name}"',
                     f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    try:
        yield name
    finally:
        postgres.execute("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def require_vectors(postgres, database, query, documents):
    """A run counts only if it did the work."""
    with psycopg.connect(postgres.uri(database)) as connection:
        found = one_number(connection, query)
    if found != documents:
        raise SystemExit(f"there are {found} vectors of {documents} documents")
