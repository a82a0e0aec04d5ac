-- The nearest documents of both spaces, fused; distances of two models can't be compared, so there is none.
-- $1 collection  $2 the query by the source's model  $3 by the target's  $4 at most  $5 characters of content
SELECT reembed_h.doc_id, NULL::float8 AS distance, reembed_h.model, reembed_d.content
FROM reembed.search_fused($1, $2, $3, $4) WITH ORDINALITY AS reembed_h(doc_id, score, model, n)
LEFT JOIN LATERAL (SELECT left({content}, $5) AS content FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_h.doc_id::{id_type} AND {filter} OFFSET 0) reembed_d ON true
ORDER BY reembed_h.n
