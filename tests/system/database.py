"""Databases of a test, and a server of its own for the tests that stop one."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
from urllib.parse import quote, urlsplit, urlunsplit

import numpy
import psycopg
from psycopg import sql

from program import SOURCE, eventually


def with_parts(url, database=None, user=None, password=None):
    """The URL with another database, user or password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    name = user or parts.username
    if name:
        secret = f":{quote(password)}" if password else ""
        host = f"{quote(name)}{secret}@{host}"
    path = parts.path if database is None else f"/{quote(database)}"
    return urlunsplit((parts.scheme, host, path, parts.query, ""))


class Database:
    """A fresh database with pgvector, dropped at the end."""

    def __init__(self, server_url, name, owner=None):
        self.server_url = server_url
        self.name = name
        self.url = with_parts(server_url, name)
        self._connections = []
        with psycopg.connect(server_url, autocommit=True) as admin:
            # template0: another test may be connected to template1
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0{}").format(
                sql.Identifier(name),
                sql.SQL(" OWNER {}").format(sql.Identifier(owner)) if owner else sql.SQL("")))
        self.sql = self.connect()
        self.sql.execute("CREATE EXTENSION vector")

    def connect(self, **how):
        connection = psycopg.connect(self.url, autocommit=True, **how)
        self._connections.append(connection)
        return connection

    def rows(self, query, *values):
        return self.sql.execute(query, values or None).fetchall()

    def row(self, query, *values):
        return self.sql.execute(query, values or None).fetchone()

    def value(self, query, *values):
        row = self.row(query, *values)
        return None if row is None else row[0]

    def execute(self, query, *values):
        self.sql.execute(query, values or None)

    def reconnect(self, seconds=30):
        """After the server was away."""
        def connected():
            try:
                self.sql = self.connect()
                return True
            except psycopg.OperationalError:
                return False
        eventually(connected, seconds, "the server to take connections again")

    def vectors(self, query):
        """Pairs of id as text and vector of a query that gives (id, vector); vectors that are null are left out."""
        with self.sql.cursor(binary=True) as cursor:
            cursor.execute(f"SELECT id::text, vector_send(v::vector) FROM ({query}) AS q(id, v) WHERE v IS NOT NULL")
            return [(key, floats(vector)) for key, vector in cursor]

    def close(self):
        for connection in self._connections:
            connection.close()
        with psycopg.connect(self.server_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)))


def floats(sent):
    """pgvector's binary form: two int16 (dimensions, 0), then float4 in network order."""
    return numpy.frombuffer(sent, ">f4", offset=4)


class Cluster:
    """A private server that may be stopped, killed and reconfigured. Crash safe: what it acknowledged stays."""

    def __init__(self, version, place=None):
        """place: a directory of the caller's instead of one of its own."""
        if place is None:
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="reembed-cluster."))
            self.directory.chmod(0o755)     # root's server runs as another user
            self.place = self.directory / "pg"
        else:
            self.directory = self.place = place
        self.version = version
        self.url = self.start()

    def _call(self, action, *more):
        done = subprocess.run([SOURCE / "scripts/private-postgres", action, self.place, *more], check=True,
                              stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def start(self):
        return self._call("start", "--version", str(self.version))

    def stop_fast(self):
        self._call("stop")

    def stop_immediately(self):
        """As after a crash: every backend dies at once and recovery follows."""
        pid = int((self.place / "data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: not _exists(pid), 30, "the server to end")

    def restart(self, how):
        self.stop_fast() if how == "fast" else self.stop_immediately()
        self.start()

    def make_fast(self, connections=100):
        """Without waiting for the disk. What was acknowledged still survives a crash of the server, not one of the machine."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET fsync = off")
            admin.execute("ALTER SYSTEM SET full_page_writes = off")
            admin.execute(f"ALTER SYSTEM SET max_connections = {connections}")
            admin.execute("SELECT pg_reload_conf()")
        if connections != 100:
            self.restart("fast")

    def require_password(self, user):
        """From now on this user needs a password, over the socket too."""
        rules = self.place / "data/pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n" + rules.read_text())
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute("SELECT pg_reload_conf()")

    def close(self):
        try:
            self._call("stop")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


def server_user():
    """As whom a server runs that root has started; None for everybody else."""
    return os.environ.get("REEMBED_PG_USER", "nobody") if os.getuid() == 0 else None


def _exists(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False
