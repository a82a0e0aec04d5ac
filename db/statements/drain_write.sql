-- New vectors; tombstones (hash and vector NULL) for documents that are gone or have none. Changes are deleted by exact
-- number and only for documents whose row this very statement wrote.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 token  $6 numbers of the changes  $7 ids, ascending  $8 hashes  $9 vectors
-- $10 truncated  $11 migration number  $12 failed ids  $13 their hashes  $14 kinds  $15 reasons  $16 details  $17 attempts
-- $18 HTTP statuses (0: none)  $19 ids known to have no vector, met again  $20 ids that are gone
-- The migration's row is only wanted where a failed document goes, and then first: operations of people lock it first, too.
WITH migration AS MATERIALIZED (
  SELECT 1 FROM reembed.migration g WHERE g.number = $11 AND EXISTS (
    SELECT 1 FROM reembed.failure f WHERE f.migration = $11 AND f.space_id = $1 AND f.seen AND f.doc_id = ANY (($20::{id_type}[])::text[]))
  FOR NO KEY UPDATE OF g),
fence AS (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond',
         drained = drained + cardinality($7::{id_type}[]), truncated = truncated + $10
  WHERE space_id = $1 AND owner = $2 AND epoch = $3 AND (SELECT count(*) FROM migration) >= 0 RETURNING 1),
w AS (
  INSERT INTO {target} AS t (doc_id, read_token, content_hash, embedding)
  SELECT u.id, $5, u.h, u.v FROM fence, unnest($7::{id_type}[], $8::uuid[], $9::{vector}[]) AS u(id, h, v) ORDER BY u.id
  ON CONFLICT (doc_id) DO UPDATE
     SET read_token = excluded.read_token, content_hash = excluded.content_hash, embedding = excluded.embedding
   WHERE t.read_token < excluded.read_token
  RETURNING doc_id),
failed AS (
  INSERT INTO reembed.failure AS f (migration, space_id, doc_id, content_hash, kind, reason, detail, attempts, http_status)
  SELECT $11, $1, u.id::text, u.h, u.kind, u.reason, u.detail, u.attempts::int, nullif(u.status, 0)::int
  FROM fence, unnest($12::{id_type}[], $13::uuid[], $14::text[], $15::text[], $16::text[], $17::bigint[], $18::bigint[])
       AS u(id, h, kind, reason, detail, attempts, status) ORDER BY u.id
  ON CONFLICT (migration, space_id, doc_id) DO UPDATE
     SET content_hash = excluded.content_hash, kind = excluded.kind, reason = excluded.reason, detail = excluded.detail,
         attempts = f.attempts + excluded.attempts, http_status = excluded.http_status, retrying = false, last_at = now()
   WHERE NOT (f.kind = 'skipped' AND f.content_hash IS NULL AND NOT f.retrying)   -- skipped by a person meanwhile
  RETURNING 1),
healed AS (
  DELETE FROM reembed.failure f USING w WHERE f.migration = $11 AND f.space_id = $1 AND f.doc_id = w.doc_id::text
    AND NOT w.doc_id = ANY ($12::{id_type}[]) AND NOT w.doc_id = ANY ($19::{id_type}[])
  RETURNING f.seen AND w.doc_id = ANY ($20::{id_type}[]) AS left_population),
left_population AS (
  UPDATE reembed.migration SET gone = gone + h.n FROM (SELECT count(*) AS n FROM healed WHERE left_population) h
  WHERE number = $11 AND h.n > 0),
del AS (     -- IS TRUE: never a join, which would read the changes once for each document
  DELETE FROM {changes} c WHERE c.space_id = $1 AND c.seq = ANY ($6::bigint[]) AND (c.doc_id IN (SELECT w.doc_id FROM w)) IS TRUE RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM w) AS written, (SELECT count(*) FROM del) AS settled
