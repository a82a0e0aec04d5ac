"""An embedding model as this demo's programs use it: `reembed embed` as a child process, one text a line."""
import json
import os
import pathlib
import shutil
import subprocess
import threading

TOP = pathlib.Path(__file__).resolve().parents[2]
MODELS = pathlib.Path(os.environ.get("REEMBED_MODELS", TOP / "models"))
OLD = "paraphrase-MiniLM-L3-v2"
NEW = "all-MiniLM-L6-v2"


def program():
    built = TOP / "build" / "bin" / "reembed"
    return os.environ.get("REEMBED") or (str(built) if built.exists() else shutil.which("reembed") or "reembed")


class Model:
    """The folder's name is the model's name, as in the migration file and in reembed.routing. One thread at a time."""

    def __init__(self, name, *options):
        self.name = name
        # A session of its own: Ctrl-C at the terminal must not take it away from under the program that uses it.
        self.child = subprocess.Popen([program(), "embed", "--model", str(MODELS / name), *options], text=True,
                                      encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()

    def answer(self):
        """The next vector, as pgvector reads it."""
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: reembed embed has ended")
        vector = json.loads(line)["embedding"]
        if vector is None:
            raise RuntimeError(f"{self.name}: {line.strip()}")
        return json.dumps(vector, separators=(",", ":"))

    def embed(self, text):
        self.child.stdin.write(json.dumps({"text": text}) + "\n")
        self.child.stdin.flush()
        return self.answer()

    def embed_all(self, texts):
        """Yields the vectors of all texts, in order. Ends the child's input, so it is the last that is asked of it."""
        def feed():
            for text in texts:
                self.child.stdin.write(json.dumps({"text": text}) + "\n")
            self.child.stdin.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        for _ in texts:
            yield self.answer()
        feeder.join()
