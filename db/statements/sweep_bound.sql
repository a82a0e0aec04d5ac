-- The end of the next window of $2 documents after $1 (NULL: from the start). hi NULL: the last window.
SELECT (SELECT {id} FROM {docs} AS {alias} WHERE $1::{id_type} IS NULL OR {id} > $1::{id_type} ORDER BY {id} OFFSET $2 - 1 LIMIT 1) AS hi
