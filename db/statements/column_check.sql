-- Exact: documents of lo < id <= hi whose column is not what the side table holds. What nobody has logged yet is logged.
-- $1 lo (NULL: from the start)  $2 hi (NULL: to the end)
WITH reembed_w AS MATERIALIZED (
  SELECT d.id FROM (SELECT {id} AS id, {column} AS v FROM {docs} AS {alias}
        WHERE ($1::{id_type} IS NULL OR {id} > $1::{id_type}) AND ($2::{id_type} IS NULL OR {id} <= $2::{id_type})) d
  LEFT JOIN (SELECT reembed_t.doc_id, reembed_t.embedding AS v FROM {target} reembed_t
        WHERE ($1::{id_type} IS NULL OR reembed_t.doc_id > $1::{id_type}) AND ($2::{id_type} IS NULL OR reembed_t.doc_id <= $2::{id_type})) t
    ON t.doc_id = d.id
  WHERE NOT (d.v IS NULL AND t.v IS NULL) AND (d.v OPERATOR({vector_schema}.=) t.v) IS NOT TRUE),
noted AS (
  INSERT INTO {log} (doc_id) SELECT reembed_w.id FROM reembed_w WHERE NOT EXISTS (SELECT 1 FROM {log} l WHERE l.doc_id = reembed_w.id) RETURNING 1)
SELECT (SELECT count(*) FROM reembed_w) AS differing, (SELECT count(*) FROM noted) AS noted
