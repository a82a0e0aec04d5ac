-- Random documents that have a vector in both spaces; the same ones for the same salt.  $1 at most  $2 salt
SELECT reembed_t.doc_id AS id
FROM {target} reembed_t JOIN {source} reembed_s ON reembed_s.{source_id} = reembed_t.doc_id
WHERE reembed_t.embedding IS NOT NULL AND reembed_s.{source_column} IS NOT NULL
ORDER BY md5(reembed_t.doc_id::text || $2), reembed_t.doc_id LIMIT $1
