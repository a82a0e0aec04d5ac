"""scripts/demo from end to end, with few documents: interrupted, continued, shown again, cleaned away."""
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import psycopg
import pytest

from program import BINARY, PATIENCE, SOURCE, eventually

sys.path.insert(0, str(SOURCE / "examples" / "demo"))
import descriptions  # noqa: E402

DOCUMENTS = 150
WIDTH = 100


class Demo:
    """The script, with a folder of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("PG", "REEMBED_DATABASE", "DATABASE_URL"))}

    def start(self, *words):
        return subprocess.Popen([SOURCE / "scripts" / "demo", "--directory", self.directory, "--program", BINARY, *words],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment,
                                start_new_session=True)

    def run(self, *words):
        with self.start(*words) as process:
            output, _ = process.communicate(timeout=600 * PATIENCE)
        print(output)
        return process.returncode, output

    @property
    def url(self):
        words = shlex.split((self.directory / "env").read_text())
        return dict(word.split("=", 1) for word in words if "=" in word)["REEMBED_DATABASE_URL"]

    def row(self, query):
        with psycopg.connect(self.url, autocommit=True) as sql:
            return sql.execute(query).fetchone()

    def embedded(self):
        """a part of the documents is embedded"""
        try:
            row = self.row("SELECT processed FROM reembed.progress WHERE state = 'in_progress'")
        except (OSError, psycopg.Error):
            return False  # nothing is there yet
        return row is not None and row[0] > 0


@pytest.fixture
def demo(tmp_path):
    demo = Demo(tmp_path / "demo")
    yield demo
    demo.run("--clean")


def assert_finished(output):
    assert "✗" not in output
    assert output.count("✓") == 6, "each of the six checks holds"
    assert "the application saw 0 errors" in output
    recall = re.findall(r"^ +(\S+) +(\S+) +(0\.\d{3}|1\.000) +(0\.\d{3}|1\.000)", output, re.MULTILINE)
    assert [row[:2] for row in recall] == [("paraphrase-MiniLM-L3-v2", "paraphrase-MiniLM-L3-v2"),
                                           ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
                                           ("all-MiniLM-L6-v2", "paraphrase-MiniLM-L3-v2")]
    first = [float(row[2]) for row in recall]
    assert first[1] > 0.5, "the new model finds what it should"
    assert first[2] < min(first[:2]), "queries of one model among vectors of the other find little"


def test_the_demo_is_interrupted_goes_on_is_shown_again_and_leaves_nothing(demo):
    with demo.start("--quick", "--documents", str(DOCUMENTS)) as process:
        eventually(demo.embedded, 300)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        output, _ = process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == 130, output
    assert "next: go on: ./scripts/demo" in output
    assert demo.row("SELECT state FROM reembed.progress") == ("in_progress",)

    code, output = demo.run("--quick", "--documents", str(DOCUMENTS))
    assert code == 0
    assert_finished(output)
    wide = [line for line in output.splitlines() if len(line) > WIDTH]
    assert [line for line in wide if " info " not in line and str(demo.directory) not in line] == []
    assert demo.row("SELECT state FROM reembed.progress") == ("completed",)
    assert demo.row("SELECT query_model, phase FROM reembed.routing") == ("all-MiniLM-L6-v2", "rollback_window")
    version = demo.row("SELECT version, flipped_at FROM reembed.routing")

    assert demo.run("--stop")[0] == 0
    with pytest.raises(psycopg.OperationalError):
        demo.row("SELECT 1")
    code, output = demo.run()
    assert code == 0
    assert "An earlier call completed the migration" in output
    assert_finished(output)
    assert demo.row("SELECT version, flipped_at FROM reembed.routing") == version, "nothing was migrated a second time"

    server = pathlib.Path((demo.directory / "server").read_text().strip())
    assert demo.run("--clean")[0] == 0
    assert not demo.directory.exists() and not server.exists()


def test_wrong_arguments_are_refused_before_anything_is_made(demo):
    for words in (["--documents", "many"], ["--documents", "7"], ["--frehs"]):
        code, output = demo.run(*words)
        assert code == 1 and "demo:" in output
    assert not demo.directory.exists()


# --- where the documents come from ---

def test_a_description_is_unfolded():
    stream = ["Package: thing\n", "Description-en: does things\n", " First line of a\n", " paragraph.\n", " .\n",
              " Second one:\n", "  * a point\n", "Tag: a,\n", " b\n", "\n", "Package: bare\n", "Description: no body\n"]
    assert list(descriptions.parse(stream)) == [
        descriptions.Description("thing", "does things", "First line of a paragraph.\n\nSecond one:\n * a point")]


def test_what_is_short_or_doubled_is_left_out_and_the_order_is_fixed():
    some = [descriptions.Description(f"p{number}", f"query {number}", f"body {number} " * 30) for number in range(50)]
    doubled = [descriptions.Description("other", "other query", some[0].body), descriptions.Description("brief", "b", "short")]
    chosen = descriptions.choose(some + doubled, 200)
    assert chosen == descriptions.choose(list(reversed(doubled + some)), 200)
    assert len(chosen) == 50 and len({one.body for one in chosen}) == 50
    assert [one.package for one in chosen] != sorted(one.package for one in chosen), "kinds of packages are mixed"


def test_without_package_lists_the_bundled_sample_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(descriptions, "LISTS", str(tmp_path / "none"))
    monkeypatch.setattr(descriptions, "INSTALLED", str(tmp_path / "none"))
    monkeypatch.setattr(descriptions, "fetch_lists", lambda folder: False)
    found, place = descriptions.find(1000, str(tmp_path))
    assert place == "the bundled sample" and len(found) >= 300
