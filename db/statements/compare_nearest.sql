-- The nearest documents of one space, as an application searches.  $1 the query's vector  $2 at most
SELECT {space_id} AS id FROM {space} WHERE {space_column} IS NOT NULL
ORDER BY {space_column} OPERATOR({vector_schema}.{operator}) $1::{vector} LIMIT $2
