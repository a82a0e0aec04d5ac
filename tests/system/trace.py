"""What the journal of writes (trace.sql) must show, whatever the processes did: writes are fenced, in order, counted once.

Each check is a query that finds offences; nothing here knows the program's code, only the tables it shares with psql.
"""
from program import SOURCE

CHECKS = {
    "a vector was written with a token that is not newer": """
        SELECT doc, token_before, token, who FROM trace.vector
        WHERE token IS NOT NULL AND token <= token_before""",
    "an older token came back after a newer one": """
        SELECT doc, newest, token, who FROM (
          SELECT *, max(coalesce(token, token_before)) OVER (PARTITION BY doc ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest
          FROM trace.vector) v WHERE token <= newest""",
    "a row that held a vector was deleted": """
        SELECT doc, token_before, who FROM trace.vector WHERE token IS NULL AND was_vector""",
    "a vector was written outside of every fence": """
        SELECT doc, token, who FROM trace.vector v WHERE token IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM trace.chunk c WHERE c.xid = v.xid AND c.epoch = v.token AND c.epoch_before = c.epoch AND c.state_before = 1)
          AND NOT EXISTS (SELECT 1 FROM trace.drain d WHERE d.xid = v.xid AND d.epoch_before = d.epoch AND d.owner = d.owner_before)""",
    "a chunk was taken from a living owner": """
        SELECT no, epoch_before, epoch, who, at - lease_before AS early FROM trace.chunk
        WHERE epoch <> epoch_before AND state_before = 1 AND lease_before > at""",
    "a chunk's epoch went back": """
        SELECT no, epoch_before, epoch, who FROM trace.chunk WHERE epoch < epoch_before""",
    "a finished chunk was touched": """
        SELECT no, epoch, who FROM trace.chunk WHERE state_before = 2""",
    "a chunk's cursor went back": """
        SELECT no, cursor_before, cursor, who FROM trace.chunk WHERE cursor::bigint < cursor_before::bigint OR done < done_before""",
    "a drainer's lease was taken from a living owner": """
        SELECT space_id, epoch, who, at - lease_before AS early FROM trace.drain
        WHERE epoch <> epoch_before AND owner_before IS NOT NULL AND lease_before > at""",
    "queries went over more than once": """
        SELECT space_before, space, version FROM trace.route
        WHERE n > (SELECT min(n) FROM trace.route WHERE space_before IS NOT NULL) AND space_before IS NOT NULL""",
}

# What the chunks counted is what the migration says, less documents that failed and then were deleted.
LEDGER = """
    SELECT p.total, p.processed, p.skipped, p.failed, p.pending, m.gone, m.counted, coalesce((SELECT sum(done - done_before) FROM trace.chunk), 0)
    FROM reembed.progress p JOIN reembed.migration m USING (migration_id) WHERE migration_id = 'm1'"""


def install(database):
    database.execute((SOURCE / "tests/system/trace.sql").read_text())


def offences(database, completed=True):
    """A list of sentences, empty when all is well."""
    found = []
    for sentence, query in CHECKS.items():
        rows = database.rows(query + " LIMIT 3")
        if rows:
            found.append(f"{sentence}: {rows}")
    if completed:
        total, processed, skipped, failed, pending, gone, counted, written = database.row(LEDGER)
        if pending != 0 or written - gone != total or processed + skipped + failed != total:
            found.append(f"counters and ledger differ: total {total}, processed {processed}, skipped {skipped}, "
                         f"failed {failed}, pending {pending}, gone {gone}, counted by chunks {written}")
    return found


# A chunk or drainer that `who` held at its death, and when somebody else had it.
TAKEN = """
    SELECT c.at FROM trace.chunk c WHERE c.no = %s AND c.epoch > %s ORDER BY n LIMIT 1"""
HELD = """
    SELECT DISTINCT ON (no) no, epoch, state, who FROM trace.chunk WHERE at <= %s ORDER BY no, n DESC"""


def recoveries(database, deaths):
    """Seconds from each death (who, at) until each chunk that it held was claimed by another."""
    result = []
    for who, at in deaths:
        for number, epoch, state, holder in database.rows(HELD, at):
            if holder != who or state != 1:
                continue
            taken = database.value(TAKEN, number, epoch)
            if taken is not None:
                result.append((taken - at).total_seconds())
    return result


def take_overs(database):
    return database.value("SELECT count(*) FROM trace.chunk WHERE epoch <> epoch_before AND state_before = 1") + \
        database.value("SELECT count(*) FROM trace.drain WHERE epoch <> epoch_before AND owner_before IS NOT NULL")
