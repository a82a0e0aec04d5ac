-- For a space that is not ours (a column of the documents or of the application's table): present content of changed
-- documents. work: 1 to be embedded, 3 gone.  $1 ids  $2 characters of the content at most
SELECT reembed_i.id, w.h AS content_hash, CASE WHEN w.h IS NULL THEN 3 ELSE 1 END AS work,
       CASE WHEN octet_length(w.body) > $2 THEN left(w.body, $2) ELSE w.body END AS body,
       coalesce(octet_length(w.body) > $2 AND char_length(w.body) > $2, false) AS cut
FROM (SELECT DISTINCT unnest($1::{id_type}[]) AS id) reembed_i
LEFT JOIN LATERAL (SELECT {content} AS body, md5(coalesce({content}, ''))::uuid AS h FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_i.id AND {filter} OFFSET 0) w ON true
ORDER BY reembed_i.id
