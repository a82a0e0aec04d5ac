"""The programs of examples/applications, the very files that docs/cookbook.md shows, under a migration that is alive.

Each query is the text of a document, so the right answer is known: with the vector of the routed model that document is
the first hit, at distance 0. A vector of the other model would find something else, without any error.
"""
import http.server
import json
import os
import random
import subprocess
import threading
import urllib.parse
import urllib.request

import psycopg
import pytest

import oracle
from database import with_parts
from lab import MODEL, OLD_MODEL, DIMENSIONS
from program import SOURCE, clean_environment, eventually
from proxy import Proxy

APPLICATIONS = SOURCE / "examples" / "applications"
COUNT = 300


@pytest.fixture(scope="module")
def commands():
    """How each of them is started."""
    done = subprocess.run([SOURCE / "scripts" / "build-applications"], capture_output=True, text=True)
    if done.returncode == 77 and not os.environ.get("CI"):
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    built = done.stdout.strip()
    return {
        "python": [os.environ["REEMBED_PYTHON"], APPLICATIONS / "python" / "search.py"],
        "node": ["node", APPLICATIONS / "node" / "search.js"],
        "go": [f"{built}/search-go"],
        "java": ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp",
                 f"{built}/java:/usr/share/java/postgresql.jar", "Search"],
        "NODE_PATH": f"{built}/node/node_modules",
    }


class Gate:
    """In front of the embeddings servers, one a model: keeps answers back on demand, and counts who asked for what."""

    def __init__(self, providers):
        self.providers = providers
        self.asked = []                 # models, in order
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Semaphore(0)
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                model = json.loads(body)["model"]
                gate.asked.append(model)
                request = urllib.request.Request(gate.providers[model].url + "/embeddings", body,
                                                 {"Content-Type": "application/json"})
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                    data = answer.read()
                if not gate.open.is_set():
                    gate.waiting.release()
                    assert gate.open.wait(60)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self):
        self.open.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Searcher(threading.Thread):
    """One of the programs, asked all the time; and the routing, looked at before and after each answer."""

    def __init__(self, name, command, environment, directory, url, bodies, seed):
        super().__init__(daemon=True)
        self.program = name
        self.errors_path = directory / f"{name}.err"
        with self.errors_path.open("wb") as errors:
            self.popen = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=errors, env=environment, text=True)
        self.url = url
        self.bodies = bodies
        self.random = random.Random(f"{seed} {name}")
        self.answers = []               # (model, was the routing the same before and after)
        self.problem = None
        self._enough = threading.Event()

    def _routing(self, sql):
        return sql.execute("SELECT version, query_model FROM reembed.routing WHERE collection = 'docs'").fetchone()

    def _ask(self, sql):
        key = self.random.choice(list(self.bodies))
        before = self._routing(sql)
        self.popen.stdin.write(self.bodies[key] + "\n")
        self.popen.stdin.flush()
        line = self.popen.stdout.readline()
        after = self._routing(sql)
        assert line, f"{self.program} ended: {self.errors_path.read_text()}"
        answer = json.loads(line)
        hits = answer["hits"]
        assert len(hits) == 10, f"{self.program}: {len(hits)} hits"
        assert int(hits[0]["id"]) == key and hits[0]["title"] == f"title {key}" and abs(hits[0]["distance"]) < 1e-5, \
            f"{self.program}: asked for the text of {key}, by {answer['model']}, and got {hits[0]}"
        assert hits[1]["distance"] > 0.01
        if before == after:
            assert answer["model"] == before[1], f"{self.program} answered by {answer['model']}, the routing says {before}"
        self.answers.append((answer["model"], before == after))

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True) as sql:
                while not self._enough.is_set():
                    self._ask(sql)
        except Exception as error:      # whatever it is, the test must hear of it
            self.problem = error

    def more(self, model, count=5):
        """Waits until so many more answers came by this model, with the routing unmoved."""
        begin = len(self.answers)

        def enough():
            self.check()
            return sum(answer == (model, True) for answer in self.answers[begin:]) >= count
        eventually(enough, 60, f"{self.program} to answer {count} times by {model}")

    def check(self):
        if self.problem is not None:
            raise AssertionError(str(self.problem)) from self.problem

    def stop(self):
        self._enough.set()
        self.join(60)
        assert not self.is_alive(), f"{self.program} hangs"
        self.popen.stdin.close()
        code = self.popen.wait(30)
        self.popen.stdout.close()
        self.check()
        assert code == 0, f"{self.program}: exit {code}: {self.errors_path.read_text()}"

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


@pytest.mark.parametrize("dimensions", [DIMENSIONS, 48], ids=["same-size", "another-size"])
def test_they_always_query_with_the_model_that_the_routing_names(lab, commands, tmp_path, dimensions):
    reader = f"{lab.database.name}_reader"
    # a role that may do what an application may, and no more
    lab.database.execute(f"CREATE ROLE {reader} LOGIN")
    try:
        run(lab, commands, reader, tmp_path, dimensions)
    finally:
        lab.database.execute(f"DROP OWNED BY {reader}; DROP ROLE {reader}")


def socket_of(url):
    """The private servers listen on a socket only."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))["host"] + "/.s.PGSQL.5432"


def run(lab, commands, reader, directory, dimensions):
    journal = lab.documents(COUNT)
    bodies = {key: body for key, (body, _) in journal.documents.items()}
    old = oracle.vectors(OLD_MODEL, bodies.values(), DIMENSIONS)
    with lab.database.sql.cursor() as cursor:
        cursor.executemany("UPDATE docs SET embedding = %s::vector WHERE id = %s",
                           [(json.dumps([float(x) for x in vector]), key) for key, vector in zip(bodies, old)])
    slow = {"latency_ms": 400}       # until it is paused, so that everybody has asked before it is through
    providers = {OLD_MODEL: lab.provider(dimensions=DIMENSIONS), MODEL: lab.provider(dimensions=dimensions, **slow)}
    gate = lab.open(Gate(providers))
    file = lab.file(source={"provider": {"kind": "openai", "url": providers[OLD_MODEL].url}},
                    target={"dimensions": dimensions, "index": {"method": "hnsw"},
                            "provider": {"kind": "openai", "url": providers[MODEL].url}},
                    backfill={"batch_size": 5, "max_concurrent": 1, "target_query_threshold": 1},
                    gates={"auto_cutover": False})
    lab.database.execute(f"GRANT SELECT ON docs TO {reader}")
    worker = lab.start("run", file)
    lab.wait_processed(1)
    lab.call("init", "--reader", reader)
    url = with_parts(lab.url, user=reader)
    relay = lab.open(Proxy(socket_of(lab.url), lab.seed))     # JDBC speaks TCP only
    jdbc = f"jdbc:postgresql://127.0.0.1:{relay.port}/{lab.database.name}?user={reader}&sslmode=disable"

    programs = []
    for name in ("python", "node", "go", "java"):
        environment = clean_environment(DATABASE_URL=url, JDBC_URL=jdbc, EMBEDDINGS_URL=gate.url,
                                        NODE_PATH=commands["NODE_PATH"])
        programs.append(lab.open(Searcher(name, commands[name], environment, directory, lab.url, bodies, lab.seed)))
    for program in programs:
        program.start()

    def everybody(model):
        for program in programs:
            program.more(model)

    def flipped(*words):
        """The routing goes over while each program holds a vector of the model before: it must notice."""
        gate.open.clear()
        while gate.waiting.acquire(blocking=False):
            pass
        for _ in programs:
            assert gate.waiting.acquire(timeout=60), "a program stopped asking"
        lab.call(*words)
        asked = len(gate.asked)
        gate.open.set()
        return asked

    everybody(OLD_MODEL)                                # the backfill is under way
    assert lab.state() == "in_progress"
    lab.call("pause", "m1")
    worker.ends(8)
    providers[MODEL].set(latency_ms=0)
    everybody(OLD_MODEL)
    lab.call("resume", "m1")
    lab.run(file, code=7)                               # only the approval is left
    everybody(OLD_MODEL)
    asked = flipped("cutover", "m1")
    everybody(MODEL)
    assert gate.asked[asked:asked + 4].count(MODEL) == 4, "they did not ask again, with the model of the new routing"
    worker = lab.start("run", file, "--follow")
    lab.wait_state("completed")
    flipped("rollback", "m1")
    everybody(OLD_MODEL)
    flipped("cutover", "m1")
    everybody(MODEL)
    lab.call("finalize", "m1", "--now")
    everybody(MODEL)
    assert lab.database.value("SELECT phase FROM reembed.routing") == "stable"
    for program in programs:
        program.stop()
    worker.stops(0, within=10)
    for program in programs:
        print(program.program, {model: sum(answer[0] == model for answer in program.answers) for model in (OLD_MODEL, MODEL)})
