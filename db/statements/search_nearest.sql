-- The nearest documents of one space, by its own metric.  $1 the query's vector  $2 at most  $3 characters of content
SELECT h.id::text AS doc_id, h.distance, d.content
FROM (SELECT {space_id} AS id, ({space_column} OPERATOR({vector_schema}.{operator}) $1::{vector})::float8 AS distance
      FROM {space} WHERE {space_column} IS NOT NULL
      ORDER BY {space_column} OPERATOR({vector_schema}.{operator}) $1::{vector} LIMIT $2) h
LEFT JOIN LATERAL (SELECT left({content}, $3) AS content FROM {docs} AS {alias} WHERE {id} = h.id AND {filter} OFFSET 0) d ON true
ORDER BY h.distance, h.id
