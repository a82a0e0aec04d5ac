-- Fence, vectors, failures, counters and cursor in one statement: all of it happens, or nothing.
-- fenced = 0: the lease is another's and nothing was written. The fence holds the chunk's row to the commit, so a stalled
-- write can't be overtaken by a new claim; "cursor before" makes a repeated commit of the same documents fail.
-- The rows come in the order of $11, so all writers lock them in the order of the ids; sorting them again would cost a
-- fifth of the statement. The newer token wins. A document without a vector is in $11 too, with hash and vector NULL: an older vector goes.
-- $1 migration number  $2 no  $3 owner  $4 epoch  $5 cursor before  $6 cursor after  $7 chunk finished  $8 documents
-- $9 truncated  $10 lease in milliseconds  $11 ids, ascending  $12 hashes  $13 vectors
-- $14 failed ids  $15 their hashes  $16 kinds  $17 reasons  $18 details  $19 attempts  $20 HTTP statuses (0: none)
-- $21 space  $22 ids known to have no vector, met again
WITH fence AS (
  UPDATE reembed.chunk SET cursor = ($6::{id_type})::text, done = done + $8, truncated = truncated + $9,
         docs = CASE WHEN $7 THEN done + $8 ELSE greatest(docs, done + $8) END,
         lease_until = clock_timestamp() + $10 * interval '1 millisecond', state = CASE WHEN $7 THEN 2 ELSE 1 END
  WHERE migration = $1 AND no = $2 AND owner = $3 AND epoch = $4 AND state = 1 AND cursor IS NOT DISTINCT FROM ($5::{id_type})::text
  RETURNING 1),
ins AS (
  INSERT INTO {target} AS t (doc_id, read_token, content_hash, embedding)
  SELECT u.id, $4, u.h, u.v FROM fence, unnest($11::{id_type}[], $12::uuid[], $13::{vector}[]) AS u(id, h, v)
  ON CONFLICT (doc_id) DO UPDATE
     SET read_token = excluded.read_token, content_hash = excluded.content_hash, embedding = excluded.embedding
   WHERE t.read_token < excluded.read_token
  RETURNING 1),
failed AS (
  INSERT INTO reembed.failure AS f (migration, space_id, doc_id, content_hash, kind, reason, detail, attempts, http_status, seen)
  SELECT $1, $21, u.id::text, u.h, u.kind, u.reason, u.detail, u.attempts::int, nullif(u.status, 0)::int, true
  FROM fence, unnest($14::{id_type}[], $15::uuid[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[])
       AS u(id, h, kind, reason, detail, attempts, status) ORDER BY u.id
  ON CONFLICT (migration, space_id, doc_id) DO UPDATE
     SET content_hash = excluded.content_hash, kind = excluded.kind, reason = excluded.reason, detail = excluded.detail,
         attempts = f.attempts + excluded.attempts, http_status = excluded.http_status, seen = true, ahead = false,
         retrying = false, last_at = now()
  RETURNING 1),
known AS (
  UPDATE reembed.failure f SET seen = true, ahead = false FROM fence
  WHERE f.migration = $1 AND f.space_id = $21 AND f.doc_id = ANY (($22::{id_type}[])::text[]) RETURNING 1),
met AS (     -- skipped ahead, then retried, and embedded here
  UPDATE reembed.failure f SET ahead = false FROM fence
  WHERE f.migration = $1 AND f.space_id = $21 AND f.ahead AND f.doc_id = ANY (($11::{id_type}[])::text[])
    AND NOT f.doc_id = ANY (($14::{id_type}[])::text[]) AND NOT f.doc_id = ANY (($22::{id_type}[])::text[]) RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM ins) AS written
