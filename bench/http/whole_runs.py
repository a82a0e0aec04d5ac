"""Measure embedding over HTTP against tests/fake_server, beside what the server's latency allows.

Prints two tables. The first is of bench-http: the worker and the HTTP provider alone. The second is of whole runs:
`reembed run` from an empty schema to the flip, on a private Postgres 18 with ordinary settings, no vector index.
With B documents a request, T requests at a time and a latency of L no program embeds more than B * T / L documents a
second: that is the column `limit`. Bytes on the wire and 2 x the work (base64 or floats, dimensions) cost the rest.
"""
import argparse
import itertools
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reembed_run  # noqa: E402
from whole_run import TOP, Postgres, copy_of, embedding_server, make_documents, measure, median  # noqa: E402


def numbers(text):
    return [int(word) for word in text.split(",")]


def shapes(text):
    return [tuple(map(int, word.split("x"))) for word in text.split(",")]


def alone(args):
    print("bench-http: the worker and the provider, without a database", flush=True)
    for dimensions, (batch, threads) in itertools.product(args.dimensions, args.shapes):
        print(f"{dimensions} dimensions, {batch} documents a request, {threads} at a time", flush=True)
        subprocess.run([args.build / "bin" / "bench-http", "--seconds", str(args.seconds), "--floats", "--threads",
                        str(threads), "--batch", str(batch), "--dimensions", str(dimensions), "--latencies",
                        ",".join(map(str, args.latencies))], check=True)


def whole(args, folder):
    print(f"reembed run, whole: {args.documents} documents of about 1 kB, median of {args.rounds}; CPU in seconds per "
          "1,000 documents")
    print(f"{'dimensions':>10} {'shape':>8} {'encoding':>8} {'latency':>8} {'docs/s':>8} {'limit':>8} {'share':>6} "
          f"{'CPU':>8} {'Postgres':>8} {'RSS':>9} {'WAL a document':>14} {'longest transaction':>19}", flush=True)
    with Postgres(folder) as postgres:
        make_documents(postgres, "bench_docs", args.documents)
        for dimensions, (batch, threads), base64, latency in itertools.product(
                args.dimensions, args.shapes, ("yes", "ignore"), args.latencies):
            rounds = []
            with embedding_server(args.build, dimensions=dimensions, latency_ms=latency, base64=base64) as url:
                file = reembed_run.migration(url, dimensions, batch, threads, with_source=False)
                for _ in range(args.rounds):
                    with copy_of(postgres, "bench_docs") as database:
                        words = reembed_run.command(args.build, postgres, database, folder, file)
                        rounds.append(measure(postgres, database, args.documents, words, {}))
                        reembed_run.check(postgres, database, args.documents)
            rate = median(rounds, lambda figures: figures.rate)
            limit = batch * threads * 1000 / latency if latency else None
            thousands = args.documents / 1000
            print(f"{dimensions:10} {f'{batch}x{threads}':>8} {'base64' if base64 == 'yes' else 'float':>8} "
                  f"{latency:5} ms {rate:8.0f} {f'{limit:.0f}' if limit else '-':>8} "
                  f"{f'{rate / limit:.2f}' if limit else '-':>6} "
                  f"{median(rounds, lambda figures: figures.client_cpu) / thousands:8.4f} "
                  f"{median(rounds, lambda figures: figures.postgres_cpu) / thousands:8.4f} "
                  f"{median(rounds, lambda figures: figures.rss_mb):6.1f} MB "
                  f"{median(rounds, lambda figures: figures.wal_bytes) / args.documents:14.0f} "
                  f"{median(rounds, lambda figures: figures.longest_ms):16.0f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="bench/run-http", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latencies", type=numbers, default=[0, 20, 100], metavar="MS,MS")
    parser.add_argument("--dimensions", type=numbers, default=[384, 768, 1536], metavar="N,N")
    parser.add_argument("--shapes", type=shapes, default=[(100, 4), (200, 16)], metavar="BxT,BxT",
                        help="documents a request x requests at a time (100x4,200x16)")
    parser.add_argument("--documents", type=int, default=40000, help="of a whole run (40000)")
    parser.add_argument("--rounds", type=int, default=3, help="of a whole run (3)")
    parser.add_argument("--seconds", type=float, default=2, help="a row of bench-http lasts (2)")
    parser.add_argument("--only", choices=["alone", "whole"], help="one of the two tables")
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=TOP / "build", help="the build (build/)")
    args = parser.parse_args()
    if args.only != "whole":
        alone(args)
    if args.only != "alone":
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            folder.chmod(0o755)
            whole(args, folder)


if __name__ == "__main__":
    main()
