-- Random documents.  $1 at most
SELECT {alias}.{id} AS id FROM {docs} AS {alias} WHERE {filter} ORDER BY random() LIMIT $1
