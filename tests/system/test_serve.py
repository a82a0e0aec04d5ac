"""serve and run --listen: what the endpoints say is what the database says, who may ask, and that they stay up."""
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from database import with_parts
from http_client import TOKEN, Client, samples, value
from program import SOURCE, eventually, scaled

STATES = ["planned", "in_progress", "paused", "failed", "completed", "cancelled", "rolled_back"]


def serve(lab, *words, token=None, **how):
    env = {"REEMBED_SERVE_TOKEN": token} if token else {}
    return Client(lab.start("serve", "--listen", "127.0.0.1:0", *words, env=env, **how), token)


@pytest.fixture
def done(lab):
    """A completed migration with a failure that is known."""
    lab.documents(scaled(200))
    lab.database.execute("UPDATE docs SET body = '' WHERE id = 7")
    lab.run(lab.file())
    return lab


def test_metrics_are_what_the_database_says_and_well_formed(done):
    client = serve(done)
    text = client.metrics()
    row = done.database.row("SELECT processed, skipped, failed, pending FROM reembed.progress")
    found = samples(text)
    for status, expected in zip(("processed", "skipped", "failed", "pending"), row):
        assert value(found, "reembed_migration_documents", status=status, migration="m1") == expected
    assert [value(found, "reembed_migration_state", state=s) for s in STATES] == [s == "completed" for s in STATES]
    assert value(found, "reembed_routing_phase", phase="rollback_window") == 1
    assert 86000 < value(found, "reembed_routing_window_remaining_seconds") <= 86400
    assert value(found, "reembed_migration_failures", kind="skipped", reason="empty_content") == 1
    assert value(found, "reembed_database_up") == 1 and value(found, "reembed_migration_gate_holds", gate="coverage") == 1
    assert not any(name.startswith("reembed_run_") for name, _ in found), "there is no run in this process"
    promtool(text)


def promtool(text):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (scripts/install-deps installs it)")
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert said.returncode == 0 and not said.stdout and not said.stderr, said


def names_in(expression):
    return set(re.findall(r"\b(?:reembed|process)_[a-z_]+", expression))


def test_the_run_counts_what_it_does_and_every_metric_of_dashboard_and_rules_exists(lab):
    provider = lab.provider(latency_ms=5)
    journal = lab.documents(scaled(600))
    lab.database.execute("UPDATE docs SET body = '' WHERE id = 7")
    file = lab.file(**lab.http(provider), limits={"max_tokens": 10 ** 9, "max_cost": 100, "price_per_million_tokens": 1})
    process = lab.start("run", file, "--follow", "--listen", "127.0.0.1:0")
    client = Client(process)
    eventually(lambda: lab.state() == "completed", 60)
    lab.database.execute("UPDATE docs SET body = 'edited' WHERE id = 1")
    eventually(lambda: lab.progress("changes_applied") == 1, 30)
    text = client.metrics()
    found = samples(text)
    assert value(found, "reembed_run_documents_total", outcome="stored") == len(journal.documents) - 1 + 1
    assert value(found, "reembed_run_documents_total", outcome="skipped") == 1
    sent = [request for request in provider.requests() if request["status"] == 200]
    assert value(found, "reembed_run_requests_total", outcome="ok") == len(sent)
    assert value(found, "reembed_run_request_duration_seconds_count") == len(sent)
    assert value(found, "reembed_run_request_duration_seconds_bucket", le="0.005") < len(sent)
    assert value(found, "reembed_run_tokens_total") >= lab.progress("tokens") > 0, "and those of the canary text"
    assert value(found, "reembed_run_embed_duration_seconds_count") > 0
    for step in ("read", "write"):
        assert value(found, f"reembed_run_{step}_duration_seconds_count") > 0
        assert value(found, f"reembed_run_{step}_duration_seconds_bucket", le="+Inf") == \
            value(found, f"reembed_run_{step}_duration_seconds_count")
    assert value(found, "reembed_run_leases_total") > 0 and value(found, "reembed_run_lease_takeovers_total") == 0
    assert value(found, "reembed_run_documents_in_flight") == 0
    promtool(text)

    exported = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    exported |= {f"{name}_{part}" for name in exported for part in ("bucket", "sum", "count")}
    dashboard = json.loads((SOURCE / "deploy/grafana/reembed.json").read_text())
    used = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            used |= names_in(target["expr"])
    rules = names_in((SOURCE / "deploy/prometheus/rules.yml").read_text())
    assert len(used) > 20 and len(rules) > 7
    assert used <= exported and rules <= exported, sorted((used | rules) - exported)
    process.stops(0, within=10)


def test_rules_and_dashboard_are_sound():
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (scripts/install-deps installs it)")
    said = subprocess.run(["promtool", "check", "rules", SOURCE / "deploy/prometheus/rules.yml"], capture_output=True, text=True)
    assert said.returncode == 0, said
    folder = SOURCE / "deploy/grafana"
    code = {"__name__": "dashboard", "__file__": str(folder / "make-dashboard")}
    exec((folder / "make-dashboard").read_text(), code)
    assert code["dashboard"]() == json.loads((folder / "reembed.json").read_text()), "run deploy/grafana/make-dashboard"


def test_api_status_is_what_status_prints(done):
    client = serve(done)
    moving = ("window_left", "at", "updated_at")
    for path, words in (("/api/status", ()), ("/api/status?id=m1", ("m1",))):
        status, said = client.json(path)
        printed = json.loads(done.call("status", "--json", *words).out)
        assert status == 200
        assert {k: v for k, v in said.items() if k not in moving} == {k: v for k, v in printed.items() if k not in moving}
    status, said = client.json("/api/status?id=nobody")
    assert status == 404 and said["error"] == "unknown migration"
    assert client.ask("/api/status?id=" + "x" * 5000)[0] == 404


def test_probes_tell_the_database_the_schema_and_the_lease(lab):
    lab.documents(scaled(300))
    client = serve(lab)
    assert client.ask("/healthz")[::2] == (200, "ok\n")
    status, ready = client.json("/readyz")
    assert status == 503 and {c["check"]: c["ok"] for c in ready["checks"]} == {"database": True, "schema": False}
    assert client.json("/api/status")[0] == 503 and "reembed init" in client.json("/api/status")[1]["hint"]
    lab.call("init")
    eventually(lambda: client.json("/readyz")[0] == 200, 10)
    assert client.json("/api/status")[1] == {"error": "there is no migration in this database yet", "hint": None}

    file = lab.file(limits={"max_documents_per_second": 20})
    run = Client(lab.start("run", file, "--listen", "127.0.0.1:0"))
    eventually(lambda: run.json("/readyz")[0] == 200, 30)
    assert {c["check"] for c in run.json("/readyz")[1]["checks"]} == {"database", "schema", "lease"}
    eventually(lambda: value(samples(run.metrics()), "reembed_run_throttled", reason="documents_per_second") == 1, 30)


def test_without_the_database_it_says_so_and_comes_back(cluster, cluster_lab):
    lab = cluster_lab
    lab.documents(20)
    lab.run(lab.file())
    client = serve(lab)
    assert value(samples(client.metrics()), "reembed_database_up") == 1
    cluster.stop_fast()
    eventually(lambda: value(samples(client.metrics()), "reembed_database_up") == 0, 20)
    assert client.ask("/healthz")[0] == 200
    status, ready = client.json("/readyz")
    assert status == 503 and not ready["ready"]
    status, said = client.json("/api/page")
    assert status == 503 and said["error"]
    cluster.start()
    eventually(lambda: client.json("/readyz")[0] == 200, 20)
    assert client.json("/api/status")[1]["state"] == "completed"
    lab.database.reconnect()


# --- who may ask ---

@pytest.mark.parametrize("words, env, said", [
    (["--listen", "0.0.0.0:0"], {}, "REEMBED_SERVE_TOKEN"),
    (["--listen", ":::0"], {}, "HOST:PORT"), (["--listen", "[::]:0"], {}, "REEMBED_SERVE_TOKEN"),
    (["--listen", "0.0.0.0:0"], {"REEMBED_SERVE_TOKEN": "short"}, "openssl rand"),
    (["--listen", "0.0.0.0:0"], {"REEMBED_SERVE_TOKEN": "with blanks and more than sixteen"}, "openssl rand"),
    (["--listen", "127.0.0.1:0", "--allow-control"], {}, "REEMBED_SERVE_TOKEN"),
    (["--listen", "127.0.0.1"], {}, "HOST:PORT"), (["--listen", "127.0.0.1:http"], {}, "HOST:PORT"),
    (["--listen", "127.0.0.1:99999"], {}, "127.0.0.1:99999"),
    (["--token-file", "/nonexistent"], {}, "/nonexistent"),
])
@pytest.mark.parametrize("command", ["serve", "run"])
def test_what_would_be_open_to_others_is_refused(lab, command, words, env, said):
    if command == "run" and "--listen" not in words:
        words = [*words, "--listen", "127.0.0.1:0"]
    rest = [lab.file()] if command == "run" else []
    done = lab.call(command, *rest, *words, env=env, code=2)
    assert said in done.err, done.err
    assert not lab.database.value("SELECT to_regclass('reembed.migration') IS NOT NULL")


def test_a_port_that_is_taken_is_refused(lab):
    taken = socket.create_server(("127.0.0.1", 0))
    done = lab.call("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", code=2)
    assert "in use" in done.err and "--listen" in done.err
    taken.close()


def test_the_token_is_asked_for_everything_but_probes_and_the_bare_page(done, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    process = done.start("serve", "--listen", "0.0.0.0:0", "--token-file", tmp_path / "token")
    client = Client(process, TOKEN)
    for path in ("/metrics", "/api/status", "/api/page"):
        assert client.ask(path)[0] == 200
        for wrong in (None, TOKEN[:-1], TOKEN + "x", "x" * 600, ""):
            status, headers, body = client.ask(path, token=wrong)
            assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer") and "m1" not in body
    for path in ("/", "/healthz", "/readyz"):
        status, _, body = client.ask(path, token=None)
        assert status == 200 and "m1" not in body
    assert client.ask("/metrics", token=None, headers={"Authorization": f"Basic {TOKEN}"})[0] == 401
    assert TOKEN not in process.err + process.out
    assert TOKEN not in open(f"/proc/{process.pid}/cmdline").read()


def test_without_a_token_a_foreign_name_is_not_answered(done):
    client = serve(done)
    for host in ("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", ""):
        assert client.ask("/api/status", headers={"Host": host})[0] in (400, 421), host
    for host in ("localhost", "localhost:1", "127.0.0.1", "[::1]:8", "LOCALHOST"):
        assert client.ask("/api/status", headers={"Host": host})[0] == 200, host


def test_headers_keep_a_browser_from_guessing_and_methods_are_few(done):
    client = serve(done)
    nonces = set()
    for path in ("/", "/metrics", "/healthz", "/api/status", "/nowhere"):
        status, headers, body = client.ask(path)
        assert status == (404 if path == "/nowhere" else 200)
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert "Access-Control-Allow-Origin" not in headers
        if path == "/":
            nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)[1]
            nonces.add(nonce)
            assert body.count(f'nonce="{nonce}"') == 2 and "{{" not in body
            assert not re.search(r'(?:src|href)="(?!data:)', body), "nothing is loaded from elsewhere"
    nonces.add(re.search(r"nonce-(\w+)", client.ask("/")[1]["Content-Security-Policy"])[1])
    assert len(nonces) == 2
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        assert client.ask("/api/status", method=method)[0] in (405, 501)
    assert client.ask("/metrics", method="HEAD")[::2] == (200, "")


# --- control ---

def test_control_does_what_the_commands_do_and_only_with_the_token(lab):
    lab.documents(scaled(2000))
    process = lab.start("run", lab.file(limits={"max_documents_per_second": 50}))
    lab.wait_processed(1)
    client = serve(lab, "--allow-control", token=TOKEN)
    for token in (None, TOKEN[:-1] + "x"):
        assert client.post("pause", token=token, migration_id="m1")[0] == 401
    assert client.json("/api/pause")[0] == 405, "not by GET"
    assert client.ask("/api/pause", "POST", '{"migration_id": "m1"}', {"Content-Type": "text/plain"})[0] == 415
    assert client.ask("/api/pause", "POST", "migration_id=m1", {"Content-Type": "application/x-www-form-urlencoded"})[0] == 415
    for wrong in ("", "{", "[]", "{}", '{"migration_id": 1}', '{"migration_id": "m1", "what": 1}',
                  '{"migration_id": "m1", "force": "yes"}', json.dumps({"migration_id": "m1", "reason": "x" * 501})):
        assert client.ask("/api/pause", "POST", wrong, {"Content-Type": "application/json"})[0] == 400, wrong
    assert lab.state() == "in_progress"
    assert client.post("pause", migration_id="nobody")[0] == 404
    status, said = client.post("pause", migration_id="m1", reason="over HTTP")
    assert status == 200 and said["state"]["paused"]["reason"] == "over HTTP"
    process.ends(8, 10)
    event = lab.database.row("SELECT event, actor FROM reembed.events WHERE event = 'pause'")
    assert event[0] == "pause" and "(reembed serve)" in event[1]
    status, said = client.post("pause", migration_id="m1")
    assert status == 409 and "already paused" in said["error"]
    status, said = client.post("cutover", migration_id="m1", force=False)
    assert status == 409 and "held back by" in said["error"] and "--force" in said["hint"]
    assert client.post("rollback", migration_id="m1")[0] == 409
    assert client.post("cutover", migration_id="m1", force=True)[0] == 200
    assert lab.database.value("SELECT query_model FROM reembed.routing") == "new-hash"
    assert client.json("/api/status")[1]["flipped_at"] is not None, "seen at once"
    assert client.post("resume", migration_id="m1")[0] == 200
    assert lab.state() == "in_progress"


def test_without_allow_control_nothing_can_be_steered(done):
    for token in (None, TOKEN):
        client = serve(done, token=token)
        for operation in ("pause", "resume", "cutover", "rollback"):
            assert client.post(operation, migration_id="m1")[0] == 403
        assert client.json("/api/page")[1]["control"] is False
    assert done.state() == "completed"


# --- it stays up ---

def test_two_hundred_connections_are_served(done):
    client = serve(done)
    held = [client.socket() for _ in range(200)]
    for each in held:
        each.sendall(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for each in held:
        assert each.recv(12) == b"HTTP/1.1 200"
    assert client.ask("/healthz")[0] == 200, "and one more"
    # far more than are taken: they are turned away, and it goes on
    for each in held:
        each.close()
    flood = [client.socket() for _ in range(400)]
    for each in flood:
        each.close()
    eventually(lambda: answers(client), 20, "an answer after the flood")


def answers(client):
    try:
        return client.ask("/healthz", seconds=5)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_slow_clients_hold_up_nobody_and_are_cut_off(done):
    client = serve(done)
    slow = [client.socket() for _ in range(100)]
    over = threading.Event()

    def trickle():
        sent = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 10000
        for byte in sent:
            for each in list(slow):
                try:
                    each.send(bytes([byte]))
                except OSError:
                    slow.remove(each)
            if not slow or over.wait(0.5):
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        for _ in range(10):
            assert client.ask("/metrics", seconds=10)[0] == 200
        # each sends a byte now and then, so it is the fixed time of a request that ends it
        eventually(lambda: not slow, 40, "the slow clients to be cut off")
    finally:
        over.set()
        thread.join()
    assert client.ask("/healthz")[0] == 200


def mutant(random, request):
    made = bytearray(request)
    for _ in range(random.randrange(1, 8)):
        at = random.randrange(len(made) + 1)
        kind = random.randrange(5)
        if kind == 0:
            made[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 20)))
        elif kind == 1:
            del made[at:at + random.randrange(1, 20)]
        elif kind == 2:
            made[at:at] = made[max(0, at - 30):at] * random.randrange(1, 100)
        elif kind == 3:
            made[at:at] = random.choice([b"\r\n", b"\0", b"%00", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n",
                                         b"Content-Length: 99999999999999999999\r\n", b"?id=%", b"&id=", b"\xff" * 50])
        elif made:
            made[at % len(made)] ^= 1 << random.randrange(8)
    return bytes(made)


def test_malformed_requests_do_no_harm(done):
    """REEMBED_FUZZ_SECS=60 is the long form, by hand."""
    process = done.start("serve", "--listen", "127.0.0.1:0", "--allow-control", env={"REEMBED_SERVE_TOKEN": TOKEN})
    client = Client(process, TOKEN)
    auth = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    seeds = [b"GET / HTTP/1.1\r\n" + auth + b"\r\n", b"GET /metrics HTTP/1.1\r\n" + auth + b"\r\n",
             b"GET /api/page?id=m1 HTTP/1.1\r\n" + auth + b"\r\n", b"GET /api/status HTTP/1.0\r\n\r\n",
             b"POST /api/pause HTTP/1.1\r\n" + auth + b"Content-Type: application/json\r\nContent-Length: 24\r\n\r\n"
             b'{"migration_id": "nobo"}']
    until = time.monotonic() + float(os.environ.get("REEMBED_FUZZ_SECS") or 4)
    sent = 0
    while time.monotonic() < until:
        try:
            with client.socket() as each:
                each.settimeout(0.05)
                each.sendall(mutant(done.random, done.random.choice(seeds)))
                each.recv(4096)
        except OSError:
            pass
        sent += 1
        assert process.running, f"it ended after {sent} requests: {process}"
    assert client.json("/api/status")[0] == 200 and done.state() == "completed"
    print(f"{sent} malformed requests")
    process.stops(0, within=10)


def test_no_secret_in_any_answer(lab):
    secret = "a-provider-key-that-is-secret"
    provider = lab.provider()
    lab.documents(scaled(100))
    password = "a-password-of-the-database"
    url = with_parts(lab.url, password=password)
    process = lab.start("run", lab.file(**lab.http(provider, api_key_env="THE_KEY")), "--follow", "--listen", "127.0.0.1:0",
                        env={"THE_KEY": secret, "REEMBED_SERVE_TOKEN": TOKEN}, url=url)
    client = Client(process, TOKEN)
    eventually(lambda: lab.state() == "completed", 60)
    for path in ("/", "/metrics", "/healthz", "/readyz", "/api/status", "/api/page", "/nowhere"):
        _, headers, body = client.ask(path)
        for hidden in (secret, password, TOKEN, str(provider.port)):
            assert hidden not in body + str(headers), path
    process.stops(0, within=10)
    assert not any(hidden in process.err + process.out for hidden in (secret, password, TOKEN))
