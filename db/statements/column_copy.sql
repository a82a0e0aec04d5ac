-- One batch of the side table into the column of the documents, behind the last id that was copied. Rows that the
-- application holds locked come later, by way of the log. Only the owner of the lease copies, so no older vector can
-- overtake a newer one.
-- $1 space of the column  $2 owner  $3 epoch  $4 lease in ms  $5 migration number  $6 rows at most
WITH fence AS MATERIALIZED (
  UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
  WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1),
reembed_p AS MATERIALIZED (SELECT p.cursor::{id_type} AS cursor FROM fence, reembed.placement p WHERE p.migration = $5 AND NOT p.copy_done),
reembed_b AS MATERIALIZED (     -- a LIMIT in each arm, so that each goes along the key
  SELECT x.doc_id, x.embedding FROM (
    (SELECT reembed_t.doc_id, reembed_t.embedding FROM {target} reembed_t WHERE (SELECT cursor IS NULL FROM reembed_p) ORDER BY reembed_t.doc_id LIMIT $6) UNION ALL
    (SELECT reembed_t.doc_id, reembed_t.embedding FROM {target} reembed_t WHERE reembed_t.doc_id > (SELECT cursor FROM reembed_p) ORDER BY reembed_t.doc_id LIMIT $6)) x),
reembed_lk AS MATERIALIZED (
  SELECT {alias}.{id} AS id, reembed_b.embedding AS v FROM reembed_b JOIN {docs} AS {alias} ON {alias}.{id} = reembed_b.doc_id
  ORDER BY reembed_b.doc_id FOR NO KEY UPDATE OF {alias} SKIP LOCKED),
w AS (
  UPDATE {docs} AS {alias} SET {column} = reembed_lk.v FROM reembed_lk WHERE {alias}.{id} = reembed_lk.id
    AND NOT ({alias}.{column} IS NULL AND reembed_lk.v IS NULL) AND ({alias}.{column} OPERATOR({vector_schema}.=) reembed_lk.v) IS NOT TRUE RETURNING 1),
later AS (
  INSERT INTO {log} (doc_id) SELECT reembed_b.doc_id FROM reembed_b WHERE NOT EXISTS (SELECT 1 FROM reembed_lk WHERE reembed_lk.id = reembed_b.doc_id) RETURNING 1),
u AS (
  UPDATE reembed.placement p SET copied = p.copied + s.n, copy_done = s.n < $6, cursor = coalesce(s.last::text, p.cursor)
  FROM (SELECT count(*) AS n, (array_agg(reembed_b.doc_id ORDER BY reembed_b.doc_id DESC))[1] AS last FROM reembed_b) s, reembed_p
  WHERE p.migration = $5 RETURNING p.copy_done, p.copied)
SELECT (SELECT count(*) FROM fence) AS fenced, (SELECT count(*) FROM w) AS written, (SELECT count(*) FROM later) AS later,
       coalesce((SELECT copy_done FROM u), true) AS done
