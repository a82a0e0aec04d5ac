-- Vectors into a column of the documents table itself, only where the content is still the one that was embedded. Rows
-- that the application holds locked are left for the next pass (SKIP LOCKED): nobody waits for us, we wait for nobody.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 numbers of the changes  $6 ids  $7 hashes  $8 vectors  $9 truncated
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
w AS (UPDATE {docs} AS {alias} SET {source_column} = reembed_lk.v FROM reembed_lk WHERE {alias}.{id} = reembed_lk.id RETURNING reembed_lk.id),
gone AS (
  SELECT reembed_u.reembed_id AS id FROM reembed_u WHERE reembed_u.reembed_hash IS NULL AND NOT EXISTS (SELECT 1 FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_u.reembed_id AND {filter})),
del AS (
  DELETE FROM {changes} c USING (SELECT id FROM w UNION SELECT id FROM gone) x
  WHERE c.space_id = $1 AND c.seq = ANY ($5::bigint[]) AND c.doc_id = x.id RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM w) AS written, (SELECT count(*) FROM del) AS settled
