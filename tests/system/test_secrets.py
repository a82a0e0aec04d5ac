"""Passwords and keys are in no process title, log, table, status or error."""
import pathlib
import subprocess

import psycopg
import pytest

from database import with_parts
from lab import merged
from program import eventually

PASSWORD = "pa55-word-of-the-database"
KEY = "sk-system-key-0123456789"


def dump(lab):
    """Everything in reembed's schemas as text."""
    texts = []
    for schema, name in lab.database.rows("SELECT schemaname, tablename FROM pg_tables WHERE schemaname LIKE 'reembed%'"):
        texts += [row[0] for row in lab.database.rows(f'SELECT t::text FROM {schema}."{name}" t')]
    for schema, name in lab.database.rows("SELECT schemaname, viewname FROM pg_views WHERE schemaname LIKE 'reembed%'"):
        texts += [row[0] or "" for row in lab.database.rows(f'SELECT v::text FROM {schema}."{name}" v')]
    return "\n".join(texts)


def statements(lab):
    """What others can see of our sessions."""
    return "\n".join(row[0] or "" for row in lab.database.rows("SELECT a::text FROM pg_stat_activity a"))


def assert_no_secret(text, where):
    for secret in (PASSWORD, KEY, PASSWORD.encode().hex(), KEY.encode().hex()):
        assert secret not in text, f"a secret is in {where}: ...{text[max(0, text.index(secret) - 80):][:200]}..."


@pytest.mark.parametrize("how", ["--database-url URL", "--database-url=URL", "conninfo"])
def test_a_password_is_not_in_the_process_title(lab, how):
    lab.documents(500)
    provider = lab.provider(latency_ms=100)
    file = lab.file(**lab.http(provider))
    url = with_parts(lab.url, password=PASSWORD)
    if how == "conninfo":
        parts = psycopg.conninfo.conninfo_to_dict(lab.url)
        url = psycopg.conninfo.make_conninfo(**parts, password=PASSWORD)
    words = [f"--database-url={url}"] if how == "--database-url=URL" else ["--database-url", url]
    process = lab.start(*words, "run", file, "--batch-size", 10, level="debug")
    lab.wait_processed(10)
    title = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    listed = subprocess.run(["ps", "-p", str(process.pid), "-o", "args="], capture_output=True, text=True).stdout
    assert "run" in title and str(file) in title
    assert_no_secret(title + listed, "the process title")
    assert_no_secret(statements(lab), "pg_stat_activity")
    process.stops(3, within=5)
    assert_no_secret(process.out + process.err, "the log")
    assert_no_secret(dump(lab), "a table")


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_key_is_nowhere(lab, format):
    journal = lab.documents(300)
    # the server echoes the key that it refuses, as some do
    provider = lab.provider(key=KEY, latency_ms=60)
    url = with_parts(lab.url, password=PASSWORD)
    file = lab.file(**merged(lab.http(provider, api_key_env="SYSTEM_KEY"), {"backfill": {"batch_size": 10}}))
    env = {"SYSTEM_KEY": KEY}
    how = {"env": env, "url": url, "level": "debug"}
    seen = []

    def call(*words, code=0):
        process = lab.call("--log-format", format, *words, code=code, **how)
        seen.append(process.out + process.err)
        return process
    call("run", file, "--max-runtime", 0.4, code=3)
    # the key is refused in the middle: told by the server with the key in its words
    env["SYSTEM_KEY"] = KEY + "-old"
    refused = call("run", file, code=5)
    assert "***" in refused.err + refused.out, "the server's words, with the key covered"
    env["SYSTEM_KEY"] = KEY
    assert lab.state() in ("in_progress", "failed")
    call("status", "m1", "--json")
    call("status", "m1")
    call("run", file)
    call("status", "m1", "--json")
    call("verify", "m1", "--sample", 5, "--file", file)
    call("plan", lab.file("other.json", **merged(lab.http(provider, api_key_env="SYSTEM_KEY"),
                                                 {"id": "m9", "collection": "other"})), "--probe")
    lab.check_completed(journal)
    for text in seen:
        assert_no_secret(text, "the output")
    assert_no_secret(dump(lab), "a table")
    status = lab.call("status", "m1", "--json", url=url).out
    assert provider.url not in status and "SYSTEM_KEY" not in dump(lab)


def test_a_proxy_or_url_with_a_password_is_not_shown(lab):
    lab.documents(3)
    url = f"http://user:{PASSWORD}@127.0.0.1:1/v1"
    process = lab.start("run", lab.file(target={"provider": {"kind": "openai", "url": url}}), level="debug")
    eventually(lambda: not process.running or "away" in process.err, 20, "the refusal")
    if process.running:
        process.stops(3, within=5)
    assert_no_secret(process.err + process.out, "the log")


def test_a_redirect_is_not_followed(lab):
    lab.documents(3)
    provider = lab.provider(fault={"kind": "redirect"})
    process = lab.start("run", lab.file(**lab.http(provider)))
    eventually(lambda: not process.running or "away" in process.err, 20, "the refusal")
    if process.running:
        process.stops(3, within=5)
    assert "redirect" in process.err or "30" in process.err, process
    assert len(provider.requests()) == provider.counters()["requests"]
    assert lab.progress("processed") == 0


def test_a_key_given_in_the_file_is_refused(lab):
    lab.documents(3)
    process = lab.run(lab.file(target={"provider": {"kind": "openai", "url": "http://127.0.0.1:1/v1", "api_key": KEY}}), code=2)
    assert "api_key_env" in process.err
    assert_no_secret(process.err + process.out, "the refusal")


def test_core_and_environment_hold_no_more_than_the_starter_gave(lab):
    """The program adds no secret to its own environment, which others of the same user could read."""
    lab.documents(300)
    provider = lab.provider(latency_ms=100)
    url = with_parts(lab.url, password=PASSWORD)
    process = lab.start("--database-url", url, "run", lab.file(**lab.http(provider)), "--batch-size", 10)
    lab.wait_processed(10)
    environment = pathlib.Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
    assert PASSWORD not in environment
    process.stops(3, within=5)
