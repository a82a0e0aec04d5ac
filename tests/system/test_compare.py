"""Both models on the same queries: the verdict, and the gate that stands on it. Models are planted: how good each one
is, is known."""
import json
import re

import pytest

from embedding_model import DIMENSIONS, ModelServer, vector
from lab import merged

GOOD, FAIR, POOR, BAD = "planted-0.2", "planted-0.9", "planted-1.2", "planted-6"
DOCUMENTS = 400


class Collection:
    """Documents of some words each, with their vectors by the source's model, and a migration to the target's."""

    def __init__(self, lab, source, target, provider=True):
        self.lab, self.server = lab, lab.open(ModelServer())
        words = [f"w{number}" for number in range(600)]
        self.bodies = {number: " ".join(lab.random.sample(words, 12)) for number in range(1, DOCUMENTS + 1)}
        lab.database.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, body text, embedding vector({DIMENSIONS}))")
        with lab.database.sql.cursor().copy("COPY docs FROM STDIN") as copy:
            for number, body in self.bodies.items():
                copy.write_row((number, body, str(vector(source, body).tolist())))
        self.config = {
            "source": {"model": source, **({"provider": self.server.provider()} if provider else {})},
            "target": {"model": target, "provider": self.server.provider()},
            "gates": {"auto_cutover": False},
        }

    def file(self, **changes):
        return self.lab.file(**merged(self.config, changes))

    def filled(self, **changes):
        """The file, after a run that leaves only the flip."""
        file = self.file(**changes)
        self.lab.run(file, code=7)
        return file

    def queries(self, every=4):
        """What somebody may type: some of a document's words, in another order."""
        path = self.lab.directory / "queries.jsonl"
        path.write_text("".join(json.dumps({"text": " ".join(sorted(body.split())[:6]), "relevant": [str(number)]}) + "\n"
                                for number, body in self.bodies.items() if number % every == 0))
        return path


def compare(lab, *words, code=0):
    return json.loads(lab.call("compare", "m1", "--json", *words, code=code).out)


def overlap_gate(lab):
    return lab.database.row("SELECT holds, actual, required, text FROM reembed.gates WHERE gate = 'overlap'")


def compared(lab):
    return lab.database.value("SELECT count(*) FROM reembed.events WHERE event = 'compare'")


def test_a_better_model_is_go_and_the_event_keeps_it(lab):
    collection = Collection(lab, FAIR, GOOD)
    collection.filled(target={"index": {"method": "hnsw"}})
    page = lab.directory / "page.html"
    report = compare(lab, "--file", "m1.json", "--queries", collection.queries(), "--html", page)
    assert report["verdict"] == "go" and report["judged"] == DOCUMENTS // 4 == report["queries"]
    assert report["target"]["quality"]["recall_at_10"]["mean"] > report["source"]["quality"]["recall_at_10"]["mean"]
    assert report["change"]["recall_at_1"]["low"] > 0
    assert report["documents"] == DOCUMENTS and report["coverage"] == 1
    assert report["target"]["stored"]["differing"] == report["source"]["stored"]["differing"] == 0
    assert report["index"]["recall"]["mean"] > 0.9 and len(report["index"]["sweep"]) == 6
    kept = lab.database.value("SELECT detail FROM reembed.events WHERE event = 'compare'")
    assert kept["verdict"] == "go" and kept["change"] == report["change"]
    html = page.read_text()
    assert html.count("<svg") >= 4 and "prefers-color-scheme:dark" in html
    assert not re.search(r"<script|https?://|src=|@import|url\(", html), "the page needs nothing else"
    assert not any(body[:20] in html for body in collection.bodies.values()), "statistics only"
    text = lab.call("compare", "m1", "--file", "m1.json", "--queries", "queries.jsonl").out
    assert "recall@10" in text and "hnsw.ef_search" in text and text.splitlines()[-1].startswith("next: ")


def test_a_worse_model_is_no_go(lab):
    collection = Collection(lab, GOOD, BAD)
    collection.filled()
    report = compare(lab, "--file", "m1.json", code=7)
    assert report["verdict"] == "no_go" and report["queries_from"] == "passages"
    assert report["change"]["recall_at_10"]["high"] < 0


def test_ranks_are_those_of_an_exact_search(lab):
    collection = Collection(lab, FAIR, GOOD)
    collection.filled()
    report = compare(lab, "--file", "m1.json", "--queries", collection.queries(every=1))
    for side, model in (("source", FAIR), ("target", GOOD)):
        vectors = {number: vector(model, body) for number, body in collection.bodies.items()}
        found = []
        for number, body in collection.bodies.items():
            query = vector(model, " ".join(sorted(body.split())[:6]))
            scores = {other: float(query @ one) for other, one in vectors.items()}
            found.append(sum(score > scores[number] for score in scores.values()) + 1)
        quality = report[side]["quality"]
        assert quality["recall_at_1"]["mean"] == pytest.approx(sum(rank == 1 for rank in found) / len(found), abs=0.005)
        assert quality["recall_at_10"]["mean"] == pytest.approx(sum(rank <= 10 for rank in found) / len(found), abs=0.005)
        assert quality["mrr_at_10"]["mean"] == pytest.approx(sum(1 / rank for rank in found if rank <= 10) / len(found), abs=0.005)


def test_vectors_under_other_ids_are_no_go(lab):
    collection = Collection(lab, FAIR, GOOD)
    collection.filled()
    table = lab.target_table()
    lab.database.execute(f"""UPDATE {table} t SET embedding = o.embedding FROM (
        SELECT doc_id, lead(embedding, 7, NULL) OVER (ORDER BY doc_id) AS embedding FROM {table}) o
        WHERE o.doc_id = t.doc_id AND o.embedding IS NOT NULL""")
    report = compare(lab, "--file", "m1.json", code=7)
    assert report["verdict"] == "no_go" and "stored target vectors" in report["reason"]
    # with nobody to embed anything: what both hold has nothing in common
    report = compare(lab, "--file", "m1.json", "--known-items", "body", code=7)
    assert report["verdict"] == "no_go"


def test_stored_vectors_alone_say_how_much_both_agree(lab):
    collection = Collection(lab, FAIR, GOOD, provider=False)
    file = collection.filled()
    report = compare(lab, "--file", file, code=7)
    assert report["queries_from"] == "documents" and report["verdict"] == "inconclusive"
    assert 0.3 < report["overlap_at_10"]["mean"] < 1 and report["source"]["quality"] is None
    assert "source.provider" in lab.call("compare", "m1", "--file", file, "--queries", collection.queries(), code=2).err
    lab.call("compare", "m2", code=2)


def test_a_random_fifth_is_enough_for_an_early_look(lab):
    collection = Collection(lab, FAIR, GOOD)
    file = collection.file()
    lab.run(file, "--until", 0.2, code=3)
    report = compare(lab, "--file", file, "--queries", collection.queries(every=1))
    assert 40 < report["documents"] < 130 and report["verdict"] == "go"
    assert report["coverage"] == pytest.approx(report["documents"] / DOCUMENTS)
    assert report["judged"] == report["documents"], "the others' answers are not there yet"


def test_the_run_compares_by_itself_where_a_gate_asks_for_it(lab):
    collection = Collection(lab, FAIR, GOOD)
    lab.run(collection.file(gates={"auto_cutover": True, "min_recall_change": 0, "min_overlap_at_10": 0.1}))
    events = [event for event, in lab.database.rows("SELECT event FROM reembed.events ORDER BY at")]
    assert compared(lab) == 1 and events.index("compare") < events.index("cutover")
    assert lab.state() == "completed"


def test_the_runs_own_comparison_keeps_the_limits_of_the_provider(lab):
    collection = Collection(lab, FAIR, GOOD)
    file = collection.file(gates={"auto_cutover": True, "min_recall_change": 0}, limits={"requests_per_minute": 240})
    lab.run(file)
    asked = collection.server.asked(GOOD)
    assert compared(lab) == 1 and len(asked) > DOCUMENTS / 50 + 2, "the comparison asks it too"
    assert len(asked) <= (asked[-1] - asked[0]) * 240 / 60 + 2


def test_a_worse_model_does_not_flip_by_itself(lab):
    collection = Collection(lab, GOOD, POOR)
    file = collection.file(gates={"auto_cutover": True, "min_recall_change": -0.01})
    process = lab.run(file, code=7)
    assert "recall@10 changes by" in process.err and lab.database.value("SELECT reembed.route_query('docs')") == "legacy"
    holds, actual, required, _ = overlap_gate(lab)
    assert not holds and actual < required == -0.01
    once = compared(lab)
    lab.run(file, code=7)
    assert compared(lab) == once, "nothing has changed: it is not asked again"
    # the operator takes the loss: the figures are judged anew, without another comparison
    lab.run(collection.file(gates={"auto_cutover": True, "min_recall_change": -1}))
    assert compared(lab) == once and lab.state() == "completed"


def test_a_comparison_of_fewer_documents_does_not_count_for_the_flip(lab):
    collection = Collection(lab, FAIR, GOOD)
    file = collection.file(gates={"auto_cutover": True, "min_overlap_at_10": 0.1})
    assert overlap_gate_text(lab, file, "--until", 0.2, code=3) == "not compared"
    lab.call("compare", "m1", "--file", file, "--queries", collection.queries(every=1))
    assert overlap_gate(lab)[0], "it speaks of all that is there"
    lab.run(file)
    assert compared(lab) == 2 and lab.state() == "completed"


def overlap_gate_text(lab, file, *words, code):
    lab.run(file, *words, code=code)
    holds, _, _, text = overlap_gate(lab)
    return "not compared" if not holds and "not been compared" in text else text


def test_many_changes_make_a_comparison_stale(lab):
    collection = Collection(lab, FAIR, GOOD)
    file = collection.filled(gates={"min_overlap_at_10": 0.1})
    assert overlap_gate(lab)[0] and compared(lab) == 1
    lab.database.execute("UPDATE docs SET body = body || ' again' WHERE id <= %s", DOCUMENTS // 2)
    lab.run(file, code=7)
    assert compared(lab) == 2, "half of the vectors were made anew"
    lab.call("cutover", "m1")


def test_without_a_source_only_the_index_is_judged(lab):
    collection = Collection(lab, FAIR, GOOD)
    lab.run(collection.file(source=None, gates={"auto_cutover": True, "min_index_recall": 0.5},
                            target={"index": {"method": "hnsw"}}))
    assert compared(lab) == 1 and lab.state() == "completed"


@pytest.mark.parametrize("words", [["--queries", "a", "--known-items", "b"], ["-k", "0"], ["--queries", "/nowhere"],
                                   ["--known-items", "no_such_column"]])
def test_wrong_calls_are_refused(lab, words):
    collection = Collection(lab, FAIR, GOOD)
    lab.run(collection.file(), "--until", 0.1, code=3)
    lab.call("compare", "m1", "--file", "m1.json", *words, code=2)
