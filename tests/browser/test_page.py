"""The page through a whole migration: what it shows is what reembed.progress says at the same time, it moves by itself,
its buttons do what they say, and nothing goes wrong in the browser's console."""
import pytest

from http_client import TOKEN, Client
from page import PHONE
from program import eventually, scaled

COUNTS = ("total", "processed", "pending", "skipped", "failed", "truncated", "changes_pending", "changes_applied")


def number(text):
    return int(text.replace(",", ""))


def share(x):
    return f"{int(x * 1000 + 1e-9) / 10:.1f} %"


def truth(lab):
    """What the page must show now."""
    names = (*COUNTS, "state", "progress", "effective_coverage")
    row = dict(zip(names, lab.database.row(f"SELECT {', '.join(names)} FROM reembed.progress WHERE migration_id = 'm1'")))
    said = {name: row[name] for name in COUNTS}
    said["state"] = row["state"]
    said["progress"] = share(row["progress"])
    said["effective_coverage"] = share(row["effective_coverage"])
    said["phase"] = lab.database.value("SELECT phase FROM reembed.routing WHERE collection = 'docs'")
    said["gates"] = dict(lab.database.rows("SELECT gate, holds FROM reembed.gates WHERE migration_id = 'm1'"))
    said["query_model"] = lab.database.value("SELECT query_model FROM reembed.routing WHERE collection = 'docs'")
    said["workers"] = lab.database.value("SELECT count(*) FROM reembed.workers WHERE alive")
    return said


def shown(page):
    figures = page.figures()
    said = {name: number(figures[name]) for name in COUNTS}
    said.update({name: figures[name] for name in ("state", "progress", "effective_coverage", "phase")})
    said["gates"] = page.gates()
    said["query_model"] = page.text("#query-model")
    said["workers"] = int(page.text("#workers-sum").split()[0])
    return said


def check_truth(lab, page):
    """While nothing moves: the same, soon."""
    eventually(lambda: shown(page) == truth(lab), 20, f"the page to say {truth(lab)}, not {shown(page)}")


def check_between(lab, page):
    """While it moves: the figures were true at a moment between two looks, and they add up."""
    before = truth(lab)
    eventually(lambda: number(page.figures()["processed"]) >= before["processed"], 20)
    figures, after = shown(page), truth(lab)
    assert figures["processed"] <= after["processed"]
    assert figures["total"] == figures["processed"] + figures["skipped"] + figures["failed"] + figures["pending"]


def test_a_whole_migration_is_shown_truthfully(lab, browser):
    provider = lab.provider()
    lab.documents(scaled(3000))
    lab.database.execute("UPDATE docs SET body = '' WHERE id IN (5, 6)")
    slow = {"limits": {"max_documents_per_second": 100}, "gates": {"auto_cutover": False, "max_failed": 1},
            "backfill": {"rollback_window_secs": 3600, "batch_size": 20},
            "source": {"provider": {"kind": "hashing"}}}
    provider.set(fault={"kind": "nan", "marker": "document 77,"})
    file = lab.file(**lab.http(provider) | slow | {"target": lab.http(provider)["target"]})
    server = Client(lab.start("serve", "--listen", "127.0.0.1:0", "--allow-control", env={"REEMBED_SERVE_TOKEN": TOKEN}))
    lab.call("init")
    page = browser.open(server.url)

    # the token first; a wrong one is refused
    page.wait("() => document.getElementById('token').offsetParent")
    page.page.fill("#token", "not-the-token-at-all")
    page.page.click("#token-go")
    page.wait("() => document.getElementById('token-wrong').offsetParent")
    page.page.fill("#token", TOKEN)
    page.page.press("#token", "Enter")
    page.wait("() => document.getElementById('problem-title').textContent === 'No migration yet'")
    allowed = [error for error in page.errors if "401" in error or "404" in error or "503" in error]
    assert page.errors == allowed
    page.errors.clear()

    # running: it moves by itself
    process = lab.start("run", file)
    page.wait_state("in_progress")
    page.errors.clear()  # what was asked before there was a migration
    check_between(lab, page)
    first = number(page.figures()["processed"])
    page.wait("first => Number(document.querySelector('dd[data-field=processed]').textContent.replaceAll(',', '')) > first", first)
    check_between(lab, page)
    page.wait("() => document.querySelector('#chart .line').getAttribute('d')?.length > 20")
    assert page.text("#eta") not in ("–", "none") and page.shown("#rate-now")
    assert page.text("#query-model") == "old-hash" and "still answered by old-hash" in page.text("#sentence")
    assert page.gates()["approval"] is False and page.buttons() == ["pause", "cutover"]

    # paused by the page
    page.do("pause", reason="a busy hour")
    page.wait_state("paused")
    process.ends(8, 10)
    lab.wait_state("paused")
    eventually(lambda: lab.database.value("SELECT count(*) FROM reembed.workers WHERE alive") == 0, 30)
    check_truth(lab, page)
    assert "a busy hour" in page.text("#sentence") and page.events()[0] == "pause" and page.buttons() == ["resume", "cutover"]

    # a cutover that a gate holds back says why, and nothing was done
    page.do("cutover")
    page.wait("() => document.getElementById('confirm-error').offsetParent")
    assert "held back by" in page.text("#confirm-error")
    page.page.click("#confirm-no")
    assert [error for error in page.errors if "409" not in error] == []
    page.errors.clear()
    check_truth(lab, page)

    # resumed by the page, then failed: the provider refuses the key
    page.do("resume")
    page.wait_state("in_progress")
    check_truth(lab, page)
    assert page.text("#state") == "stalled" and "no worker is alive" in page.text("#sentence")
    provider.set(faults=[{"kind": "status", "status": 401}])
    lab.run(file, code=5)
    page.wait_state("failed")
    check_truth(lab, page)
    assert page.events()[0] == "fail" and "Failed:" in page.text("#sentence") and page.buttons() == ["resume"]

    # to the end of the backfill: only the approval is left
    provider.set(faults=[{"kind": "nan", "marker": "document 77,"}])
    lab.run(lab.file(**lab.http(provider) | slow | {"limits": {}, "target": lab.http(provider)["target"]}), code=7)
    eventually(lambda: lab.database.value("SELECT count(*) FROM reembed.workers WHERE alive") == 0, 30)
    check_truth(lab, page)
    assert {gate for gate, holds in page.gates().items() if not holds} == {"approval"}
    reasons = page.page.evaluate("() => Object.fromEntries([...document.querySelectorAll('[data-reason]')].map("
                                 "e => [e.dataset.reason, [...e.querySelectorAll('code')].map(c => c.textContent).sort()]))")
    assert reasons == {"invalid_vector": ["77"], "empty_content": ["5", "6"]}

    # flipped by the page, completed by a worker
    page.do("cutover")
    page.wait("() => document.getElementById('query-model').textContent === 'new-hash'")
    check_truth(lab, page)
    lab.run(file, code=9)
    page.wait_state("completed")
    check_truth(lab, page)
    assert page.figures()["phase"] == "rollback_window" and page.shown("#window")
    left = page.text("#window-left")
    assert "min" in left or "h" in left
    page.wait("left => document.getElementById('window-left').textContent !== left", left)
    assert page.buttons() == ["rollback"]

    # back
    page.do("rollback", reason="worse than before")
    page.wait_state("rolled_back")
    check_truth(lab, page)
    assert page.text("#query-model") == "old-hash" and "worse than before" in page.text("#sentence")
    assert page.events()[0] in ("rollback", "unflip") and page.buttons() == ["cutover"] and not page.shown("#window")

    assert page.errors == []
    assert all(url.startswith(server.url) for url in page.requested if not url.startswith("data:"))
    page.close()


def test_without_control_there_are_no_buttons_and_an_outage_is_said(lab, browser):
    lab.documents(100)
    lab.run(lab.file())
    process = lab.start("serve", "--listen", "127.0.0.1:0")
    page = browser.open(Client(process).url)
    page.wait_state("completed")
    check_truth(lab, page)
    assert page.buttons() == [] and page.errors == [] and not page.shown("#token-card")
    process.stops(0, within=10)
    page.wait("() => document.getElementById('problem').offsetParent && document.body.classList.contains('stale')")
    assert "The server does not answer" in page.text("#problem") and "ago" in page.text("#live-text")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_shows_texts_as_texts(lab, browser, scheme):
    hostile = "<img src=x onerror=alert(1)>" + "y" * 120
    lab.database.execute("CREATE TABLE docs (id text PRIMARY KEY, body text, title text, embedding vector(32))")
    lab.database.execute("INSERT INTO docs (id, body) VALUES (%s, ''), ('b', 'text')", hostile)
    lab.run(lab.file())
    lab.call("pause", "m1", code=6)
    page = browser.open(Client(lab.start("serve", "--listen", "127.0.0.1:0")).url, viewport=PHONE, scheme=scheme)
    page.wait_state("completed")
    page.wait("() => document.querySelector('[data-reason] code')")
    assert hostile.startswith(page.text("[data-reason] code").rstrip("…")) and page.page.query_selector("main img") is None
    assert not page.overflows() and page.errors == []
    page.close()


def test_another_migration_can_be_chosen(lab, browser):
    lab.documents(50)
    lab.run(lab.file())
    lab.database.execute("CREATE TABLE other (id bigint PRIMARY KEY, body text)")
    lab.database.execute("INSERT INTO other VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    lab.run(lab.file("m2.json", id="m2", collection="other", documents={"table": "public.other"}, source=None))
    page = browser.open(Client(lab.start("serve", "--listen", "127.0.0.1:0")).url)
    page.wait("() => document.getElementById('title').textContent === 'm2'")
    page.page.select_option("#pick", "m1")
    page.wait("() => document.getElementById('title').textContent === 'm1'")
    check_truth(lab, page)
    page.page.reload()
    page.wait("() => document.getElementById('title').textContent === 'm1'")
    page.close()
