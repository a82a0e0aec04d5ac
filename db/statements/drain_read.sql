-- The next statement, hence a new snapshot, after the token. work: 0 already current, 1 to be embedded, 2 known to have no
-- vector, 3 gone (deleted, or no longer meant by the filter).
-- $1 ids  $2 characters of the content at most  $3 migration number  $4 space
SELECT reembed_i.id, w.h AS content_hash,
       CASE WHEN w.h IS NULL THEN 3 WHEN w.h = t.content_hash THEN 0 WHEN f.known THEN 2 ELSE 1 END AS work,
       CASE WHEN w.h = t.content_hash OR f.known THEN NULL WHEN octet_length(w.body) > $2 THEN left(w.body, $2) ELSE w.body END AS body,
       coalesce(octet_length(w.body) > $2 AND char_length(w.body) > $2, false) AS cut
FROM (SELECT DISTINCT unnest($1::{id_type}[]) AS id) reembed_i
LEFT JOIN LATERAL (SELECT {content} AS body, md5(coalesce({content}, ''))::uuid AS h FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_i.id AND {filter} OFFSET 0) w ON true
LEFT JOIN LATERAL (SELECT content_hash FROM {target} WHERE doc_id = reembed_i.id OFFSET 0) t ON true
LEFT JOIN LATERAL (SELECT true AS known FROM reembed.failure x WHERE x.migration = $3 AND x.space_id = $4 AND x.doc_id = reembed_i.id::text
                     AND NOT x.retrying AND (x.content_hash IS NULL OR x.content_hash = w.h) OFFSET 0) f ON true
ORDER BY reembed_i.id
