-- The same for the application's own table of vectors: a row a document, replaced or inserted; the row of a document that
-- is gone is deleted. Locked rows are left for the next pass.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 numbers of the changes  $6 ids  $7 hashes  $8 vectors  $9 truncated
WITH fence AS (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond',
         drained = drained + cardinality($6::{id_type}[]), truncated = truncated + $9
  WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1),
u AS MATERIALIZED (
  SELECT reembed_u.id, reembed_u.h, reembed_u.v,
         (SELECT md5(coalesce({content}, ''))::uuid FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_u.id AND {filter}) AS present,
         EXISTS (SELECT 1 FROM {source} s WHERE s.{source_id} = reembed_u.id) AS there
  FROM fence, unnest($6::{id_type}[], $7::uuid[], $8::{vector}[]) AS reembed_u(id, h, v)),
ok AS MATERIALIZED (SELECT * FROM u WHERE u.present IS NOT DISTINCT FROM u.h),
lk AS MATERIALIZED (
  SELECT s.{source_id} AS id FROM {source} s WHERE s.{source_id} IN (SELECT id FROM ok) ORDER BY 1 FOR UPDATE SKIP LOCKED),
w AS (UPDATE {source} s SET {source_column} = ok.v FROM ok, lk WHERE s.{source_id} = ok.id AND lk.id = ok.id AND ok.h IS NOT NULL RETURNING ok.id),
i AS (INSERT INTO {source} ({source_id}, {source_column}) SELECT ok.id, ok.v FROM ok WHERE ok.h IS NOT NULL AND NOT ok.there AND ok.v IS NOT NULL RETURNING {source_id} AS id),
g AS (DELETE FROM {source} s USING ok, lk WHERE s.{source_id} = ok.id AND lk.id = ok.id AND ok.h IS NULL RETURNING ok.id),
del AS (
  DELETE FROM {changes} c USING (SELECT id FROM w UNION SELECT id FROM i UNION SELECT id FROM g
                                 UNION SELECT id FROM ok WHERE NOT there AND (h IS NULL OR v IS NULL)) x
  WHERE c.space_id = $1 AND c.seq = ANY ($5::bigint[]) AND c.doc_id = x.id RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM w) + (SELECT count(*) FROM i) AS written, (SELECT count(*) FROM del) AS settled
