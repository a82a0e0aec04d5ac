"""pgbouncer in transaction mode in front of a test's database."""
import os
import pwd
import shutil
import socket
import subprocess

import psycopg

from program import eventually

PATH = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"


def program():
    """Its path, or None where it is not installed."""
    return shutil.which("pgbouncer", path=PATH)


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
        self._popen = subprocess.Popen([program(), str(self.directory / "pgbouncer.ini")],
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
