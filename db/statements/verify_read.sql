-- Their content and what is stored for it; not of those that were edited meanwhile.
-- $1 ids  $2 characters of the content at most
SELECT reembed_i.key AS id, reembed_t.content_hash, reembed_t.embedding,
       CASE WHEN octet_length(reembed_d.body) > $2 THEN left(reembed_d.body, $2) ELSE reembed_d.body END AS body,
       coalesce(octet_length(reembed_d.body) > $2 AND char_length(reembed_d.body) > $2, false) AS cut
FROM unnest($1::{id_type}[]) AS reembed_i(key)
JOIN {target} reembed_t ON reembed_t.doc_id = reembed_i.key
CROSS JOIN LATERAL (SELECT {content} AS body FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_i.key AND {filter} OFFSET 0) reembed_d
WHERE md5(coalesce(reembed_d.body, ''))::uuid = reembed_t.content_hash
