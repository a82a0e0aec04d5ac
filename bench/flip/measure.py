"""See bench/flip/run. Each round restarts the server, flips, and searches on a connection that was open before."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg

TOP = pathlib.Path(__file__).resolve().parents[2]
DIMENSIONS = 384
SEARCH = "SELECT doc_id FROM reembed_data.docs_current ORDER BY embedding <=> %s::vector LIMIT 10"


def server(action, directory, *words):
    return subprocess.run([TOP / "scripts" / "private-postgres", action, directory, *words], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def reembed(url, *words, allowed=(0,)):
    done = subprocess.run([os.environ["REEMBED"], "--no-progress", "--log-level", "warning", *map(str, words)],
                          env={**os.environ, "REEMBED_DATABASE_URL": url}, stdout=subprocess.DEVNULL)
    if done.returncode not in allowed:
        sys.exit(f"reembed {words[0]}: exit {done.returncode}")


def prepare(url, documents, directory):
    with psycopg.connect(url, autocommit=True) as sql:
        sql.execute("CREATE EXTENSION vector")
        if sql.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_prewarm'").fetchone():
            sql.execute("CREATE EXTENSION pg_prewarm")
        sql.execute(f"CREATE TABLE docs (id bigint PRIMARY KEY, body text, embedding vector({DIMENSIONS}))")
        sql.execute("INSERT INTO docs SELECT i, 'document ' || i || ' ' || md5(i::text) FROM generate_series(1, %s) i", (documents,))
    file = pathlib.Path(directory) / "flip.json"
    file.write_text(json.dumps({
        "id": "flip", "collection": "docs", "documents": {"table": "public.docs", "id": "id", "content": "body"},
        "source": {"model": "old", "column": "embedding"},
        "target": {"model": "new", "dimensions": DIMENSIONS, "provider": {"kind": "hashing"}},
        "gates": {"auto_cutover": False}}))
    reembed(url, "run", file, allowed=(7,))


def search(sql, vector):
    began = time.perf_counter()
    rows = sql.execute(SEARCH, (vector,), prepare=False).fetchall()
    assert len(rows) == 10
    return (time.perf_counter() - began) * 1000


def round_of(directory, warm):
    """The time of the first search after the flip, and those of the next ones."""
    server("stop", directory)
    for path in [pathlib.Path("/proc/sys/vm/drop_caches")]:
        try:
            os.sync()
            path.write_text("3")
        except OSError:
            pass
    url = server("start", directory)
    with psycopg.connect(url, autocommit=True) as application, psycopg.connect(url, autocommit=True) as admin:
        vectors = [row[0] for row in admin.execute("SELECT embedding::text FROM reembed_data.docs__new ORDER BY md5(doc_id::text) LIMIT 300")]
        application.execute("SELECT '[1]'::vector")
        if warm:
            reembed(url, "cutover", "flip")
        else:
            admin.execute("SELECT reembed.cutover('flip')")
        first = search(application, vectors[0])
        second = [search(application, vector) for vector in vectors[1:11]]
        for vector in vectors[11:200]:
            search(application, vector)
        steady = statistics.median(search(application, vector) for vector in vectors[200:])
        how = admin.execute("SELECT detail FROM reembed.events WHERE event = 'prewarm' ORDER BY at DESC LIMIT 1").fetchone() if warm else None
        admin.execute("SELECT reembed.rollback('flip')")
    reembed(url, "resume", "flip")
    return first, statistics.median(second), steady, how and how[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--documents", type=int, default=50000)
    args = parser.parse_args()
    url = server("start", args.server)
    with tempfile.TemporaryDirectory() as directory:
        prepare(url, args.documents, directory)
    print(f"{args.documents:,} documents, {DIMENSIONS} dimensions, HNSW; ms")
    print(f"{'':<28}{'first':>8}{'next ten':>10}{'steady':>8}")
    worst = 0
    for warm in (False, True):
        first, after, steady, how = round_of(args.server, warm)
        print(f"{'brought into memory before' if warm else 'as it is':<28}{first:8.2f}{after:10.2f}{steady:8.2f}", flush=True)
        worst = first / steady
    print(f"first / steady: {worst:.2f}; {how}")
    return 0 if worst <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
