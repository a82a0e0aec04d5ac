-- The same for the application's own table of vectors: a row a document, replaced or inserted; the row of a document that
-- is gone is deleted. Locked rows are left for the next pass.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 numbers of the changes  $6 ids  $7 hashes  $8 vectors  $9 truncated
-- $10 migration number  $11 failed ids  $12 their hashes  $13 kinds  $14 reasons  $15 details  $16 attempts
-- $17 HTTP statuses (0: none)
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
w AS (UPDATE {source} s SET {source_column} = ok.v FROM ok, lk WHERE s.{source_id} = ok.id AND lk.id = ok.id AND ok.h IS NOT NULL
      AND (ok.v IS NOT NULL OR NOT {source_not_null}) RETURNING ok.id),
i AS (INSERT INTO {source} ({source_id}, {source_column}) SELECT ok.id, ok.v FROM ok WHERE ok.h IS NOT NULL AND NOT ok.there AND ok.v IS NOT NULL RETURNING {source_id} AS id),
g AS (DELETE FROM {source} s USING ok, lk WHERE s.{source_id} = ok.id AND lk.id = ok.id AND ok.h IS NULL RETURNING ok.id),
settled AS (
  SELECT id FROM w UNION SELECT id FROM i UNION SELECT id FROM g
  UNION SELECT ok.id FROM ok WHERE NOT ok.there AND (ok.h IS NULL OR ok.v IS NULL)
  UNION SELECT ok.id FROM ok JOIN lk ON lk.id = ok.id WHERE ok.v IS NULL AND ok.h IS NOT NULL),
failed AS (
  INSERT INTO reembed.failure AS f (migration, space_id, doc_id, content_hash, kind, reason, detail, attempts, http_status)
  SELECT $10, $1, u.id::text, u.h, u.kind, u.reason, u.detail, u.attempts::int, nullif(u.status, 0)::int
  FROM fence, unnest($11::{id_type}[], $12::uuid[], $13::text[], $14::text[], $15::text[], $16::bigint[], $17::bigint[])
       AS u(id, h, kind, reason, detail, attempts, status) ORDER BY u.id
  ON CONFLICT (migration, space_id, doc_id) DO UPDATE
     SET content_hash = excluded.content_hash, kind = excluded.kind, reason = excluded.reason, detail = excluded.detail,
         attempts = f.attempts + excluded.attempts, http_status = excluded.http_status, retrying = false, last_at = now()
  RETURNING 1),
healed AS (
  DELETE FROM reembed.failure f USING settled x
  WHERE f.migration = $10 AND f.space_id = $1 AND f.doc_id = x.id::text AND NOT x.id = ANY ($11::{id_type}[]) RETURNING 1),
del AS (
  DELETE FROM {changes} c WHERE c.space_id = $1 AND c.seq = ANY ($5::bigint[]) AND (c.doc_id IN (SELECT x.id FROM settled x)) IS TRUE RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM w) + (SELECT count(*) FROM i) AS written, (SELECT count(*) FROM del) AS settled
