"""The fixtures of the system tests, and a browser."""
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))

from system_fixtures import *  # noqa: E402,F401,F403

from page import Browser  # noqa: E402


@pytest.fixture(scope="session")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed (scripts/install-deps installs it)")
    browser = Browser(path)
    yield browser
    browser.close()
