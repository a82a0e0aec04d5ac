"""Two servers of which one follows the other, for failovers: the primary dies, the standby is promoted, a new standby is
made where the primary was. With lose=True the last transactions never reach the standby."""
import pathlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time

import psycopg

from database import Cluster, server_user
from program import eventually


class Pair:
    def __init__(self, version):
        self.version = version
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="reembed-pair."))
        self.directory.chmod(0o755)
        self.servers = [Cluster(version, self.directory / "a"), None]
        self.servers[0].make_fast()
        self.primary = 0
        self.failovers = 0
        self._cut = False
        self._follow()

    # --- addresses ---

    def _place(self, number):
        return self.directory / "ab"[number]

    def url(self, database="postgres"):
        """Of whichever is the primary: a client tries both."""
        return f"postgresql://postgres@/{database}?host={self._place(0)},{self._place(1)}&port=5432,5432&target_session_attrs=read-write"

    def _url_of(self, number):
        return f"postgresql://postgres@/postgres?host={self._place(number)}"

    # --- the standby ---

    def _follow(self):
        """Makes a standby of the present primary in the other place."""
        number = 1 - self.primary
        place, source = self._place(number), self._place(self.primary)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        note = (source / "private-postgres.note").read_text().splitlines()
        user = server_user()
        if user:
            os.chown(place, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        subprocess.run([pathlib.Path(note[3]) / "pg_basebackup", "-D", place / "data", "-h", source, "-p", "5432", "-U", "postgres",
                        "-R", "-X", "stream", "-c", "fast", "--no-sync"], check=True, cwd="/",
                       **({"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}))
        (place / "private-postgres.note").write_text("\n".join([note[0], note[1], str(place), note[3]]) + "\n")
        self.servers[number] = Cluster(self.version, place)

    def _streams(self):
        with psycopg.connect(self._url_of(self.primary), autocommit=True) as sql:
            return sql.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").fetchone()[0] == 1

    def cut(self):
        """From now on the standby hears of nothing; of all before it has heard."""
        with psycopg.connect(self._url_of(self.primary), autocommit=True) as primary:
            eventually(lambda: primary.execute("SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication "
                                               "WHERE state = 'streaming'").fetchone()[0], 30, "the standby to have all")
        with psycopg.connect(self._url_of(1 - self.primary), autocommit=True) as sql:
            sql.execute("ALTER SYSTEM SET primary_conninfo = ''")
            sql.execute("SELECT pg_reload_conf()")
            eventually(lambda: sql.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone()[0] == 0, 30, "the receiver to end")
        self._cut = True

    def fail_over(self, lose=0.0):
        """lose: seconds of transactions that the standby never hears of."""
        old, new = self.primary, 1 - self.primary
        eventually(lambda: self._cut or self._streams(), 30, "the standby to stream")
        if lose:
            self.cut()
            time.sleep(lose)            # what is committed meanwhile is what will be lost
        self.servers[old].stop_immediately()
        with psycopg.connect(self._url_of(new), autocommit=True) as sql:
            sql.execute("SELECT pg_promote(true, 30)")
        self._cut = False
        self.primary = new
        self.failovers += 1
        eventually(self._writable, 30, "the new primary")

    def renew(self):
        """A standby again, so that it can happen once more."""
        self._follow()

    def _writable(self):
        try:
            with psycopg.connect(self.url(), connect_timeout=5) as sql:
                return not sql.execute("SELECT pg_is_in_recovery()").fetchone()[0]
        except psycopg.OperationalError:
            return False

    def close(self):
        for server in self.servers:
            if server is not None:
                server.close()
        shutil.rmtree(self.directory, ignore_errors=True)


