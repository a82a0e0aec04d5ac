"""Planted faults: `verify` finds every one, puts it into the change log, and the next run heals it. On what is right
there is nothing to find."""
import json
import struct

import numpy
import pytest

from lab import DIMENSIONS
from program import scaled

FAULTS = 200


def bare(values, kind):
    """pgvector's own layout behind the varlena header, in this machine's byte order: what no input function lets in."""
    code = "e" if kind == "halfvec" else "f"
    return struct.pack(f"=hh{len(values)}{code}", len(values), 0, *values)


class Planter:
    def __init__(self, lab, kind, documents):
        self.lab, self.kind, self.sql = lab, kind, lab.database
        self.table = lab.target_table()
        self.sql.execute(f"CREATE CAST (bytea AS {kind}) WITHOUT FUNCTION")
        self.victims = lab.random.sample(range(1, documents + 1), FAULTS)
        self.others = [key for key in range(1, documents + 1) if key not in set(self.victims)]

    def store(self, key, values):
        self.sql.execute(f"UPDATE {self.table} SET embedding = %s::bytea::{self.kind} WHERE doc_id = %s",
                         bare(values, self.kind), key)

    def noise(self):
        values = numpy.array([self.lab.random.gauss(0, 1) for _ in range(DIMENSIONS)])
        return values / numpy.linalg.norm(values)

    # --- each plants one fault into the vector of a document ---

    def wrong(self, key):
        """Another document's vector."""
        self.sql.execute(f"UPDATE {self.table} SET embedding = (SELECT embedding FROM {self.table} WHERE doc_id = %s) "
                         "WHERE doc_id = %s", self.lab.random.choice(self.others), key)

    def missing(self, key):
        self.sql.execute(f"DELETE FROM {self.table} WHERE doc_id = %s", key)

    def forgotten(self, key):
        """The mark of a deleted document in the place of a vector."""
        self.sql.execute(f"UPDATE {self.table} SET embedding = NULL, content_hash = NULL WHERE doc_id = %s", key)

    def stale(self, key):
        """An edit that no trigger saw."""
        self.sql.execute("UPDATE docs SET body = body || ' (edited)' WHERE id = %s", key)

    def extra(self, key):
        self.sql.execute(f"INSERT INTO {self.table} SELECT %s, read_token, content_hash, embedding FROM {self.table} "
                         "WHERE doc_id = %s", 1_000_000 + key, self.others[0])

    def unseen_delete(self, key):
        self.sql.execute("DELETE FROM docs WHERE id = %s", key)

    def other_model(self, key):
        self.store(key, self.noise())

    def nearly(self, key):
        """Only just too far from the model's: cosine 0.999."""
        row = self.sql.vectors(f"SELECT doc_id, embedding FROM {self.table} WHERE doc_id = {key}")
        right = row[0][1].astype(float)
        aside = self.noise()
        aside -= aside.dot(right) * right
        self.store(key, 0.999 * right + (1 - 0.999 ** 2) ** 0.5 * aside / numpy.linalg.norm(aside))

    def zero(self, key):
        self.store(key, [0.0] * DIMENSIONS)

    def not_a_number(self, key):
        values = list(self.noise())
        values[self.lab.random.randrange(DIMENSIONS)] = float("nan")
        self.store(key, values)

    def infinite(self, key):
        values = list(self.noise())
        values[self.lab.random.randrange(DIMENSIONS)] = float("-inf")
        self.store(key, values)

    def plant(self):
        kinds = [self.wrong, self.missing, self.forgotten, self.stale, self.extra, self.unseen_delete, self.other_model,
                 self.nearly, self.zero, self.not_a_number, self.infinite]
        planted = {}
        self.sql.execute("ALTER TABLE docs DISABLE TRIGGER USER")
        for number, key in enumerate(self.victims):
            kind = kinds[number % len(kinds)]
            kind(key)
            planted[kind.__name__] = planted.get(kind.__name__, 0) + 1
        # as they were: against replication too
        for name, in self.sql.rows("SELECT tgname FROM pg_trigger WHERE tgrelid = 'docs'::regclass AND NOT tgisinternal"):
            self.sql.execute(f'ALTER TABLE docs ENABLE ALWAYS TRIGGER "{name}"')
        return planted


@pytest.mark.parametrize("kind", ["vector", "halfvec"])
def test_every_planted_fault_is_found_queued_and_healed(lab, kind):
    documents = scaled(2000, 600)
    lab.documents(documents)
    file = lab.file(target={"type": kind})
    lab.run(file)

    def verify(code):
        return json.loads(lab.call("verify", "m1", "--file", file, "--sample", 10 * documents, "--json", code=code).out)

    clean = verify(0)
    assert clean["holds"] and clean["queued"] == 0
    assert clean["sample"]["documents"] == documents and clean["sample"]["differing"] == 0

    planted = Planter(lab, kind, documents).plant()
    assert sum(planted.values()) == FAULTS
    found = verify(7)
    assert found["missing"] == planted["missing"] + planted["forgotten"]
    assert found["stale"] == planted["stale"]
    assert found["orphaned"] == planted["extra"] + planted["unseen_delete"]
    assert found["unusable"] == planted["zero"] + planted["not_a_number"] + planted["infinite"]
    assert found["sample"]["differing"] == planted["wrong"] + planted["other_model"] + planted["nearly"]
    assert found["queued"] == FAULTS, found

    again = verify(7)                       # what is queued is known, and not queued twice
    assert again["queued"] == FAULTS
    assert lab.database.value("SELECT count(*) FROM reembed_data.docs_changes") == FAULTS
    lab.run(file)
    healed = verify(0)
    assert healed["holds"] and healed["current"] == documents - planted["unseen_delete"]
    lab.check_target(dict(lab.database.rows("SELECT id::text, body FROM docs WHERE btrim(body) <> ''")),
                     half=kind == "halfvec")


def test_a_sample_is_not_taken_with_another_model(lab):
    """Every document would look wrong, and all of them would be paid for again."""
    lab.documents(300)
    lab.run(lab.file())
    other = lab.file("other.json", target={"provider": {"document_prefix": "another: "}})
    process = lab.call("verify", "m1", "--file", other, "--sample", 50, code=5)
    assert "another model" in process.err
    assert lab.database.value("SELECT count(*) FROM reembed_data.docs_changes") == 0
    lab.call("verify", "m1", "--sample", 50, "--file", lab.file())
