-- What the statements need to know of a migration.  $1 migration id
SELECT m.number, m.migration_id, m.collection, m.state, m.stage, m.source_space, m.target_space, m.bound IS NOT NULL AS has_documents,
       c.docs_table, c.docs_alias, c.id_column, c.id_type, c.content, c.filter, c.changes_table, c.query_space,
       coalesce(m.target_space = ANY (c.captured), false) AS target_captured, coalesce(m.source_space = ANY (c.captured), false) AS source_captured,
       t.table_name AS target_table, t.vector_type AS target_type, t.dimensions AS target_dimensions, t.metric AS target_metric,
       t.index_name, t.index_method, t.model AS target_model, t.side AS target_side, t.id_column AS target_id, t.vector_column AS target_column,
       t.table_name = c.docs_table AS target_in_documents,
       s.table_name AS source_table, s.id_column AS source_id, s.vector_column AS source_column, s.vector_type AS source_type,
       s.dimensions AS source_dimensions, s.side AS source_side, s.kept AS source_kept, s.model AS source_model,
       s.table_name = c.docs_table AS source_in_documents,
       EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass(s.table_name)
               AND pg_catalog.quote_ident(a.attname) = s.vector_column AND a.attnotnull) AS source_not_null,
       k.space_id AS column_space, k.vector_column AS placed_column, p.log_table AS column_log,
       (SELECT t.oid::bigint FROM pg_catalog.pg_type t WHERE t.oid = c.id_type::regtype) AS id_oid
FROM reembed.migration m
JOIN reembed.collection c ON c.collection = m.collection
LEFT JOIN reembed.space t ON t.space_id = m.target_space
LEFT JOIN reembed.space s ON s.space_id = m.source_space
LEFT JOIN reembed.placement p ON p.migration = m.number
LEFT JOIN reembed.space k ON k.space_id = p.column_space
WHERE m.migration_id = $1
