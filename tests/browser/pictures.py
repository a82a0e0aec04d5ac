#!/usr/bin/env python3
"""Makes the pictures of docs/pictures from a real migration, for docs/serve.md. By hand:

    REEMBED_TEST_DATABASE_URL=... REEMBED_BINARY_DIR=build REEMBED_SOURCE_DIR=. .venv/bin/python tests/browser/pictures.py
"""
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))

from http_client import TOKEN, Client  # noqa: E402
from lab import Lab  # noqa: E402
from page import PHONE, Browser  # noqa: E402
from program import SOURCE, eventually  # noqa: E402

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


if __name__ == "__main__":
    main()
