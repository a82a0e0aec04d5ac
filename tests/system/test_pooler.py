"""Through pgbouncer in transaction mode: no session state may matter."""
import pytest

from lab import merged
from pooler import Pooler, program


@pytest.fixture
def pooler(lab):
    if program() is None:
        pytest.skip("pgbouncer is not installed")
    pooler = Pooler(lab)
    yield pooler
    pooler.close()


def test_a_migration_through_a_pooler_in_transaction_mode(lab, pooler):
    journal = lab.documents(2000)
    provider = lab.provider(latency_ms=10)
    file = lab.file(**merged(lab.http(provider), {"backfill": {"batch_size": 20, "max_concurrent": 3},
                                                  "source": {"provider": {"kind": "hashing"}},
                                                  "target": {"index": {"method": "hnsw"}}}))
    lab.run(file, "--until", 0.1, code=3, url=pooler.url)
    application = lab.application(journal, 0.01)
    processes = [lab.start("run", file, url=pooler.url) for _ in range(2)]
    for process in processes:
        process.ends(0)
    application.stop()
    lab.run(file, url=pooler.url)
    lab.check_completed(journal)
    for words in (["status", "m1"], ["verify", "m1"], ["rollback", "m1"], ["cutover", "m1"]):
        lab.call(*words, url=pooler.url)
    lab.check_nothing_claimed()
