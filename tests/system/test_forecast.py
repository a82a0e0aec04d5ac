"""What `plan` says against what the run then took: tokens, requests, disk, WAL, on three corpora of different kinds.

In CTest with some thousand documents. By hand with more, which prints the same tables:

    REEMBED_FORECAST_SCALE=20 scripts/test -R system_forecast.pg18 -V
"""
import json
import os
import pathlib
import random
import sys

import pytest

from program import SOURCE, scaled

sys.path.insert(0, str(SOURCE / "examples/demo"))
import descriptions  # noqa: E402

FACTOR = float(os.environ.get("REEMBED_FORECAST_SCALE") or 1)
WITHIN = 0.10


def count(number):
    return int(scaled(number, 200) * FACTOR)


def real_descriptions(wanted):
    """Descriptions of the packages that this machine has: some dozen to some hundred words of prose."""
    with open(descriptions.INSTALLED, encoding="utf-8") as status:
        found = [d.body for d in descriptions.parse(status)]
    # more than there are: each with its number, so that no two are the same
    return [found[n] if n < len(found) else f"{n} {found[n % len(found)]}" for n in range(wanted)]


def short_and_repeated(rng, wanted):
    """Tickets: short, some of them word for word the same."""
    canned = ["Please reset my password", "Where is my parcel?", "Thank you", "The page does not load", "Cancel it"]
    return [rng.choice(canned) if rng.random() < 0.15 else
            " ".join(rng.choice(["order", "late", "refund", "broken", "again", "why", "door"]) for _ in
                     range(rng.randrange(2, 20))) + f" {n}" for n in range(wanted)]


def of_very_different_lengths(rng, wanted):
    """Pages: most of them short, a few of many thousand characters, some empty."""
    def page(n):
        length = min(int(rng.lognormvariate(5.5, 1.2)), 20000)
        return "" if n % 50 == 0 else f"page {n}: " + "lorem ipsum dolor " * (length // 18)
    return [page(n) for n in range(wanted)]


CORPORA = {
    "prose": {
        "texts": lambda rng: real_descriptions(count(400)),
        "target": {"model": "paraphrase-MiniLM-L3-v2", "dimensions": 384, "index": {"method": "hnsw"},
                   "provider": {"kind": "onnx", "path": str(SOURCE / "models/paraphrase-MiniLM-L3-v2")}},
    },
    "tickets": {
        "texts": lambda rng: short_and_repeated(rng, count(4000)),
        "target": {"model": "hash", "dimensions": 768, "index": {"method": "hnsw", "m": 8, "ef_construction": 32},
                   "provider": {"kind": "hashing"}},
        "id": "uuid",
    },
    "pages": {
        "texts": lambda rng: of_very_different_lengths(rng, count(3000)),
        "target": {"model": "fake", "dimensions": 1536, "type": "halfvec", "index": {"method": "ivfflat", "lists": 20}},
        "http": {"max_request_tokens": 8192},
    },
}


def plan(lab, file):
    return json.loads(lab.call("plan", file, "--probe", "--json").out)["estimate"]


@pytest.mark.parametrize("name", CORPORA)
def test_a_run_takes_what_plan_says(cluster_lab, name, seed):
    lab, corpus = cluster_lab, CORPORA[name]
    path = corpus["target"].get("provider", {}).get("path")
    if path and not (pathlib.Path(path) / "model.onnx").exists():
        pytest.skip(f"{path} is not there (scripts/fetch-models)")
    texts = corpus["texts"](random.Random(seed))
    kind = corpus.get("id", "bigint")
    lab.database.execute(f"CREATE TABLE docs (id {kind} PRIMARY KEY, body text)")
    with lab.database.sql.cursor() as cursor, cursor.copy("COPY docs FROM STDIN") as copy:
        for number, text in enumerate(texts, 1):
            copy.write_row((f"00000000-0000-4000-8000-{number * 7919 % 2 ** 48:012x}" if kind == "uuid" else number, text))
    changes = {"source": None, "target": corpus["target"], "backfill": {"batch_size": 100}}
    if "http" in corpus:
        provider = lab.provider(dimensions=corpus["target"]["dimensions"], **corpus["http"])
        changes["target"] = {**corpus["target"], "provider": {
            "kind": "openai", "url": provider.url, "max_request_tokens": 8192}}
    file = lab.file(**changes)
    forecast = plan(lab, file)
    out = lab.run(file, seconds=300 * max(1, FACTOR)).out
    assert "forecast" in out and "took" in out, out

    outcome = lab.database.value("SELECT detail FROM reembed.events WHERE event = 'outcome'")
    taken = outcome["actual"]
    disk = [sum(figures[key] for key in ("table_bytes", "index_bytes")) for figures in (forecast, taken)]
    rows = [(key, forecast[key], taken[key]) for key in ("tokens", "requests", "wal_bytes", "table_bytes", "index_bytes")]
    rows.append(("disk", *disk))
    print(f"\n{name}: {len(texts)} documents, index built in {taken['index_seconds']:.1f} s "
          f"({forecast['index_seconds']:.1f} s said)")
    for key, said, took in rows:
        print(f"  {key:11} said {said:>14,.0f}   took {took:>14,.0f}   {100 * (took / said - 1):+6.1f} %")
    wrong = [row for row in rows if row[0] not in ("table_bytes", "index_bytes") and abs(row[2] / row[1] - 1) > WITHIN]
    assert not wrong, wrong

    status = lab.call("status", "m1").out
    assert "forecast" in status and "WAL" in status, status
    # what `run` keeps is what `plan` says, but for the probe
    assert outcome["forecast"]["table_bytes"] == forecast["table_bytes"]
