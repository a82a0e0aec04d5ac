-- One window of the target with what the source holds of the same documents.  $1 after this id (NULL: from the start)  $2 rows
SELECT reembed_t.doc_id AS id, reembed_t.embedding AS target, reembed_s.{source_column} AS source
FROM (SELECT doc_id, embedding FROM {target} WHERE $1::{id_type} IS NULL OR doc_id > $1::{id_type} ORDER BY doc_id LIMIT $2) reembed_t
LEFT JOIN {source} reembed_s ON reembed_s.{source_id} = reembed_t.doc_id
ORDER BY reembed_t.doc_id
