"""Debian's package descriptions: real texts that are on every Debian machine, or a few seconds away.

A description has a synopsis of one line and a body of some paragraphs. The body is the document; the synopsis, which
people wrote to say the same in few words, is the query that should find it. Neither is kept in this project: they are
read from the machine's own package lists. Where these hold no bodies (many container images leave them out), apt is
asked for them in a directory of our own, and the machine's lists stay as they are. Where there is no apt at all, a
small bundled sample must do: names and synopses only, so there the synopsis is the document and the name the query.
"""
import csv
import dataclasses
import glob
import gzip
import hashlib
import lzma
import os
import pathlib
import re
import shutil
import subprocess

LISTS = "/var/lib/apt/lists"
INSTALLED = "/var/lib/dpkg/status"
APT_HELPER = "/usr/lib/apt/apt-helper"
SAMPLE = pathlib.Path(__file__).resolve().parent / "sample.tsv"
SHORTEST = 200  # characters of a body


@dataclasses.dataclass(frozen=True)
class Description:
    package: str
    query: str  # what a person would type to find it
    body: str


def unfold(lines):
    """Paragraphs on one line each; what the author indented, such as a list, stays as it is."""
    text, joining = [], False
    for line in lines:
        line = line[1:].rstrip()
        if line in ("", "."):
            text.append("\n\n")
            joining = False
        elif line[0] in " *-+":
            text.append(("\n" if text and not text[-1].endswith("\n") else "") + line + "\n")
            joining = False
        else:
            text.append((" " if joining else "") + line)
            joining = True
    return re.sub(r"\n{3,}", "\n\n", "".join(text)).strip()


def parse(stream):
    """Yields a Description for each paragraph of a Packages, Translation or status file that has a body."""
    package, synopsis, body = None, None, None
    for line in stream:
        line = line.rstrip("\n")
        if line.startswith(" "):
            if body is not None:
                body.append(line)
            continue
        if synopsis and body:
            yield Description(package, synopsis, unfold(body))
            synopsis = None
        body = None
        field, _, value = line.partition(":")
        if field == "Package":
            package, synopsis = value.strip(), None
        elif field in ("Description", "Description-en"):
            synopsis, body = value.strip(), []
    if synopsis and body:
        yield Description(package, synopsis, unfold(body))


def open_list(path):
    """The lines of a package list, however apt keeps it."""
    if os.access(APT_HELPER, os.X_OK):  # knows every compression that apt itself uses
        child = subprocess.Popen([APT_HELPER, "cat-file", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 text=True, encoding="utf-8", errors="replace")
        with child.stdout:
            yield from child.stdout
        child.wait()
        return
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(pathlib.Path(path).suffix, open)
    with opener(path, "rt", encoding="utf-8", errors="replace") as file:
        yield from file


def of_lists(folder):
    for path in sorted(glob.glob(f"{folder}/*_i18n_Translation-en*") + glob.glob(f"{folder}/*_Packages*")):
        yield from parse(open_list(path))


def fetch_lists(folder):
    """Has apt fetch the package lists with descriptions into `folder`. Needs no root and touches nothing else."""
    if not shutil.which("apt-get"):
        return False
    for name in ("lists/partial", "cache/archives/partial"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    settings = {
        "Acquire::Languages": "en", "Acquire::GzipIndexes": "true", "Acquire::IndexTargets::deb::Contents-deb::"
        "DefaultEnabled": "false", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false", "APT::Sandbox::User": "",
        "Debug::NoLocking": "true", "Dir::State": folder, "Dir::State::lists": f"{folder}/lists",
        "Dir::Cache": f"{folder}/cache", "Dir::State::status": INSTALLED,
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    with open(f"{folder}/update.log", "wb") as log:
        done = subprocess.run(["apt-get", "update", "-q", *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    return done.returncode == 0


def of_sample():
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = csv.reader((line for line in file if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Description(package, package.replace("-", " "), synopsis) for package, synopsis in rows]


def choose(descriptions, shortest):
    """Drops what is short or doubled. The order is by the hash of the name: mixed, and the same on every run."""
    bodies, queries, chosen = set(), set(), []
    for one in sorted(descriptions, key=lambda d: (hashlib.md5(d.package.encode()).digest(), d.body)):
        if len(one.body) < shortest or one.body in bodies or one.query in queries:
            continue
        bodies.add(one.body)
        queries.add(one.query)
        chosen.append(one)
    return chosen


def find(wanted, folder):
    """At least `wanted` descriptions if they can be had, and where they are from. `folder`: for lists that apt fetches."""
    for place in (LISTS, f"{folder}/lists"):
        found = choose(of_lists(place), SHORTEST)
        if len(found) >= wanted:
            return found, "the package lists of this machine" if place == LISTS else "package lists fetched by apt"
    if fetch_lists(folder):
        found = choose(of_lists(f"{folder}/lists"), SHORTEST)
        if len(found) >= wanted:
            return found, "package lists fetched by apt"
    found = choose([*of_lists(LISTS), *parse(open_list(INSTALLED))] if os.path.exists(INSTALLED) else [], SHORTEST)
    if len(found) >= 200:
        return found, "the packages installed here"
    return choose(of_sample(), 1), "the bundled sample"
