-- Random documents whose vector is of their present content.  $1 at most
SELECT reembed_r.doc_id AS id
FROM (SELECT doc_id, content_hash FROM {target} WHERE content_hash IS NOT NULL ORDER BY random()) reembed_r
CROSS JOIN LATERAL (SELECT 1 FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_r.doc_id AND {filter}
                      AND md5(coalesce({content}, ''))::uuid = reembed_r.content_hash OFFSET 0) reembed_d
LIMIT $1
