"""`model pull` and `model list`, against a hub on this machine that misbehaves."""
import json
import os
import random
import shutil
import signal
import subprocess
import threading

import pytest

import hub as hubs
from program import BINARY, SOURCE, Process, clean_environment, eventually

TOKEN = "hf_aTokenOfTheseTests0123456789"
NAME = "org/tiny"
SIZE = 3_000_000


class Place:
    """A working directory, a hub, and calls of the program."""

    def __init__(self, directory, seed):
        self.random = random.Random(seed)
        self.directory = directory
        self.graph = self.random.randbytes(SIZE)
        self.files = hubs.model_files(self.graph)
        self.hub = hubs.Hub({NAME: self.files})
        self.processes = []

    def start(self, *words, token=None, endpoint=None, **how):
        environment = clean_environment(HF_ENDPOINT=endpoint or self.hub.url, HF_HUB_DOWNLOAD_TIMEOUT="5",
                                        **({"HF_TOKEN": token} if token else {}))
        process = Process(["--log-level", "debug", "model", *words], environment, self.directory, **how)
        self.processes.append(process)
        return process

    def call(self, *words, code=0, **how):
        return self.start(*words, **how).ends(code)

    def pull(self, *words, **how):
        return self.call("pull", NAME, *words, **how)

    @property
    def folder(self):
        return self.directory / "models" / "tiny"

    def there(self):
        """Everything in the models' folder, hidden things too: path -> bytes."""
        base = self.directory / "models"
        return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}

    def check(self, files=None):
        """The model is there, whole, and nothing else is."""
        files = files or self.files
        there = self.there()
        record = json.loads(there.pop("tiny/reembed-model.json"))
        assert there == {f"tiny/{name}": files[name] for name in hubs.NEEDED}
        assert record["repository"] == NAME and {file["path"] for file in record["files"]} == hubs.NEEDED
        return record

    def close(self):
        for process in self.processes:
            if process.running:
                process.kill()
            print(process)
        self.hub.close()


@pytest.fixture
def seed():
    seed = int(os.environ.get("REEMBED_TEST_SEED") or random.SystemRandom().randrange(2 ** 31))
    print(f"seed {seed}")
    return seed


@pytest.fixture
def place(tmp_path, seed):
    place = Place(tmp_path, seed)
    yield place
    place.close()


def bodies(place):
    """Requests of the large file that were answered with some of it."""
    return [request for request in place.hub.asked("store", "model.onnx") if request.sent > 0]


# --- what is fetched, and who sees the token ---

def test_only_what_is_needed_is_fetched_and_the_token_stays_with_the_hub(place):
    place.hub.token = TOKEN
    process = place.pull(token=TOKEN)
    record = place.check()
    assert record["commit"] == hubs.COMMIT and record["revision"] == "main"
    asked = {request.path.partition("/resolve/main/")[2] for request in place.hub.asked("hub", "/resolve/")}
    assert asked == hubs.NEEDED
    assert {request.token for request in place.hub.asked("hub")} == {f"Bearer {TOKEN}"}
    stored = place.hub.asked("store")
    assert len(stored) == 1 and stored[0].token is None, "the token went to another host"
    assert TOKEN not in process.out + process.err
    assert not any(TOKEN.encode() in data for data in place.there().values())
    assert "next: reembed new --path models/tiny" in process.out


def test_a_redirect_within_the_hub_keeps_the_token_and_its_word(place):
    """As of a model that was renamed."""
    place.hub.token = TOKEN
    place.hub.repositories["org/old"] = {}
    path = f"/org/old/resolve/main/tokenizer.json"
    place.hub.repositories["org/old"] = place.files
    place.hub.statuses[path] = [(307, [("Location", f"/{NAME}/resolve/main/tokenizer.json")])]
    place.call("pull", "org/old", token=TOKEN)
    assert (place.directory / "models/old/tokenizer.json").read_bytes() == place.files["tokenizer.json"]
    assert len(place.hub.asked("hub", "tokenizer.json")) == 2


def test_a_revision_is_asked_for_and_a_folder_may_be_named(place):
    process = place.pull("--revision", "refs/pr/1", "--dir", "elsewhere", "--json")
    report = json.loads(process.out)
    assert report["path"] == "elsewhere/tiny" and report["changed"] and report["transferred_bytes"] > SIZE
    assert (report["dimensions"], report["pooling"], report["max_tokens"], report["unchecked_files"]) == (8, "cls", 48, 0)
    assert (place.directory / "elsewhere/tiny/onnx/model.onnx").read_bytes() == place.graph
    assert place.hub.asked("hub", "/resolve/refs/pr/1/")


def test_called_again_it_transfers_nothing(place):
    place.pull()
    before = place.there()
    place.hub.requests.clear()
    report = json.loads(place.pull("--json").out)
    assert not report["changed"] and report["transferred_bytes"] == 0 and not bodies(place)
    assert place.there() == before


# --- transfers that break ---

def test_killed_in_the_middle_it_goes_on_by_range(place):
    place.hub.hold_after = SIZE // 2
    process = place.start("pull", NAME)
    assert place.hub.held.wait(60)
    part = lambda: sum(len(data) for name, data in place.there().items() if name.endswith(".part"))
    eventually(lambda: part() > SIZE // 4, 30, "a good part to be on the disk")
    process.send(signal.SIGKILL)
    process.popen.wait()
    kept = part()
    assert not place.folder.exists()
    place.hub.hold_after = None
    place.hub.go_on.set()
    place.hub.requests.clear()
    report = json.loads(place.pull("--json").out)
    place.check()
    [request] = bodies(place)
    assert request.range == f"bytes={kept}-" and request.status == 206 and request.sent == SIZE - kept
    assert report["transferred_bytes"] < SIZE


@pytest.mark.parametrize("lengths", [True, False], ids=["announced", "unannounced"])
def test_a_connection_that_is_cut_again_and_again_is_made_again(place, lengths):
    place.hub.lengths = lengths         # without, the end of the connection looks like the end of the file
    place.hub.cut = [SIZE // 5, 0, SIZE // 5, 100_000]
    place.pull()
    place.check()
    starts = [int((request.range or "bytes=0-")[6:-1]) for request in place.hub.asked("store")]
    assert len(starts) == 5 and starts == sorted(starts) and starts[-1] > SIZE // 3
    assert sum(request.sent for request in bodies(place)) < SIZE * 1.2


def test_a_server_without_ranges_is_asked_for_all_of_it_again(place):
    place.hub.ranges = False
    place.hub.cut = [SIZE // 2]
    place.pull()
    place.check()
    assert [request.status for request in place.hub.asked("store")] == [200, 200]


def test_a_hub_that_is_busy_is_asked_again(place):
    path = f"/{NAME}/resolve/main/config.json"
    place.hub.statuses[path] = [(503, []), (429, [("Retry-After", "0")]), (500, [])]
    place.pull()
    place.check()
    assert len(place.hub.asked("hub", "/config.json")) == 4 + 1      # the pooling's is one, too


def test_a_hub_that_is_away_is_given_up_and_what_came_is_kept(place):
    place.hub.cut = [SIZE // 2] + [0] * 20
    process = place.pull(code=1)
    assert "ended" in process.err and not place.folder.exists()
    kept = sum(len(data) for data in place.there().values())
    assert kept >= SIZE // 2 - 70_000
    place.hub.cut = []
    place.hub.requests.clear()
    place.pull()
    place.check()
    assert sum(request.sent for request in bodies(place)) <= SIZE - kept
    assert "not reached" in place.pull(code=1, endpoint="http://127.0.0.1:9").err


# --- a good model is never lost to a bad one ---

def test_a_file_that_is_not_the_listed_one_changes_nothing(place):
    place.pull()
    good = place.there()
    place.hub.repositories[NAME] = newer = dict(place.files, **{"onnx/model.onnx": place.random.randbytes(SIZE)})
    place.hub.corrupt = {"model.onnx"}
    process = place.pull(code=7)
    assert "checksum" in process.err and "model.onnx" in process.err
    assert place.there() == good, "something was changed or left behind"
    assert len(bodies(place)) == 3, "once for the good one, twice for the bad one"
    place.hub.corrupt = {"tokenizer.json"}      # a small one: by its git blob id
    place.hub.repositories[NAME] = dict(newer, **{"tokenizer.json": hubs.tokenizer(("other", "words"))})
    assert "tokenizer.json" in place.pull(code=7).err
    assert place.there() == good
    place.hub.corrupt = set()
    place.pull()
    place.check(place.hub.repositories[NAME])


def test_a_newer_one_takes_its_place_in_one_step(place):
    """Whoever looks meanwhile sees the old folder or the new one, never a mixture and never none."""
    place.pull()
    versions = [place.files, dict(place.files, **{"onnx/model.onnx": place.random.randbytes(SIZE),
                                                  "config.json": place.files["config.json"] + b"\n"})]
    seen, wrong, enough = set(), [], threading.Event()

    def look():
        while not enough.is_set():
            folder = None
            try:
                folder = os.open(place.folder, os.O_RDONLY)    # of one moment
                with open(os.open("config.json", os.O_RDONLY, dir_fd=folder), "rb") as config:
                    seen.add(config.read())
                assert os.stat("onnx/model.onnx", dir_fd=folder).st_size == SIZE
            except (OSError, AssertionError) as error:
                # the folder that was opened may be removed by now: then another is in its place
                if folder is None or os.path.samestat(os.fstat(folder), os.stat(place.folder)):
                    wrong.append(error)
            finally:
                if folder is not None:
                    os.close(folder)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for version in (1, 0, 1):
            place.hub.repositories[NAME] = versions[version]
            place.hub.commit = str(version) * 40
            place.pull()
            assert place.check(versions[version])["commit"] == str(version) * 40
    finally:
        enough.set()
        looker.join()
    assert not wrong and len(seen) == 2, wrong[:3]


def test_what_no_pull_has_made_is_never_replaced(place):
    place.folder.mkdir(parents=True)
    for name in hubs.NEEDED:
        (place.folder / name).parent.mkdir(exist_ok=True)
        (place.folder / name).write_bytes(place.files[name])
    report = json.loads(place.pull("--json").out)      # the same by chance: good
    assert not report["changed"] and not bodies(place)
    (place.folder / "onnx/model.onnx").write_bytes(b"mine")
    mine = place.there()
    process = place.pull(code=2)
    assert "not made by model pull" in process.err and "move it away" in process.err
    assert place.there() == mine and not bodies(place)
    shutil.rmtree(place.folder)
    place.folder.write_text("a file")
    assert "no folder" in place.pull(code=2).err
    place.folder.unlink()
    elsewhere = place.directory / "elsewhere"
    elsewhere.mkdir()
    place.folder.symlink_to(elsewhere)
    assert "no folder" in place.pull(code=2).err and not any(elsewhere.iterdir())


def test_a_full_disk_is_told_and_keeps_what_came(place):
    """The limit on files stands for it: it makes the same write fail."""
    place.pull()
    good = place.there()
    place.hub.repositories[NAME] = newer = dict(place.files, **{"onnx/model.onnx": place.random.randbytes(SIZE)})
    # a shell that ignores the signal, so that the write fails
    wrapper = ("sh", "-c", f"trap '' XFSZ; ulimit -f {SIZE // 2 // 512}; exec \"$@\"", "sh")
    process = place.pull(code=1, wrapper=wrapper)
    assert "can't write" in process.err and "make room" in process.err
    assert {name: data for name, data in place.there().items() if "pull" not in name} == good
    place.hub.requests.clear()
    place.pull()
    place.check(newer)
    assert all(request.range for request in bodies(place)), "it began again"


# --- two at once ---

def test_of_two_pulls_at_once_one_transfers_and_both_succeed(place):
    place.hub.hold_after = 100_000
    first = place.start("pull", NAME)
    assert place.hub.held.wait(60)
    second = place.start("pull", NAME)
    eventually(lambda: "waiting for it" in second.err, 30, "the second to wait")
    third = place.start("pull", NAME)
    eventually(lambda: "waiting for it" in third.err, 30, "the third to wait")
    place.hub.go_on.set()
    for process in (first, second, third):
        process.ends(0)
    place.check()
    assert len(bodies(place)) == 1
    assert "is here already" in second.out and "is here already" in third.out


def test_one_that_waits_goes_on_when_the_other_is_killed(place):
    place.hub.hold_after = SIZE // 2
    first = place.start("pull", NAME)
    assert place.hub.held.wait(60)
    second = place.start("pull", NAME)
    eventually(lambda: "waiting for it" in second.err, 30, "the second to wait")
    place.hub.hold_after = None
    first.kill()
    second.ends(0)
    place.check()
    place.hub.go_on.set()


# --- refusals ---

def test_what_the_hub_refuses_says_what_to_do(place):
    place.hub.token = TOKEN
    process = place.pull(code=5)
    assert "401" in process.err and "set HF_TOKEN" in process.err and "Invalid credentials" in process.err
    process = place.pull(code=5, token="hf_another_token_0123")
    assert "401" in process.err and "accept its terms" in process.err
    place.hub.token = None
    process = place.call("pull", "org/nothing", code=5)
    assert "org/nothing has no" in process.err
    assert not (place.directory / "models/nothing").exists()
    place.hub.statuses[f"/api/models/{NAME}/revision/main"] = [(403, [("X-Error-Message", f"gated, {TOKEN}")])]
    process = place.pull(code=5, token=TOKEN)
    assert "gated" in process.err and TOKEN not in process.err
    assert not list((place.directory / "models").glob("*")), "something was left behind"


@pytest.mark.parametrize("missing", ["onnx/model.onnx", "tokenizer.json"])
def test_a_repository_without_a_graph_or_a_tokenizer_is_refused(place, missing):
    del place.files[missing]
    assert "has no" in place.pull(code=5).err and not place.there()


def test_a_model_of_another_kind_is_refused_before_its_weights_are_fetched(place):
    place.files["tokenizer.json"] = json.dumps({"model": {"type": "Unigram", "vocab": []}}).encode()
    process = place.pull(code=2)
    assert "tokenizer" in process.err and not place.hub.asked("store") and not place.there()
    process = place.call("pull", "intfloat/multilingual-e5-small", code=2)
    assert "embeddings server" in process.err and len(place.hub.asked("hub", "e5")) == 0


@pytest.mark.parametrize("name", ["../evil", "a/../b", "/etc", "a/b/c", "", ".hidden", "a//b", "https://host/a/b", "-x/y"])
def test_a_name_that_is_no_name_is_refused(place, name):
    words = ["pull", "--", name]
    assert "no name of a model" in place.call(*words, code=2).err
    assert not place.hub.requests


def test_paths_that_lead_elsewhere_are_not_followed(place):
    for evil in ("../../1_Pooling", "/etc", "..", "a/../../b", ".ssh"):
        place.files["modules.json"] = hubs.model_files(pooling=evil)["modules.json"]
        process = place.pull(code=5)
        assert "leads elsewhere" in process.err
    place.files["modules.json"] = hubs.model_files()["modules.json"]
    place.files["../../outside.json"] = b"{}"
    place.files["/etc/outside.json"] = b"{}"
    place.pull()
    del place.files["../../outside.json"], place.files["/etc/outside.json"]
    place.check()
    assert sorted(path.name for path in place.directory.iterdir()) == ["models"]


def test_redirects_that_lead_nowhere_good_are_not_followed(place):
    for target, words in (("file:///etc/passwd", "no http or https"), ("ftp://127.0.0.1/x", "no http or https"),
                          (f"{place.hub.url}/{NAME}/resolve/main/onnx/model.onnx", "in circles")):
        place.hub.redirect = target
        assert words in place.pull(code=5).err
        assert not place.folder.exists()


def test_a_token_is_not_sent_in_the_clear_and_an_address_must_be_one(place):
    process = place.pull(code=2, token=TOKEN, endpoint="http://192.0.2.1")
    assert "plain http" in process.err and TOKEN not in process.err
    for endpoint in ("localhost:8080", "ftp://127.0.0.1", "http://user:secret-word@127.0.0.1"):
        process = place.pull(code=2, endpoint=endpoint)
        assert "HF_ENDPOINT" in process.err and "secret-word" not in process.err
    assert "control character" in place.pull(code=2, token="hf_a\tb").err


# --- hubs that say less ---

def test_a_mirror_without_a_listing_is_asked_for_each_file(place):
    place.hub.listing = False
    place.pull()
    place.check()
    place.hub.requests.clear()
    report = json.loads(place.pull("--json").out)
    assert not report["changed"] and not bodies(place)
    # interrupted, it goes on although nothing was known beforehand
    place.hub.repositories[NAME] = newer = dict(place.files, **{"onnx/model.onnx": place.random.randbytes(SIZE)})
    place.hub.cut = [SIZE // 2] + [0] * 20
    place.pull(code=1)
    place.hub.cut = []
    place.hub.requests.clear()
    place.pull()
    place.check(newer)
    assert all(request.range for request in bodies(place))


def test_a_graph_without_a_checksum_is_refused(place):
    place.hub.listing = place.hub.checksums = False
    process = place.pull(code=5)
    assert "names no checksum" in process.err and not place.folder.exists()


def test_a_pointer_is_no_model(place):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 90405214\n"
    place.files["onnx/model.onnx"] = pointer
    assert "LFS pointer" in place.pull(code=5).err and not place.folder.exists()


# --- model list ---

def test_the_list_tells_what_is_here_and_what_is_wrong_with_it(place):
    assert "next: reembed model pull" in place.call("list").out
    place.pull()
    broken = place.directory / "models" / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_bytes(place.files["tokenizer.json"])
    (place.directory / "models" / "notes").mkdir()
    out = place.call("list").out
    row = next(line for line in out.splitlines() if line.startswith("tiny"))
    assert row.split()[1:4] == ["8", "cls", "48"] and NAME in row and "3.0 MB" in row
    assert "broken has neither model.onnx nor onnx/model.onnx" in out and "notes" not in out
    report = json.loads(place.call("list", "--json").out)
    assert report["folder"] == "models"
    models = {model["name"]: model for model in report["models"]}
    assert models.keys() == {"tiny", "broken"} and models["broken"]["usable"] is False
    tiny = models["tiny"]
    assert (tiny["dimensions"], tiny["pooling"], tiny["max_tokens"], tiny["usable"]) == (8, "cls", 48, True)
    assert (tiny["repository"], tiny["commit"]) == (NAME, hubs.COMMIT)
    assert tiny["bytes"] == sum(len(data) for name, data in place.there().items() if name.startswith("tiny/"))
    assert json.loads(place.call("list", "--dir", "nowhere", "--json").out)["models"] == []


def test_words_that_make_no_sense_are_refused(place):
    for words in (["pull"], ["list", "x"], ["push", "x"], ["list", "--revision", "x"]):
        assert "usage: reembed model pull" in place.call(*words, code=2).err


# --- a real model ---

@pytest.mark.skipif(not (SOURCE / "models/paraphrase-MiniLM-L3-v2").is_dir(), reason="no models here: scripts/fetch-models")
def test_a_real_model_that_was_pulled_embeds_as_the_original_does(place):
    original = SOURCE / "models/paraphrase-MiniLM-L3-v2"
    files = {str(path.relative_to(original)): path.read_bytes() for path in original.rglob("*") if path.is_file()}
    place.hub.repositories["sentence-transformers/paraphrase-MiniLM-L3-v2"] = files
    place.call("pull", "sentence-transformers/paraphrase-MiniLM-L3-v2")
    pulled = place.directory / "models/paraphrase-MiniLM-L3-v2"
    texts = "".join(json.dumps({"text": text}) + "\n" for text in ("a first text", "and quite another one"))
    vectors = [subprocess.run([BINARY, "embed", "--model", folder], input=texts, env=clean_environment(), check=True,
                              capture_output=True, text=True).stdout for folder in (original, pulled)]
    assert vectors[0] == vectors[1] and vectors[0].count("embedding") == 2
