-- Exact, the other way: vectors of lo < id <= hi without a document.  $1 lo  $2 hi  $3 space
WITH noted AS (
  INSERT INTO {changes} (space_id, doc_id)
  SELECT $3, t.doc_id FROM {target} t
  WHERE ($1::{id_type} IS NULL OR t.doc_id > $1::{id_type}) AND ($2::{id_type} IS NULL OR t.doc_id <= $2::{id_type}) AND t.content_hash IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM {docs} AS {alias} WHERE {id} = t.doc_id AND {filter})
    AND NOT EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $3 AND c.doc_id = t.doc_id)
  RETURNING 1)
SELECT count(*) AS noted FROM noted
