"""See bench/fused/run. All documents are embedded once; a level is a random share of their vectors."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import psycopg

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "examples" / "demo"))
import descriptions  # noqa: E402
import model  # noqa: E402

LEVELS = [level / 10 for level in range(11)]
DEPTH = 10


def load(sql, documents, vectors):
    sql.execute("CREATE EXTENSION IF NOT EXISTS vector")
    sql.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL, embedding vector(384))")
    with sql.cursor().copy("COPY docs FROM STDIN") as copy:
        for number, (one, vector) in enumerate(zip(documents, vectors), 1):
            copy.write_row((number, one.body, vector))
    sql.execute("CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)")
    sql.execute("ANALYZE docs")


def migration(directory):
    file = directory / "fused.json"
    onnx = {name: {"kind": "onnx", "path": str(TOP / "models" / name)} for name in (model.OLD, model.NEW)}
    file.write_text(json.dumps({
        "id": "fused", "collection": "docs", "documents": {"table": "public.docs", "id": "id", "content": "body"},
        "source": {"model": model.OLD, "column": "embedding", "provider": onnx[model.OLD]},
        "target": {"model": model.NEW, "provider": onnx[model.NEW]},
        "gates": {"auto_cutover": False}}))
    return file


def reembed(*words, allowed):
    done = subprocess.run([model.program(), "--no-progress", "--log-level", "warning", *map(str, words)])
    if done.returncode not in allowed:
        sys.exit(f"reembed {words[0]}: exit {done.returncode}")


class Levels:
    """The target's table, filled to a level by taking vectors away from the whole and putting them back."""

    def __init__(self, sql):
        self.sql = sql
        self.table = sql.execute("SELECT s.table_name FROM reembed.migration m JOIN reembed.space s ON s.space_id = m.target_space").fetchone()[0]
        sql.execute(f"CREATE TABLE public.whole AS SELECT * FROM {self.table}")

    def fill(self, share):
        chosen = "('x' || left(md5(doc_id::text || ' level'), 8))::bit(32)::bigint < %s * 4294967296"
        self.sql.execute(f"DELETE FROM {self.table} WHERE NOT ({chosen})", (share,))
        self.sql.execute(f"INSERT INTO {self.table} SELECT * FROM public.whole WHERE {chosen} ON CONFLICT DO NOTHING", (share,))
        self.sql.execute(f"VACUUM ANALYZE {self.table}")
        return self.sql.execute(f"SELECT count(*)::float8 / (SELECT count(*) FROM docs) FROM {self.table}").fetchone()[0]

    def recall(self, statement, queries):
        found = 0
        for number, old, new in queries:
            found += number in [row[0] for row in self.sql.execute(statement, {"old": old, "new": new})]
        return found / len(queries)

    def unreachable(self, query):
        return self.sql.execute("""SELECT count(*) FROM docs WHERE id NOT IN
            (SELECT doc_id FROM reembed_data.docs_fused(%(old)s::vector, %(new)s::vector, (SELECT count(*) FROM docs)::int))""",
                                {"old": query[1], "new": query[2]}).fetchone()[0]


def measure(sql, queries):
    levels, rows = Levels(sql), []
    statements = {
        "source": f"SELECT id FROM docs ORDER BY embedding <=> %(old)s::vector LIMIT {DEPTH}",
        "target": f"SELECT doc_id FROM {levels.table} ORDER BY embedding <=> %(new)s::vector LIMIT {DEPTH}",
        "fused": f"SELECT doc_id FROM reembed_data.docs_fused(%(old)s::vector, %(new)s::vector, {DEPTH})",
    }
    print(f"{'coverage':>8} {'source':>8} {'target':>8} {'fused':>8}  unreachable")
    for share in LEVELS:
        row = {"coverage": levels.fill(share), **{name: levels.recall(statement, queries) for name, statement in statements.items()},
               "unreachable": levels.unreachable(queries[0])}
        rows.append(row)
        print(f"{row['coverage']:8.3f} {row['source']:8.3f} {row['target']:8.3f} {row['fused']:8.3f}  {row['unreachable']}", flush=True)
    return rows


# --- the picture ---

STYLE = """svg{font:13px system-ui,sans-serif}text{fill:#5b6470}.grid{stroke:#d9dee4}path{fill:none;stroke-width:2.5}
.source{stroke:#8a8f98}.target{stroke:#c98500}.fused{stroke:#0b6bcb}.l-source{fill:#6b717b}.l-target{fill:#9a6700}.l-fused{fill:#0b6bcb}
@media(prefers-color-scheme:dark){text{fill:#a0a8b3}.grid{stroke:#31373f}.source{stroke:#9aa2ad}.target{stroke:#e0a83c}.fused{stroke:#5aa9ff}
.l-source{fill:#9aa2ad}.l-target{fill:#e0a83c}.l-fused{fill:#5aa9ff}}"""


def draw(rows):
    def x(share):
        return 60 + 540 * share

    def y(recall):
        return 290 - 260 * recall

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 345" role="img" aria-label="recall at 10 by coverage">',
             f"<style>{STYLE}</style>"]
    for tick in range(0, 11, 2):
        parts.append(f'<line class="grid" x1="60" x2="600" y1="{y(tick / 10):.1f}" y2="{y(tick / 10):.1f}"/>'
                     f'<text x="52" y="{y(tick / 10) + 4:.1f}" text-anchor="end">{tick / 10:.1f}</text>'
                     f'<text x="{x(tick / 10):.1f}" y="310" text-anchor="middle">{tick * 10} %</text>')
    labels = {"fused": "both, fused", "source": "source alone", "target": "target alone"}
    height = {"fused": -4, "source": 6, "target": 14}
    for name, label in labels.items():
        path = "L".join(f"{x(row['coverage']):.1f} {y(row[name]):.1f}" for row in rows)
        parts.append(f'<path class="{name}" d="M{path}"/><text class="l-{name}" x="608" y="{y(rows[-1][name]) + height[name]:.1f}">{label}</text>')
    parts.append('<text x="330" y="336" text-anchor="middle">documents that have a vector of the new model</text>'
                 '<text x="60" y="18">recall@10: the document that a query describes is among the first ten</text></svg>')
    return "\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=6000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--lists", default="/tmp/reembed-demo-lists")
    parser.add_argument("--svg", type=pathlib.Path)
    args = parser.parse_args()
    found, place = descriptions.find(args.documents, args.lists)
    documents = found[:args.documents]
    print(f"{len(documents):,} descriptions from {place}")
    step = max(1, len(documents) // args.queries)
    numbers = list(range(1, len(documents) + 1, step))[:args.queries]
    texts = [documents[number - 1].query for number in numbers]
    vectors = {}
    for name in (model.OLD, model.NEW):
        with model.Model(name, "--query") as one:
            vectors[name] = list(one.embed_all(texts))
    with psycopg.connect(os.environ["REEMBED_DATABASE_URL"], autocommit=True) as sql, tempfile.TemporaryDirectory() as directory:
        with model.Model(model.OLD) as old:
            load(sql, documents, list(old.embed_all([one.body for one in documents])))
        reembed("run", migration(pathlib.Path(directory)), allowed=(7,))
        rows = measure(sql, list(zip(numbers, vectors[model.OLD], vectors[model.NEW])))
    if args.svg:
        args.svg.write_text(draw(rows))
    bad = [row for row in rows if row["fused"] < max(row["source"], row["target"]) - 0.01 or row["unreachable"]]
    print("fused search holds at every level" if not bad else f"fused search falls behind at {[row['coverage'] for row in bad]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
