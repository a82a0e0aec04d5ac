"""Whole migrations through the fake server in each dialect, its limits enforced: the texts that are at fault are listed,
each with its reason, and every other document is current.

REEMBED_TEST_LONG=1 runs them with 5,000 documents and each policy in each dialect."""
import json

import pytest

import oracle
from lab import DIMENSIONS, MODEL, merged
from program import LONG, sized

KEY = "sk-of-the-dialect-0123456789"

# The base address that a person writes down (docs/dialects.md), behind http://127.0.0.1:PORT.
BASES = {
    "openai": "/v1", "azure": "", "tei": "", "tei-openai": "/v1", "vllm": "/v1", "ollama": "", "llama-server": "/v1",
    "infinity": "", "localai": "/v1", "voyage": "/v1", "cohere": "", "jina": "/v1", "mistral": "/v1", "gemini": "/v1beta",
}
# What the server cuts without a word can't be counted.
SILENT = {"infinity"}

MAX_TEXT_TOKENS = 120               # a token is four bytes there
LONG_TEXT = "long and longer, " * 60


def base(provider, dialect):
    return f"http://127.0.0.1:{provider.port}{BASES[dialect]}"


def http(provider, dialect, **more):
    return {"target": {"provider": {"kind": "openai", "dialect": dialect, "url": base(provider, dialect), **more}}}


def cut_text(vector, text):
    """The beginning of the text that this vector is of, or None."""
    beginnings = [text[:length] for length in range(1, len(text) + 1)]
    rows = oracle.vectors(MODEL, beginnings, DIMENSIONS)
    found = (rows == vector).all(axis=1).nonzero()[0]
    return beginnings[found[0]] if len(found) else None


def outcomes(provider):
    return [request["outcome"] for request in provider.requests()]


RUNS = [(dialect, policy) for number, dialect in enumerate(BASES)
        for policy in (("truncate", "skip", "fail") if LONG else ("truncate", ("skip", "fail")[number % 2]))]


@pytest.mark.parametrize("dialect, policy", RUNS)
def test_a_migration_ends_with_exactly_its_exceptions(lab, dialect, policy):
    count = sized(5000, 300)
    journal = lab.documents(count, words=9)
    poison, too_long, empty = lab.random.sample(range(1, count + 1), 3)
    for key, text in ((poison, "POISON in a text"), (too_long, LONG_TEXT), (empty, " \n\t ")):
        journal.documents[key] = (text, journal.documents[key][1])
        lab.database.execute("UPDATE docs SET body = %s WHERE id = %s", text, key)
    provider = lab.provider(dialect=dialect, model=MODEL, key=KEY, max_text_tokens=MAX_TEXT_TOKENS)
    # two batches: as many texts at once as make the dialect's limits matter
    file = lab.file(**merged(http(provider, dialect, api_key_env="DIALECT_KEY", on_too_long=policy),
                             {"backfill": {"batch_size": count // 2}, "gates": {"max_failed": 2}}))
    lab.run(file, code=9, env={"DIALECT_KEY": KEY})

    assert lab.state() == "completed"
    failures = {row[0]: row[1:] for row in lab.database.rows(
        "SELECT doc_id, kind, reason, http_status, attempts > 0, detail IS NOT NULL FROM reembed.failures")}
    expected = {str(poison): ("failed", "permanent_api_error", 400, True, True),
                str(empty): ("skipped", "empty_content", None, False, True)}
    cut = policy == "truncate" or dialect in SILENT
    if not cut:
        status = failures.get(str(too_long), (0, 0, 0))[2]
        assert 400 <= status < 600
        expected[str(too_long)] = ("skipped" if policy == "skip" else "failed", "content_too_large", status, True, True)
    assert failures == expected

    bodies = journal.bodies()
    del bodies[str(poison)]
    vectors = dict(lab.target_vectors())
    if cut:
        kept = cut_text(vectors[str(too_long)], LONG_TEXT)
        assert kept is not None, "the text that was too long has a vector that is of no beginning of it"
        assert 2 * MAX_TEXT_TOKENS <= len(kept) <= 4 * MAX_TEXT_TOKENS, f"{len(kept)} bytes of {len(LONG_TEXT)}"
        bodies[str(too_long)] = kept
    else:
        del bodies[str(too_long)]
    lab.check_target(bodies)
    lab.check_counts()
    lab.check_untouched(journal)
    assert lab.progress("truncated") == (1 if cut and dialect not in SILENT else 0)

    # the row knows the server's limits, so no request was in vain but those about the three texts
    found = outcomes(provider)
    assert not {"too_many_items", "too_many_tokens", "bad_encoding", "bad_dimensions", "bad_key", "no_path"} & set(found)
    status = json.loads(lab.call("status", "m1", "--json").out)
    assert status["tokens"] == sum(request["tokens"] for request in provider.requests() if request["status"] == 200)
    assert status["requests"] == len(found)
    print(f"{dialect}, {policy}: {count} documents in {len(found)} requests")
