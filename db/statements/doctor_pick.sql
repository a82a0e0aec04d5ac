-- Random documents that have a vector, to be embedded again.  $1 how many  $2 rows to choose from  $3 characters of a text
SELECT v AS embedding, body, cut
FROM (SELECT {vector} AS v, left({content}, $3) AS body, char_length({content}) > $3 AS cut FROM {from} WHERE {filter} AND {vector} IS NOT NULL LIMIT $2) s
WHERE btrim(body, E' \t\r\n') <> '' ORDER BY random() LIMIT $1
