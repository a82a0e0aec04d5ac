-- A TRUNCATE took the column's vectors along: settle the markers.
-- $1 space  $2 owner  $3 epoch  $4 lease in ms  $5 numbers of the markers
WITH fence AS (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond' WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1),
del AS (DELETE FROM {changes} c USING fence WHERE c.space_id = $1 AND c.seq = ANY ($5::bigint[]) AND c.doc_id IS NULL RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM del) AS settled
