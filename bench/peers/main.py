"""Measure `reembed run` beside vecshift 0.4.0 and pgai 0.12.1, programs that fill pgvector tables too: on one private
Postgres 18, against one fake embeddings server (tests/fake_server, OpenAI form), over the same documents, in turn.

How each is called. The peers are installed from the package index into .cache/peers, each in an environment of its own,
and pointed at the server as their documentation has it:
  vecshift   vecshift apply --yes --no-index, model compat/bench,url=http://127.0.0.1:PORT/v1,dims=D,batch=B,price=0:
             B texts a request, and 4 requests at a time, which is what it always does
  pgai       pgai vectorizer worker --once, of a vectorizer made before by ai.create_vectorizer with
             ai.embedding_openai('bench', D, base_url => 'http://127.0.0.1:PORT/v1'), ai.chunking_none(),
             ai.processing_default(batch_size => B, concurrency => 4)
  reembed    reembed run --yes, "dialect" openai, batch_size B, max_concurrent 4, no index on the new vectors
All start from a table that has old vectors of 384 dimensions, without an index of them, and vecshift and reembed also
from one with an HNSW index: vecshift writes into that table, the others beside it. None builds the new index, which
would take each as long. The run of reembed includes its schema, change capture, the exact check of all vectors and the
flip of queries; vecshift's its checks, its count and its trigger, not its cutover; pgai's neither its schema nor the
filling of its queue.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from plot import write_svg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reembed_run  # noqa: E402
from whole_run import (TOP, Postgres, copy_of, embedding_server, make_documents, measure, median,  # noqa: E402
                       require_vectors)

CONCURRENT = 4  # of vecshift: a constant of the program
VERSIONS = {"vecshift": "0.4.0", "pgai": "0.12.1"}
OLD_DIMENSIONS = 384

# What is compared: heading, unit, value of a run, digits, whether more is better.
MEASURES = [
    ("documents a second", "", lambda run: run.rate, 0, True),
    ("CPU of the client", "s per 1,000", lambda run: run.client_cpu * 1000 / run.documents, 3, False),
    ("CPU of Postgres", "s per 1,000", lambda run: run.postgres_cpu * 1000 / run.documents, 3, False),
    ("resident memory", "MB", lambda run: run.rss_mb, 0, False),
    ("WAL", "bytes a document", lambda run: run.wal_bytes / run.documents, 0, False),
    ("growth on disk", "bytes a document", lambda run: run.disk_bytes / run.documents, 0, False),
    ("longest transaction", "ms", lambda run: run.longest_ms, 0, False),
]


def installed(name):
    """The peer's program, installed if it is not there yet."""
    wanted = pathlib.Path(__file__).resolve().parent / f"{name}.txt"
    home = TOP / ".cache" / "peers" / name
    stamp = home / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        "-r", wanted], check=True)
        stamp.write_text(wanted.read_text())
    return home / "bin" / name


def run_vecshift(args, postgres, database, folder, url):
    model = f"compat/bench,url={url},dims={args.dimensions},batch={args.batch},price=0"
    job = {"version": 1, "source": {"table": "public.docs", "vector_column": "embedding", "text_column": "body"},
           "target": {"column": "embedding_v2"}, "model": model}
    with tempfile.TemporaryDirectory(dir=folder) as own:  # it keeps its state beside the job
        path = pathlib.Path(own) / "vecshift.yaml"
        path.write_text(json.dumps(job))  # JSON is YAML
        words = [str(installed("vecshift")), "apply", str(path), "--yes", "--no-index"]
        figures = measure(postgres, database, args.documents, words, {"VECSHIFT_DSN": postgres.uri(database)})
    require_vectors(postgres, database, f"SELECT count(*) FROM docs WHERE vector_dims(embedding_v2) = {args.dimensions}",
                    args.documents)
    return figures


def run_pgai(args, postgres, database, folder, url):
    program = str(installed("pgai"))
    uri = postgres.uri(database)
    subprocess.run([program, "install", "-d", uri], check=True, capture_output=True)
    postgres.execute(database, f"""
        SELECT ai.create_vectorizer('public.docs', loading => ai.loading_column('body'),
            destination => ai.destination_table(target_table => 'docs_new'), parsing => ai.parsing_none(),
            embedding => ai.embedding_openai('bench', {args.dimensions}, base_url => '{url}'),
            chunking => ai.chunking_none(), indexing => ai.indexing_none(), scheduling => ai.scheduling_none(),
            processing => ai.processing_default(batch_size => {args.batch}, concurrency => {CONCURRENT}))""")
    words = [program, "vectorizer", "worker", "--once", "--log-level", "error", "-d", uri]
    figures = measure(postgres, database, args.documents, words, {"OPENAI_API_KEY": "none"})
    require_vectors(postgres, database, f"SELECT count(*) FROM docs_new WHERE vector_dims(embedding) = {args.dimensions}",
                    args.documents)
    return figures


def run_reembed(args, postgres, database, folder, url):
    file = reembed_run.migration(url, args.dimensions, args.batch, CONCURRENT, with_source=True)
    figures = measure(postgres, database, args.documents,
                      reembed_run.command(args.build, postgres, database, folder, file), {})
    reembed_run.check(postgres, database, args.documents)
    return figures


CONTENDERS = {"reembed": run_reembed, "vecshift": run_vecshift, "pgai": run_pgai}


def compare(args, postgres, folder, indexed, peers):
    """Rounds of each contender, in turn."""
    rounds = {name: [] for name in ["reembed", *peers]}
    template = "bench_indexed" if indexed else "bench_plain"
    make_documents(postgres, template, args.documents, OLD_DIMENSIONS, indexed)
    for _ in range(args.rounds):
        for name, runs in rounds.items():
            with embedding_server(args.build, dimensions=args.dimensions, latency_ms=args.latency) as url, \
                    copy_of(postgres, template) as database:
                runs.append(CONTENDERS[name](args, postgres, database, folder, url))
    postgres.execute("postgres", f"DROP DATABASE {template}")
    return rounds


def rows_of(rounds, peer):
    """Heading, unit, digits, reembed's median, the peer's, and how many times better reembed is."""
    for heading, unit, value, digits, more_is_better in MEASURES:
        ours, theirs = (median(rounds[name], value) for name in ("reembed", peer))
        yield heading, unit, digits, ours, theirs, ours / theirs if more_is_better else theirs / ours


def print_table(title, rounds):
    peers = [name for name in rounds if name != "reembed"]
    print(f"\n{title}\n\n| | reembed |{''.join(f' {peer} | |' for peer in peers)}\n|---|---|{'---|---|' * len(peers)}")
    for rows in zip(*(rows_of(rounds, peer) for peer in peers)):
        heading, unit, digits, ours = rows[0][:4]
        cells = [f"{heading}{f', {unit}' if unit else ''}", f"{ours:,.{digits}f}"]
        for row in rows:
            cells += [f"{row[4]:,.{digits}f}", f"{row[5]:.1f} x" + ("" if row[5] >= 1 else ": reembed needs more")]
        print(f"| {' | '.join(cells)} |")
    spread = ", ".join(f"{name} {min(run.rate for run in runs):,.0f} to {max(run.rate for run in runs):,.0f}"
                       for name, runs in rounds.items())
    print(f"\nDocuments a second from the slowest to the fastest round: {spread}.", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="bench/run-peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20000, help="of about 1 kB (20000)")
    parser.add_argument("--rounds", type=int, default=3, help="of each program (3)")
    parser.add_argument("--dimensions", type=int, default=384, help="of the new vectors (384)")
    parser.add_argument("--batch", type=int, default=100, help="documents a request (100)")
    parser.add_argument("--latency", type=int, default=20, metavar="MS", help="of the embeddings server (20)")
    parser.add_argument("--old", choices=["plain", "indexed", "both"], default="both", help="the old column (both)")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FILE", help="write the ratios as a picture")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="keep the medians there, beside those that earlier runs left; the picture has all of them")
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=TOP / "build", help="the build (build/)")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(VERSIONS), metavar="NAME,NAME",
                        help="which of vecshift,pgai (both)")
    args = parser.parse_args()
    for peer in args.peers:
        installed(peer)
    kept = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    limit = args.batch * CONCURRENT * 1000 / args.latency if args.latency else 0
    print(f"{args.documents} documents of about 1 kB, {args.dimensions} dimensions, {args.batch} a request, {CONCURRENT} "
          f"at a time, {args.latency} ms: no program can do more than {limit:,.0f} documents a second"
          if limit else f"{args.documents} documents, no latency")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        with Postgres(folder) as postgres:
            for old in ("plain", "indexed"):
                # pgai only reads the table: an index of the old column is nothing to it.
                peers = [peer for peer in args.peers if old == "plain" or peer != "pgai"]
                if args.old not in (old, "both") or not peers:
                    continue
                rounds = compare(args, postgres, folder, old == "indexed", peers)
                title = "old column " + ("with an HNSW index" if old == "indexed" else "without an index")
                print_table(f"{title}, medians of {args.rounds}", rounds)
                for peer in peers:
                    kept[f"{peer} {VERSIONS[peer]}, {title}"] = [list(row) for row in rows_of(rounds, peer)]
    if args.json:
        args.json.write_text(json.dumps(kept, indent=1))
    if args.svg:
        write_svg(args.svg, kept)


if __name__ == "__main__":
    main()
