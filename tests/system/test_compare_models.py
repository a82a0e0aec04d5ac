"""compare with the two real models of the demo, over real documents and the queries that people wrote for them: go for the
better model, no go for the worse one and for what is commonly done wrong."""
import functools
import json
import sys

import pytest

from program import SOURCE

sys.path.insert(0, str(SOURCE / "examples" / "demo"))
import descriptions  # noqa: E402
import model  # noqa: E402

DOCUMENTS = 400


def onnx(name, **settings):
    return {"kind": "onnx", "path": str(SOURCE / "models" / name), **settings}


@functools.cache
def documents():
    found, _ = descriptions.find(DOCUMENTS, SOURCE / ".demo" / "lists")
    return found[:DOCUMENTS]


@functools.cache
def vectors(name):
    with model.Model(name) as one:
        return list(one.embed_all([document.body for document in documents()]))


class Move:
    """The documents with vectors of the one model, moved to the other but for the flip."""

    def __init__(self, lab, source, target, **provider):
        self.lab = lab
        for name in (source, target):
            if not (SOURCE / "models" / name / "model.onnx").exists():
                pytest.skip("scripts/fetch-models brings the models")
        lab.database.execute("CREATE TABLE docs (id bigint PRIMARY KEY, query text, body text, embedding vector(384))")
        with lab.database.sql.cursor().copy("COPY docs FROM STDIN") as copy:
            for number, (one, vector) in enumerate(zip(documents(), vectors(source)), 1):
                copy.write_row((number, one.query, one.body, vector))
        self.file = lab.file(source={"model": source, "provider": onnx(source)},
                             target={"model": target, "dimensions": 384, "provider": onnx(target, **provider)}, gates={"auto_cutover": False})
        lab.run(self.file, code=7, seconds=300)

    def verdict(self, code):
        report = json.loads(self.lab.call("compare", "m1", "--file", self.file, "--known-items", "query", "--json",
                                          code=code, seconds=300).out)
        print(report["verdict"], report["reason"], report["change"])
        return report


def test_the_better_model_is_go_and_its_vectors_under_other_ids_are_not(lab):
    move = Move(lab, model.OLD, model.NEW)
    report = move.verdict(code=0)
    assert report["verdict"] == "go"
    assert report["target"]["quality"]["recall_at_10"]["mean"] > report["source"]["quality"]["recall_at_10"]["mean"]
    table = lab.target_table()
    lab.database.execute(f"""UPDATE {table} t SET embedding = o.embedding FROM (
        SELECT doc_id, lead(embedding) OVER (ORDER BY doc_id) AS embedding FROM {table}) o
        WHERE o.doc_id = t.doc_id AND o.embedding IS NOT NULL""")
    report = move.verdict(code=7)
    assert report["verdict"] == "no_go" and "stored target vectors" in report["reason"]


def test_the_worse_model_is_no_go(lab):
    report = Move(lab, model.NEW, model.OLD).verdict(code=7)
    assert report["verdict"] == "no_go"
    assert report["change"]["recall_at_10"]["high"] < 0 or report["change"]["ndcg_at_10"]["high"] < 0


@pytest.mark.parametrize("mistake", [
    {"document_prefix": "search_document: ", "query_prefix": "search_query: "},
    {"document_prefix": "passage: "},
    {"pooling": "cls"},
], ids=["prefixes of another model", "a prefix on one side", "pooling"])
def test_what_the_better_model_was_not_made_for_is_no_go(lab, mistake):
    report = Move(lab, model.OLD, model.NEW, **mistake).verdict(code=7)
    assert report["verdict"] == "no_go"
