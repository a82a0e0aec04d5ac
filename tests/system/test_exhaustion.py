"""Memory or threads run out somewhere in the program or its libraries: it ends with a code of the contract and says
why, or it copes; whatever it had stored is right, and the next run goes on from there.

REEMBED_TEST_SAMPLES sets how many places each command is tried at."""
import os

import pytest

from program import BINARY

LIBRARY = BINARY.parent.parent / "tests" / "faults_preload.so"
SAMPLES = int(os.environ.get("REEMBED_TEST_SAMPLES") or 9)
DOCUMENTS = 120
CODES = range(10)

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="not built, as under sanitizers")


def failing(order=None, count=None):
    environment = {"LD_PRELOAD": str(LIBRARY)}
    if order:
        environment["REEMBED_TEST_FAIL"] = order
    if count:
        environment["REEMBED_TEST_FAIL_COUNT"] = str(count)
    return environment


def counts(lab, *words):
    """Allocations and threads of a call that has all it wants."""
    path = lab.directory / "count"
    lab.call(*words, env=failing(count=path))
    return [int(number) for number in path.read_text().split()]


def orders(lab, total, samples):
    """One allocation alone fails, or it and all after it: few at the very start, where little can be told apart."""
    for number in range(samples):
        n = lab.random.randrange(1, total + 1)
        yield f"memory:{n}{'+' if number % 3 == 2 else ''}"


def ends_well(process, order):
    """It ends by itself; where it did not cope it says what was missing."""
    code = process.wait(30)     # far less than the patience with a silent server
    assert code in CODES, f"{order}: {process}"
    words = "thread" if order.startswith("thread") else "memory"
    # 4: the libraries' own words for an address that can't be looked up, a connection that could not be made
    assert code in (0, 4) or words in process.err.lower(), f"{order}: no word of why: {process}"
    return code


def forget(lab):
    lab.database.execute("DROP SCHEMA IF EXISTS reembed, reembed_data CASCADE")


def finish_and_check(lab, file, journal, order):
    lab.run(file)
    lab.check_completed(journal)
    assert not lab.failures(), f"{order}: documents were blamed"


def try_run(lab, file, journal, order):
    forget(lab)
    process = lab.start("run", file, env=failing(order))
    code = ends_well(process, order)
    if code == 0:
        lab.check_completed(journal)
    else:
        lab.check_counts() if lab.progress() else None
    finish_and_check(lab, file, journal, order)
    lab.processes.remove(process)
    return code


@pytest.mark.parametrize("kind", ["in_process", "embeddings_server"])
def test_run_without_memory(lab, kind):
    journal = lab.documents(DOCUMENTS)
    http = lab.http(lab.provider()) if kind == "embeddings_server" else {}
    file = lab.file(**http, database={"lease_secs": 1})
    total, _ = counts(lab, "run", file)
    codes = {}
    for order in orders(lab, total, SAMPLES):
        codes[order] = try_run(lab, file, journal, order)
    print(f"{total} allocations; {codes}")
    assert any(codes.values()), "nothing ever failed"


def test_run_without_threads(lab):
    journal = lab.documents(DOCUMENTS)
    file = lab.file(**lab.http(lab.provider()), database={"lease_secs": 1})
    _, total = counts(lab, "run", file)
    assert total >= 6
    for n in range(1, total + 1):
        order = f"thread:{n}"
        forget(lab)
        process = lab.start("run", file, env=failing(order))
        assert ends_well(process, order) != 0
        finish_and_check(lab, file, journal, order)


@pytest.mark.parametrize("words", [["plan"], ["status"], ["verify"], ["failures"]], ids=lambda words: words[0])
def test_a_look_without_memory(lab, words):
    journal = lab.documents(DOCUMENTS)
    file = lab.file()
    lab.run(file)
    words = [*words, file if words == ["plan"] else "m1"]
    total, _ = counts(lab, *words)
    codes = {}
    for order in orders(lab, total, SAMPLES):
        process = lab.start(*words, env=failing(order))
        codes[order] = ends_well(process, order)
        lab.processes.remove(process)
    print(f"{total} allocations; {codes}")
    lab.check_completed(journal)
