"""The fake embeddings server (tests/fake_server) of one test."""
import json
import subprocess
import urllib.request

from program import FAKE_SERVER, clean_environment


class Provider:
    def __init__(self, journal, **settings):
        self.journal_path = journal
        words = [str(FAKE_SERVER), "--journal", str(journal)]
        for name, value in settings.items():
            words += ["--" + name.replace("_", "-"), value if isinstance(value, str) else json.dumps(value)]
        self._popen = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=clean_environment())
        line = self._popen.stdout.readline().strip()
        assert line.isdigit(), f"the fake server did not start: {words}"
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def _control(self, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/control",
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return json.load(answer)

    def set(self, **settings):
        """Changes settings of the running server."""
        self._control(settings)

    def counters(self):
        return self._control()

    def requests(self):
        """The journal: one object a request."""
        return [json.loads(line) for line in self.journal_path.read_text().splitlines()]

    def paid(self):
        """XXH64 (hexadecimal) of each text that was embedded and answered, as often as it was."""
        return [text for request in self.requests() if 200 <= request["status"] < 300 for text in request["hashes"]]

    def stop(self):
        self._popen.terminate()
        self._popen.wait(10)

    def close(self):
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
        self._popen.stdout.close()
