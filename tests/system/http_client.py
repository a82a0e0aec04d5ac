"""What a test asks the program over HTTP, down to the bytes."""
import http.client
import json
import re
import socket

from program import eventually

TOKEN = "a-token-of-these-tests-0123456789"


class Client:
    """The server that a process started with --listen and --log-format text announces on stderr."""

    def __init__(self, process, token=None):
        line = eventually(lambda: re.search(r"listening.*http://(127\.0\.0\.1|\[::1\]|0\.0\.0\.0):(\d+)/", process.err), 30,
                          "the address that it listens on")
        self.port = int(line[2])
        self.host = "127.0.0.1"
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token

    def ask(self, path, method="GET", body=None, headers=None, token=..., seconds=20):
        """Status, headers, body as text."""
        token = self.token if token is ... else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=seconds)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def json(self, path, **how):
        status, _, body = self.ask(path, **how)
        return status, json.loads(body)

    def post(self, operation, token=..., **body):
        return self.json(f"/api/{operation}", method="POST", body=body, token=token)

    def metrics(self):
        status, headers, body = self.ask("/metrics")
        assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return body

    def socket(self):
        return socket.create_connection((self.host, self.port), timeout=30)


def samples(text):
    """{(name, labels as a sorted tuple): value} of a metrics text."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
        assert match, line
        labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
        key = (match[1], tuple(sorted(labels)))
        assert key not in found, f"twice: {line}"
        found[key] = float(match[3])
    return found


def value(found, metric, **labels):
    """The one sample of this name that has these labels."""
    fitting = [v for (name, has), v in found.items() if name == metric and set(labels.items()) <= set(has)]
    assert len(fitting) == 1, (metric, labels, fitting)
    return fitting[0]
