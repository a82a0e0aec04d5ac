-- What both spaces hold of documents, in the order of the ids.  $1 ids
SELECT reembed_i.n, reembed_t.embedding AS target, reembed_s.{source_column} AS source
FROM unnest($1::{id_type}[]) WITH ORDINALITY AS reembed_i(key, n)
JOIN {target} reembed_t ON reembed_t.doc_id = reembed_i.key
JOIN {source} reembed_s ON reembed_s.{source_id} = reembed_i.key
WHERE reembed_t.embedding IS NOT NULL AND reembed_s.{source_column} IS NOT NULL
ORDER BY reembed_i.n
