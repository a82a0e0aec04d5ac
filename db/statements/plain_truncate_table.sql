-- After a TRUNCATE: log every row of the application's table of vectors that has no document, and settle the markers.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 numbers of the markers
WITH fence AS (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond' WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1),
add AS (
  INSERT INTO {changes} (space_id, doc_id) SELECT $1, reembed_s.{source_id} FROM fence, {source} reembed_s
  WHERE NOT EXISTS (SELECT 1 FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_s.{source_id} AND {filter}) RETURNING 1),
del AS (DELETE FROM {changes} c USING fence WHERE c.space_id = $1 AND c.seq = ANY ($5::bigint[]) AND c.doc_id IS NULL RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM add) AS added, (SELECT count(*) FROM del) AS settled
