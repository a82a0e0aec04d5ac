-- Vectors that no search can use: other dimensions, not finite, without a direction. One window. Where $5, they are
-- marked as no longer of their content and noted in the change log (see verify_mark).
-- $1 after this id (NULL: from the start)  $2 rows  $3 dimensions  $4 space  $5 mark and note, or only count
WITH w AS MATERIALIZED (
  SELECT reembed_t.doc_id, reembed_t.content_hash, reembed_t.embedding IS NULL OR ({vector_schema}.vector_dims(reembed_t.embedding) = $3
           AND {vector_schema}.vector_norm(reembed_t.embedding::{vector_type}) > 0
           AND {vector_schema}.vector_norm(reembed_t.embedding::{vector_type}) < 'Infinity') AS usable
  FROM {target} reembed_t WHERE $1::{id_type} IS NULL OR reembed_t.doc_id > $1::{id_type}
  ORDER BY reembed_t.doc_id LIMIT $2),
marked AS (
  UPDATE {target} t SET content_hash = 'ffffffff-ffff-ffff-ffff-ffffffffffff' FROM w
  WHERE $5 AND NOT w.usable AND w.content_hash <> 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    AND t.doc_id = w.doc_id AND t.content_hash = w.content_hash RETURNING t.doc_id),
noted AS (
  INSERT INTO {changes} (space_id, doc_id) SELECT $4, m.doc_id FROM marked m
  WHERE NOT EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $4 AND c.doc_id = m.doc_id) RETURNING 1)
SELECT count(*) FILTER (WHERE NOT w.usable) AS unusable, (SELECT count(*) FROM noted) AS noted,
       CASE WHEN count(*) = $2 THEN (SELECT w.doc_id FROM w ORDER BY w.doc_id DESC LIMIT 1) END AS hi
FROM w
