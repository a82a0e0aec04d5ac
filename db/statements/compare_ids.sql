-- Ids as a person writes them, as the documents have them.  $1 ids
SELECT reembed_i.key::{id_type} AS id FROM unnest($1::text[]) WITH ORDINALITY AS reembed_i(key, n) ORDER BY reembed_i.n
