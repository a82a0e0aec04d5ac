-- Vectors that no search can use: other dimensions, not finite, without a direction. One window.
-- $1 after this id (NULL: from the start)  $2 rows  $3 dimensions
WITH w AS MATERIALIZED (
  SELECT reembed_t.doc_id, reembed_t.embedding IS NULL OR ({vector_schema}.vector_dims(reembed_t.embedding) = $3
           AND {vector_schema}.vector_norm(reembed_t.embedding::{vector_type}) > 0
           AND {vector_schema}.vector_norm(reembed_t.embedding::{vector_type}) < 'Infinity') AS usable
  FROM {target} reembed_t WHERE $1::{id_type} IS NULL OR reembed_t.doc_id > $1::{id_type}
  ORDER BY reembed_t.doc_id LIMIT $2)
SELECT count(*) FILTER (WHERE NOT w.usable) AS unusable,
       CASE WHEN count(*) = $2 THEN (SELECT w.doc_id FROM w ORDER BY w.doc_id DESC LIMIT 1) END AS hi
FROM w
