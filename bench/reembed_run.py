"""How `reembed run` is called by bench/run-http and bench/run-peers."""
import json

from whole_run import require_vectors

COUNT = "SELECT count(embedding) FROM reembed_data.bench_current WHERE model = 'bench'"


def migration(url, dimensions, batch, concurrent, with_source, **provider):
    return {
        "id": "bench",
        "collection": "bench",
        "documents": {"table": "public.docs", "id": "id", "content": "body"},
        "source": {"model": "old", "column": "embedding"} if with_source else None,
        "target": {"model": "bench", "dimensions": dimensions, "index": {"method": "none"},
                   "provider": {"kind": "openai", "url": url, "max_items": batch, **provider}},
        "backfill": {"batch_size": batch, "max_concurrent": concurrent},
    }


def command(build, postgres, database, folder, file):
    """The words of the call, with `file` written into `folder`."""
    path = folder / "migration.json"
    path.write_text(json.dumps(file))
    return [str(build / "bin" / "reembed"), "--database-url", postgres.uri(database), "--log-level", "error",
            "--no-progress", "--yes", "run", str(path)]


def check(postgres, database, documents):
    require_vectors(postgres, database, COUNT, documents)
