-- The nearest documents of one space, by its own metric.  $1 the query's vector  $2 at most  $3 characters of content
SELECT reembed_h.id::text AS doc_id, reembed_h.distance, reembed_d.content
FROM (SELECT {space_id} AS id, ({space_column} OPERATOR({vector_schema}.{operator}) $1::{vector})::float8 AS distance
      FROM {space} WHERE {space_column} IS NOT NULL
      ORDER BY {space_column} OPERATOR({vector_schema}.{operator}) $1::{vector} LIMIT $2) reembed_h
LEFT JOIN LATERAL (SELECT left({content}, $3) AS content FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_h.id AND {filter} OFFSET 0) reembed_d ON true
ORDER BY reembed_h.distance, reembed_h.id
