-- Something of documents as text, in the order of the ids. Documents that are gone, that were edited since they were
-- embedded, or that have no such text are left out.  $1 ids  $2 characters at most
SELECT reembed_i.n, left(reembed_d.body, $2) AS body
FROM unnest($1::{id_type}[]) WITH ORDINALITY AS reembed_i(key, n)
JOIN {target} reembed_t ON reembed_t.doc_id = reembed_i.key
CROSS JOIN LATERAL (SELECT ({text})::text AS body, md5(coalesce({content}, ''))::uuid AS hash
  FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_i.key AND {filter} OFFSET 0) reembed_d
WHERE btrim(reembed_d.body, E' \t\r\n') <> '' AND reembed_d.hash = reembed_t.content_hash
ORDER BY reembed_i.n
