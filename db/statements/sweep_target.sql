-- Exact, the other way: vectors of lo < id <= hi without a document. queued: with those noted now.
-- $1 lo  $2 hi  $3 space  $4 note, or only count
WITH orphans AS MATERIALIZED (
  SELECT reembed_t.doc_id FROM {target} reembed_t
  WHERE ($1::{id_type} IS NULL OR reembed_t.doc_id > $1::{id_type}) AND ($2::{id_type} IS NULL OR reembed_t.doc_id <= $2::{id_type}) AND reembed_t.content_hash IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_t.doc_id AND {filter})),
noted AS (
  INSERT INTO {changes} (space_id, doc_id)
  SELECT $3, o.doc_id FROM orphans o WHERE $4 AND NOT EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $3 AND c.doc_id = o.doc_id)
  RETURNING 1)
SELECT (SELECT count(*) FROM orphans) AS orphaned, (SELECT count(*) FROM noted) AS noted,
       (SELECT count(*) FROM orphans o WHERE EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $3 AND c.doc_id = o.doc_id))
         + (SELECT count(*) FROM noted) AS queued
