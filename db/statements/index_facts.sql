-- The target's vector index, as the server sees it. building: some session is at it now.
-- $1 target space
SELECT n.nspname AS schema, format('%I', left(t.relname, 50) || '_' || s.index_method) AS name,
       format('%I.%I', n.nspname, left(t.relname, 50) || '_' || s.index_method) AS qualified,
       format('%I.%I', n.nspname, t.relname) AS target,
       i.indexrelid IS NOT NULL AS there, coalesce(i.indisvalid, false) AS valid,
       EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p
               WHERE p.relid = t.oid AND p.datname = pg_catalog.current_database()) AS building,
       t.reltuples::float8 AS rows
FROM reembed.space s
JOIN pg_catalog.pg_class t ON t.oid = pg_catalog.to_regclass(s.table_name)
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_class x ON x.relnamespace = t.relnamespace AND x.relname = left(t.relname, 50) || '_' || s.index_method
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid AND i.indrelid = t.oid
WHERE s.space_id = $1
