-- Vectors into a column of the documents table itself, only where the content is still the one that was embedded. Rows
-- that the application holds locked are left for the next pass (SKIP LOCKED): nobody waits for us, we wait for nobody.
-- A document without a vector has hash but no vector: the column becomes NULL, or stays where it refuses NULL. A document
-- that is gone has neither.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 numbers of the changes  $6 ids  $7 hashes  $8 vectors  $9 truncated
-- $10 migration number  $11 failed ids  $12 their hashes  $13 kinds  $14 reasons  $15 details  $16 attempts
-- $17 HTTP statuses (0: none)
WITH fence AS (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond',
         drained = drained + cardinality($6::{id_type}[]), truncated = truncated + $9
  WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1),
reembed_u AS MATERIALIZED (   -- names that no column of the documents has: the content expression is bare
  SELECT reembed_u.reembed_id, reembed_u.reembed_hash, reembed_u.reembed_vector
  FROM fence, unnest($6::{id_type}[], $7::uuid[], $8::{vector}[]) AS reembed_u(reembed_id, reembed_hash, reembed_vector)),
reembed_lk AS MATERIALIZED (
  SELECT {alias}.{id} AS id, reembed_u.reembed_vector AS v FROM reembed_u JOIN {docs} AS {alias} ON {alias}.{id} = reembed_u.reembed_id
  WHERE md5(coalesce({content}, ''))::uuid = reembed_u.reembed_hash ORDER BY reembed_u.reembed_id FOR NO KEY UPDATE OF {alias} SKIP LOCKED),
w AS (UPDATE {docs} AS {alias} SET {source_column} = reembed_lk.v FROM reembed_lk WHERE {alias}.{id} = reembed_lk.id
      AND (reembed_lk.v IS NOT NULL OR NOT {source_not_null}) RETURNING reembed_lk.id),
gone AS (
  SELECT reembed_u.reembed_id AS id FROM reembed_u WHERE reembed_u.reembed_hash IS NULL AND NOT EXISTS (SELECT 1 FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_u.reembed_id AND {filter})),
settled AS (
  SELECT id FROM w UNION SELECT id FROM gone UNION SELECT id FROM reembed_lk WHERE v IS NULL),
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
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM w) AS written, (SELECT count(*) FROM del) AS settled
