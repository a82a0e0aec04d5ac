"""Measure what it costs `reembed run --listen` to be scraped each second, as Prometheus would at its most eager.

The provider is hashing, which costs next to nothing: the processors are busy with the run and Postgres, so that whatever a
scrape takes is taken from them. One run is cut into seconds; of every two, one, by chance the first or the second, is
scraped once in its middle. Throughput is read off the bytes of WAL, of which each document writes as many (looking costs
microseconds), so both sides are of the same seconds of the same run and other work on the machine hits both alike.
Prints the ratio of the pairs, and the processor time of one scrape when nothing else runs.
"""
import argparse
import http.client
import json
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from whole_run import TICK, TOP, Postgres, copy_of, one_number  # noqa: E402

DIMENSIONS = 384
LOST_AT_THE_ENDS = 1.5  # seconds of a run, in which it starts or builds up


def make_documents(postgres, database, documents):
    postgres.execute("postgres", f'CREATE DATABASE "{database}"')
    postgres.execute(database, "CREATE EXTENSION vector", "CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL)",
                     "INSERT INTO docs SELECT g, 'document ' || g || ' ' || md5(g::text) || md5((-g)::text) "
                     f"FROM generate_series(1, {documents}) g", "VACUUM (ANALYZE, FREEZE) docs")


def migration(folder):
    path = pathlib.Path(folder) / "migration.json"
    path.write_text(json.dumps({
        "id": "bench", "collection": "docs", "documents": {"table": "public.docs", "id": "id", "content": "body"},
        "source": None, "target": {"model": "hash", "dimensions": DIMENSIONS, "index": {"method": "none"},
                                   "provider": {"kind": "hashing"}}}))
    return path


def start(args, postgres, database, file, log):
    process = subprocess.Popen([args.build / "bin" / "reembed", "--database-url", postgres.uri(database), "--no-progress",
                                "run", file, "--listen", "127.0.0.1:0", "--follow"], stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)/", pathlib.Path(log.name).read_bytes())):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"reembed does not listen: {pathlib.Path(log.name).read_text()}")
        time.sleep(0.01)
    return process, int(found[1])


def scrape(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or b"reembed_database_up 1" not in body:
        sys.exit(f"a scrape went wrong: {answer.status}")
    return len(body)


def processed(watch):
    return one_number(watch, "SELECT coalesce(max(processed), 0) FROM reembed.progress")


def wal(watch):
    return one_number(watch, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8")


def pairs_of(watch, port, documents, chance):
    """[(bytes in the second that was scraped, bytes in the other one)] until most documents are through."""
    while processed(watch) == 0:
        time.sleep(0.05)
    time.sleep(LOST_AT_THE_ENDS)
    per_document = None
    pairs, began, done = [], wal(watch), processed(watch)
    edge = time.monotonic()
    while True:
        pair = {}
        for scraped in chance.sample([True, False], 2):
            before = wal(watch)
            if scraped:
                time.sleep(max(0, edge + 0.5 - time.monotonic()))
                scrape(port)
            edge += 1
            time.sleep(max(0, edge - time.monotonic()))
            pair[scraped] = wal(watch) - before
        if per_document is None:
            now = processed(watch)
            per_document = (wal(watch) - began) / max(now - done, 1)
            edge = time.monotonic()
            continue  # the look at the progress was in it
        pairs.append((pair[True], pair[False]))
        written = (wal(watch) - began) / per_document + done
        if written + (pair[True] + pair[False]) / per_document * (1 + LOST_AT_THE_ENDS) > documents:
            return pairs


def cpu_of(process):
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICK


def cost_of_one(postgres, watch, process, port, scrapes):
    """Milliseconds of processor time, of the process and of Postgres, of a scrape that finds what was seen a second ago
    to be old, above those of the same time without any."""
    def spent(seconds, port):
        here = watch.info.backend_pid
        before = cpu_of(process.pid) + postgres.cpu_seconds(here)
        for _ in range(seconds):
            edge = time.monotonic() + 1.05
            if port:
                scrape(port)
            time.sleep(max(0, edge - time.monotonic()))
        return cpu_of(process.pid) + postgres.cpu_seconds(here) - before

    return (spent(scrapes, port) - spent(scrapes, None)) / scrapes * 1000


def interval(ratios, chance):
    """Of the median, by resampling: 95 in 100."""
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[-51]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build")
    parser.add_argument("--documents", type=int, default=1500000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle-scrapes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    ratios, rates, cost, size = [], [], None, 0
    with tempfile.TemporaryDirectory(prefix="reembed-scrape.") as folder:
        pathlib.Path(folder).chmod(0o755)
        with Postgres(folder) as postgres:
            make_documents(postgres, "bench_docs", args.documents)
            file = migration(folder)
            for number in range(args.rounds):
                with copy_of(postgres, "bench_docs") as database, \
                        psycopg.connect(postgres.uri(database), autocommit=True) as watch, \
                        open(pathlib.Path(folder) / f"log-{number}", "wb") as log:
                    watch.execute("CHECKPOINT")
                    began = time.monotonic()
                    process, port = start(args, postgres, database, file, log)
                    try:
                        while not one_number(watch, "SELECT to_regclass('reembed.progress') IS NOT NULL"):
                            time.sleep(0.05)
                        pairs = pairs_of(watch, port, args.documents, chance)
                        while processed(watch) < args.documents:
                            time.sleep(0.05)
                        rates.append(args.documents / (time.monotonic() - began))
                        ratios += [scraped / other for scraped, other in pairs]
                        print(f"round {number + 1}: {len(pairs)} pairs of seconds, {rates[-1]:.0f} documents a second, "
                              f"median ratio {statistics.median(ratios[-len(pairs):]):.4f}", flush=True)
                        if number == args.rounds - 1:
                            size = scrape(port)
                            cost = cost_of_one(postgres, watch, process, port, args.idle_scrapes)
                    finally:
                        process.terminate()
                        process.wait()
    low, high = interval(ratios, chance)
    print(f"throughput while scraped each second / without, {len(ratios)} pairs of seconds: median "
          f"{statistics.median(ratios):.4f} (95 %: {low:.4f} to {high:.4f}), mean {statistics.mean(ratios):.4f}")
    print(f"one scrape: {size} bytes, {cost:.1f} ms of processor time of the run and of Postgres together: "
          f"{cost / 10 / 2:.2f} % of two cores each second")


if __name__ == "__main__":
    main()
