-- The vector index of a space that reembed fills, as the server sees it: of a side table, or of a column that it placed in
-- the documents. building: some session is at it now.
-- $1 space
SELECT n.nspname AS schema, format('%I', v.name) AS name, format('%I.%I', n.nspname, v.name) AS qualified,
       format('%I.%I', n.nspname, t.relname) AS target, s.vector_column AS column,
       i.indexrelid IS NOT NULL AS there, coalesce(i.indisvalid, false) AS valid,
       EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p
               WHERE p.relid = t.oid AND p.datname = pg_catalog.current_database()) AS building,
       t.reltuples::float8 AS rows
FROM reembed.space s
JOIN pg_catalog.pg_class t ON t.oid = pg_catalog.to_regclass(s.table_name)
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
CROSS JOIN LATERAL (SELECT CASE WHEN s.side THEN left(t.relname, 50) || '_' || s.index_method
       ELSE reembed.object_name(t.relname || '_' || reembed.unquoted(s.vector_column), '_' || s.index_method) END AS name) v
LEFT JOIN pg_catalog.pg_class x ON x.relnamespace = t.relnamespace AND x.relname = v.name
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid AND i.indrelid = t.oid
WHERE s.space_id = $1
