-- One more chunk, of at most $2 documents. Any process; SKIP LOCKED: one cutter at a time, the others go on without.
-- A LIMIT in each arm, else the whole rest of the table is sorted each time.
-- $1 migration number, $2 documents
WITH reembed_m AS MATERIALIZED (
  SELECT * FROM reembed.migration WHERE number = $1 AND state = 'in_progress' AND counted AND NOT cut_done AND bound IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED),
b AS MATERIALIZED (
  SELECT reembed_m.number, reembed_m.cut_upto AS lo, reembed_m.next_no, r.hi, r.n FROM reembed_m, LATERAL (
    SELECT ((array_agg(s.id ORDER BY s.id DESC))[1])::text AS hi, count(*)::int AS n
    FROM ((SELECT {id} AS id FROM {docs} AS {alias} WHERE reembed_m.cut_upto IS NULL AND {id} <= reembed_m.bound::{id_type} AND {filter} ORDER BY {id} LIMIT $2) UNION ALL
          (SELECT {id} AS id FROM {docs} AS {alias} WHERE {id} > reembed_m.cut_upto::{id_type} AND {id} <= reembed_m.bound::{id_type} AND {filter} ORDER BY {id} LIMIT $2)) s) r),
u AS (
  UPDATE reembed.migration g SET cut_upto = coalesce(b.hi, g.cut_upto), next_no = g.next_no + (b.hi IS NOT NULL)::int,
         cut_done = b.n < $2, remaining = CASE WHEN b.n < $2 THEN 0 ELSE greatest(g.remaining - b.n, 0) END
  FROM b WHERE g.number = b.number RETURNING g.cut_done),
c AS (
  INSERT INTO reembed.chunk (migration, no, lo, hi, cursor, docs)
  SELECT b.number, b.next_no, b.lo, b.hi, b.lo, b.n FROM b WHERE b.hi IS NOT NULL RETURNING no)
SELECT (SELECT count(*) FROM reembed_m) AS locked, (SELECT no FROM c) AS no, (SELECT cut_done FROM u) AS cut_done
