-- Rows of the side table that were written since: the column gets what the side table holds now, nothing where that has
-- none. Rows that the application holds locked are left for the next pass. What is logged after this statement's snapshot
-- stays logged.
-- $1 space of the column  $2 owner  $3 epoch  $4 lease in ms  $5 changes at most  $6 behind this number
WITH fence AS MATERIALIZED (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
  WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1),
reembed_l AS MATERIALIZED (SELECT l.seq, l.doc_id FROM {log} l WHERE (SELECT count(*) FROM fence) > 0 AND l.seq > $6 ORDER BY l.seq LIMIT $5),
reembed_i AS MATERIALIZED (SELECT DISTINCT l.doc_id AS key FROM reembed_l l),
reembed_lk AS MATERIALIZED (
  SELECT {alias}.{id} AS id FROM reembed_i JOIN {docs} AS {alias} ON {alias}.{id} = reembed_i.key
  ORDER BY reembed_i.key FOR NO KEY UPDATE OF {alias} SKIP LOCKED),
reembed_v AS MATERIALIZED (
  SELECT reembed_lk.id, t.embedding AS v FROM reembed_lk
  LEFT JOIN LATERAL (SELECT reembed_t.embedding FROM {target} reembed_t WHERE reembed_t.doc_id = reembed_lk.id OFFSET 0) t ON true),
w AS (
  UPDATE {docs} AS {alias} SET {column} = reembed_v.v FROM reembed_v WHERE {alias}.{id} = reembed_v.id
    AND NOT ({alias}.{column} IS NULL AND reembed_v.v IS NULL) AND ({alias}.{column} OPERATOR({vector_schema}.=) reembed_v.v) IS NOT TRUE RETURNING 1),
settled AS MATERIALIZED (
  SELECT reembed_lk.id FROM reembed_lk UNION ALL
  SELECT reembed_i.key FROM reembed_i WHERE NOT EXISTS (SELECT 1 FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_i.key)),
del AS (
  DELETE FROM {log} l WHERE l.seq = ANY (ARRAY(SELECT reembed_l.seq FROM reembed_l WHERE reembed_l.doc_id IN (SELECT settled.id FROM settled))) RETURNING 1)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM reembed_l) AS listed, (SELECT count(*) FROM w) AS written,
       (SELECT count(*) FROM del) AS settled, (SELECT coalesce(max(reembed_l.seq), 0) FROM reembed_l) AS highest
