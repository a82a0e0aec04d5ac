"""Looks at reembed.progress all the time: the counts must add up at every moment."""
import threading

import psycopg


class Watcher(threading.Thread):
    FIGURES = "state, total, processed, skipped, failed, pending, in_flight, effective_coverage, flipped_at IS NOT NULL"

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url = url
        self.samples = 0
        self.wrong = []
        self.errors = []
        self.latest = None
        self._enough = threading.Event()

    def _look(self, sql):
        for state, total, processed, skipped, failed, pending, in_flight, coverage, flipped in sql.execute(
                f"SELECT {self.FIGURES} FROM reembed.progress").fetchall():
            self.samples += 1
            self.latest = {"state": state, "total": total, "processed": processed, "flipped": flipped}
            figures = (total, processed, skipped, failed, pending, in_flight)
            if total != processed + skipped + failed + pending or in_flight > pending or min(figures) < 0:
                self.wrong.append(dict(zip(("total", "processed", "skipped", "failed", "pending", "in_flight"), figures)))
            if not 0 <= coverage <= 1:
                self.wrong.append({"coverage": coverage, "state": state})

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True) as sql:
                while not self._enough.is_set():
                    # the first process is still installing the schema
                    if sql.execute("SELECT to_regclass('reembed.progress')").fetchone()[0] is not None:
                        self._look(sql)
                    self._enough.wait(0.003)
        except Exception as error:
            self.errors.append(error)

    def stop(self):
        self._enough.set()
        self.join(30)
        assert not self.errors, f"reembed.progress can't be read: {self.errors[0]!r}"
        assert not self.wrong, f"the counts don't add up in {len(self.wrong)} of {self.samples} looks: {self.wrong[:3]}"
