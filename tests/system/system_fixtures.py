"""The fixtures of the system tests. The program as a whole, against real servers. Started by CTest, or by hand:

    REEMBED_TEST_DATABASE_URL=... REEMBED_BINARY_DIR=build REEMBED_SOURCE_DIR=. python -m pytest tests/system

REEMBED_TEST_DATABASE_URL is a superuser's; each test makes a database of its own. Every test prints the seed of its
random choices; REEMBED_TEST_SEED repeats one. REEMBED_TEST_SCALE below 1 makes the numbers smaller and the deadlines
longer, for sanitizers. REEMBED_TEST_LONG=1 runs the acceptance tests of the provider in their full size (some 10 minutes).
"""
import os
import random

import psycopg
import pytest

from database import Cluster
from lab import Lab


@pytest.fixture(scope="session")
def server_url():
    url = os.environ.get("REEMBED_TEST_DATABASE_URL")
    if not url:
        pytest.skip("REEMBED_TEST_DATABASE_URL is not set (scripts/test sets it)")
    return url


@pytest.fixture(scope="session")
def server_version(server_url):
    with psycopg.connect(server_url) as sql:
        return sql.info.server_version // 10000


@pytest.fixture
def seed():
    seed = int(os.environ.get("REEMBED_TEST_SEED") or random.SystemRandom().randrange(2 ** 31))
    print(f"seed {seed}")
    return seed


def database_name(seed):
    return f"sys_{os.getpid()}_{seed}_{random.SystemRandom().randrange(10 ** 6)}"


@pytest.fixture
def lab(server_url, seed):
    lab = Lab(server_url, database_name(seed), seed)
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def cluster(server_version):
    """A server of the module's own."""
    cluster = Cluster(server_version)
    yield cluster
    cluster.close()


@pytest.fixture
def cluster_lab(cluster, seed):
    lab = Lab(cluster.url, database_name(seed), seed)
    yield lab
    cluster.start()
    lab.close()
