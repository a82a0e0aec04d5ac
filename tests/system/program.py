"""The program under test, as a process that is started, signalled, killed and waited for."""
import os
import pathlib
import signal
import subprocess
import tempfile
import time

PROGRAMS = pathlib.Path(os.environ["REEMBED_BINARY_DIR"]) / "bin"
BINARY = pathlib.Path(os.environ.get("REEMBED_PROGRAM") or PROGRAMS / "reembed").absolute()
FAKE_SERVER = PROGRAMS / "fake-embedding-server"
SOURCE = pathlib.Path(os.environ["REEMBED_SOURCE_DIR"])

# Under sanitizers and valgrind everything is many times slower: CTest sets the first, the second follows from it.
SCALE = float(os.environ.get("REEMBED_TEST_SCALE") or 1)
PATIENCE = 1 if SCALE >= 1 else 10

# What must not leak from the surroundings of a test into the program.
UNWANTED = ("PG", "REEMBED_", "DATABASE_URL", "OPENAI", "HF_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")

REPORTS = ("ThreadSanitizer", "AddressSanitizer", "LeakSanitizer", "runtime error:", "Assertion `")


# The acceptance runs in their full size, by hand; what CTest runs is the same in small.
LONG = os.environ.get("REEMBED_TEST_LONG", "") not in ("", "0")


def scaled(number, least=1):
    return max(int(number * SCALE), least)


def sized(full, small):
    """The full number with REEMBED_TEST_LONG=1, else the small one."""
    return full if LONG else small


def clean_environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    for name in ("REEMBED_ONNXRUNTIME",):
        if name in os.environ:
            kept[name] = os.environ[name]
    kept.update(more)
    return kept


def eventually(condition, seconds=30, what=None):
    """Waits until condition() is true and returns what it gave; fails when the time is over."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds * PATIENCE} s in vain for {what or condition.__doc__ or condition}")
        time.sleep(0.01)


class Process:
    """One call of the program. Output goes to files, so that nobody ever waits for a reader."""

    def __init__(self, words, environment, directory, wrapper=(), stdin=subprocess.DEVNULL):
        self.words = [str(word) for word in words]
        self._files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        self.started = time.monotonic()
        self.seconds = None
        self.popen = subprocess.Popen([*wrapper, str(BINARY), *self.words], stdin=stdin, stdout=self._files[0],
                                      stderr=self._files[1], env=environment, cwd=directory)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    def _text(self, number):
        self._files[number].flush()
        size = os.fstat(self._files[number].fileno()).st_size
        return os.pread(self._files[number].fileno(), size, 0).decode(errors="replace")

    @property
    def out(self):
        return self._text(0)

    @property
    def err(self):
        return self._text(1)

    @property
    def code(self):
        return self.popen.returncode

    def send(self, number):
        self.popen.send_signal(number)

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def wait(self, seconds=60):
        """Its exit code. A sanitizer's report is a failure whatever the code."""
        try:
            self.popen.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds * PATIENCE} s: {self}") from None
        if self.seconds is None:
            self.seconds = time.monotonic() - self.started
        assert not any(report in self.err for report in REPORTS), f"a sanitizer's report: {self}"
        return self.code

    def ends(self, code, seconds=60):
        """Waits for this very exit code."""
        assert self.wait(seconds) == code, f"exit {self.code}, not {code}: {self}"
        return self

    def stops(self, code, within, number=signal.SIGTERM):
        """Signals and expects the exit code in so many seconds."""
        began = time.monotonic()
        self.send(number)
        self.ends(code, max(within, 10))
        took = time.monotonic() - began
        assert took <= within * PATIENCE, f"took {took:.1f} s after the signal, {within} s are allowed: {self}"
        return self

    def __str__(self):
        return (f"\n$ reembed {' '.join(self.words)}\nexit {self.code}\n--- stdout\n{self.out[-2000:]}"
                f"\n--- stderr\n{self.err[-4000:]}")
