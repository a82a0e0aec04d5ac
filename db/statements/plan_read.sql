-- $1 ids  $2 characters of the content at most. Rows come in the order of the ids; one that is gone is left out.
SELECT reembed_i.n::bigint AS n,
       CASE WHEN octet_length(reembed_d.body) > $2 THEN left(reembed_d.body, $2) ELSE reembed_d.body END AS body
FROM unnest($1::{id_type}[]) WITH ORDINALITY AS reembed_i(key, n)
CROSS JOIN LATERAL (SELECT {content} AS body FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_i.key AND {filter} OFFSET 0) reembed_d
ORDER BY reembed_i.n
