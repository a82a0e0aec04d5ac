-- Vectors in a table of their own whose document is gone.  $1 rows at most
SELECT count(*) AS rows, count(*) FILTER (WHERE NOT found) AS orphaned
FROM (SELECT EXISTS (SELECT 1 FROM {docs} AS {alias} WHERE {alias}.{id} = reembed_v.{vector_id} AND {filter} OFFSET 0) AS found
      FROM {table} AS reembed_v {sampling} WHERE reembed_v.{column} IS NOT NULL LIMIT $1) s
