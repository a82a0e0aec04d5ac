"""Cuts the program's database connections."""
import threading

import psycopg


class Axe(threading.Thread):
    """Terminates the program's backends, or those whose latest statement is like this, again and again."""

    def __init__(self, url, random, pace=0.05, like="%"):
        super().__init__(daemon=True)
        self.url, self.random, self.pace, self.like = url, random, pace, like
        self.cut = 0
        self.errors = []
        self._enough = threading.Event()

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True) as sql:
                while not self._enough.is_set():
                    pids = [pid for (pid,) in sql.execute(
                        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                        "AND application_name LIKE 'reembed%%' AND query LIKE %s", (self.like,))]
                    if pids and sql.execute("SELECT pg_terminate_backend(%s)", (self.random.choice(pids),)).fetchone()[0]:
                        self.cut += 1
                    self._enough.wait(self.pace)
        except Exception as error:
            self.errors.append(error)

    def stop(self):
        self._enough.set()
        self.join(30)
        assert not self.errors, self.errors
