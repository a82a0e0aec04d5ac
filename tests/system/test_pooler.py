"""Through pgbouncer in transaction mode: no session state may matter."""
import os
import pwd
import shutil
import socket
import subprocess

import psycopg
import pytest

from lab import merged
from program import eventually

PATH = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"


class Pooler:
    def __init__(self, lab):
        self.directory = lab.directory / "pooler"
        self.directory.mkdir()
        lab.directory.chmod(0o755)
        server = psycopg.conninfo.conninfo_to_dict(lab.url)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (self.directory / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={server.get('host', '')} port={server.get('port', 5432)} user={server.get('user', 'postgres')}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
            "default_pool_size = 6\nmax_client_conn = 200\nserver_login_retry = 1\n")
        user = {}
        if os.getuid() == 0:            # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._log = open(lab.directory / "pooler.log", "w")
        self._popen = subprocess.Popen([shutil.which("pgbouncer", path=PATH), str(self.directory / "pgbouncer.ini")],
                                       stdout=self._log, stderr=self._log, **user)
        self.url = f"postgresql://{server.get('user', 'postgres')}@127.0.0.1:{port}/{server['dbname']}"
        eventually(self._answers, 10, "pgbouncer")

    def _answers(self):
        try:
            psycopg.connect(self.url, prepare_threshold=None).close()
            return True
        except psycopg.OperationalError:
            return False

    def close(self):
        self._popen.kill()
        self._popen.wait()
        self._log.close()


@pytest.fixture
def pooler(lab):
    if shutil.which("pgbouncer", path=PATH) is None:
        pytest.skip("pgbouncer is not installed")
    pooler = Pooler(lab)
    yield pooler
    pooler.close()


def test_a_migration_through_a_pooler_in_transaction_mode(lab, pooler):
    journal = lab.documents(2000)
    provider = lab.provider(latency_ms=10)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20, "max_concurrent": 3},
                                                  "source": {"provider": {"kind": "hashing"}},
                                                  "target": {"index": {"method": "hnsw"}}}))
    lab.run(file, "--until", 0.1, code=3, url=pooler.url)
    application = lab.application(journal, 0.01)
    processes = [lab.start("run", file, url=pooler.url) for _ in range(2)]
    for process in processes:
        process.ends(0)
    application.stop()
    lab.run(file, url=pooler.url)
    lab.check_completed(journal)
    for words in (["status", "m1"], ["verify", "m1"], ["rollback", "m1"], ["cutover", "m1"]):
        lab.call(*words, url=pooler.url)
    lab.check_nothing_claimed()
