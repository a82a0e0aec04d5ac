#!/usr/bin/env python3
"""Makes the pictures of docs/pictures from a real migration, for docs/serve.md. By hand:

    REEMBED_TEST_DATABASE_URL=... REEMBED_BINARY_DIR=build REEMBED_SOURCE_DIR=. .venv/bin/python tests/browser/pictures.py

With a folder as its argument it makes other pictures there: each state that a migration can be in, at a desk and on a phone,
light and dark. At each of them what the page shows is compared with reembed.progress at the same time.
"""
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))

from http_client import TOKEN, Client  # noqa: E402
from lab import Lab  # noqa: E402
from page import DESK, PHONE, Browser  # noqa: E402
from program import SOURCE, eventually  # noqa: E402
from test_page import check_truth  # noqa: E402

OUT = SOURCE / "docs" / "pictures"


def picture(browser, client, name, full=True, **how):
    page = browser.open(client.url, token=TOKEN, **how)
    page.wait("() => document.querySelector('#chart .line').getAttribute('d')?.length > 20")
    page.page.wait_for_timeout(900)  # the bars glide
    page.page.screenshot(path=OUT / f"{name}.png", full_page=full)
    page.close()


def main():
    OUT.mkdir(exist_ok=True)
    lab = Lab(os.environ["REEMBED_TEST_DATABASE_URL"], f"pictures_{os.getpid()}", 1)
    browser = Browser(shutil.which("chromium"))
    try:
        lab.documents(12000)
        lab.database.execute("UPDATE docs SET body = '' WHERE id IN (5, 6, 700)")
        provider = lab.provider(latency_ms=30, fault={"kind": "nan", "marker": "document 77,"})
        file = lab.file(id="docs-small-to-large", gates={"max_failed": 5}, backfill={"batch_size": 20, "target_query_threshold": 0.8},
                        limits={"max_documents_per_second": 300, "max_tokens": 10 ** 7, "max_cost": 5, "price_per_million_tokens": 0.13},
                        source={"model": "text-small-3"},
                        target={"model": "text-large-3", "provider": lab.http(provider)["target"]["provider"]})
        client = Client(lab.start("serve", "--listen", "127.0.0.1:0", "--allow-control", env={"REEMBED_SERVE_TOKEN": TOKEN}), TOKEN)
        process = lab.start("run", file)
        eventually(lambda: lab.processed("docs-small-to-large") > 7000, 120)
        picture(browser, client, "page-light")
        picture(browser, client, "page-dark", scheme="dark")
        picture(browser, client, "page-phone", scheme="light", viewport=PHONE)
        picture(browser, client, "page-phone-dark", scheme="dark", viewport=PHONE)
        eventually(lambda: not process.running, 120)
        picture(browser, client, "page-window")
    finally:
        browser.close()
        lab.close()


class States:
    """One migration, taken through every state; four pages look at it all the time."""

    def __init__(self, lab, browser, out):
        self.lab, self.out, self.number = lab, out, 0
        server = lab.start("serve", "--listen", "127.0.0.1:0", "--allow-control", env={"REEMBED_SERVE_TOKEN": TOKEN})
        client = Client(server, TOKEN)
        self.pages = {f"{place}-{scheme}": browser.open(client.url, token=TOKEN, viewport=viewport, scheme=scheme)
                      for place, viewport in (("desk", DESK), ("phone", PHONE)) for scheme in ("light", "dark")}

    def look(self, name, compare=True):
        self.number += 1
        for variant, page in self.pages.items():
            if compare:
                check_truth(self.lab, page)
            page.page.wait_for_timeout(900)  # the bars glide
            assert not page.overflows(), f"{name}: wider than the window, {variant}"
            page.page.screenshot(path=self.out / f"{self.number:02}-{name}-{variant}.png", full_page=True)
        if compare:
            columns = "state, stage, total, processed, skipped, failed, pending, changes_pending, workers, stalled"
            print(f"{name}: the pages say what reembed.progress says:", self.lab.progress(columns), flush=True)

    def nobody(self):
        eventually(lambda: self.lab.database.value("SELECT count(*) FROM reembed.workers WHERE alive") == 0, 30)


def every_state(lab, browser, out):
    out.mkdir(parents=True, exist_ok=True)
    lab.documents(2000)
    lab.database.execute("UPDATE docs SET body = '' WHERE id IN (5, 6, 700)")
    bad = {"kind": "nan", "marker": "document 77,"}
    provider = lab.provider(fault=bad, latency_ms=20)

    def file(**changes):
        return lab.file(source={"provider": {"kind": "hashing"}}, target={"index": {"method": "hnsw"}, **lab.http(provider)["target"]},
                        backfill={"batch_size": 20, "rollback_window_secs": 3600, "target_query_threshold": 0.9},
                        gates={"auto_cutover": False, "max_failed": 5}, **changes)

    lab.call("init")
    states = States(lab, browser, out)
    states.look("no-migration", compare=False)
    slow = file(limits={"max_documents_per_second": 150})
    process = lab.start("run", slow)
    lab.wait_processed(900)
    states.look("backfill", compare=False)      # it moves; tests/browser/test_page.py compares here, too
    lab.call("pause", "m1", "--reason", "the shop is busy until ten")
    process.ends(8)
    states.nobody()
    states.look("paused")
    lab.call("resume", "m1")
    states.look("stalled")
    provider.set(faults=[{"kind": "status", "status": 401}])
    lab.run(slow, code=5)
    states.nobody()
    states.look("failed")
    provider.set(faults=[bad])
    lab.run(file(), code=7)
    states.nobody()
    states.look("waiting-for-approval")
    lab.call("cutover", "m1")
    states.look("flipped")
    lab.run(file(), code=9)
    states.nobody()
    states.look("window")
    lab.database.execute("UPDATE docs SET body = body || ' edited' WHERE id BETWEEN 100 AND 160")
    states.look("window-with-changes")
    lab.run(file(), code=9)
    lab.call("rollback", "m1", "--reason", "results for short queries got worse")
    states.nobody()
    states.look("rolled-back")
    lab.call("cutover", "m1")
    lab.call("finalize", "m1", "--now")
    states.look("finalized")
    assert [error for page in states.pages.values() for error in page.errors if "404" not in error] == []


def states():
    lab = Lab(os.environ["REEMBED_TEST_DATABASE_URL"], f"pictures_{os.getpid()}", 1)
    browser = Browser(shutil.which("chromium"))
    try:
        every_state(lab, browser, pathlib.Path(sys.argv[1]))
    finally:
        browser.close()
        lab.close()


if __name__ == "__main__":
    states() if sys.argv[1:] else main()
