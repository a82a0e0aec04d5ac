-- Documents whose vector is current: raise the token, keep the vector (an older read that is still under way must not
-- win). If the row changed since the read, its change stays in the log. Row locks in the order of the ids.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 token  $6 numbers of the changes  $7 ids  $8 hashes  $9 migration number
WITH fence AS (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond', drained = drained + cardinality($7::{id_type}[])
  WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1),
lk AS MATERIALIZED (
  SELECT t.doc_id, u.h FROM fence, unnest($7::{id_type}[], $8::uuid[]) AS u(id, h),
         LATERAL (SELECT doc_id FROM {target} WHERE doc_id = u.id FOR NO KEY UPDATE) t),
w AS (
  UPDATE {target} t SET read_token = $5 FROM lk
  WHERE t.doc_id = ANY ($7::{id_type}[]) AND t.doc_id = lk.doc_id AND t.content_hash = lk.h AND t.read_token < $5 RETURNING t.doc_id),
healed AS (
  DELETE FROM reembed.failure f USING w WHERE f.migration = $9 AND f.space_id = $1 AND f.doc_id = w.doc_id::text RETURNING 1),
del AS (     -- IS TRUE: never a join, which would read the changes once for each document
  DELETE FROM {changes} c WHERE c.space_id = $1 AND c.seq = ANY ($6::bigint[]) AND (c.doc_id IN (SELECT w.doc_id FROM w)) IS TRUE RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM w) AS written, (SELECT count(*) FROM del) AS settled
