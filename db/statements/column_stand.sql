-- How far the placed column of a migration is.  $1 migration number
SELECT p.copy_done, p.checked, p.copied, c.vector_column, p.target_name, to_regclass(p.log_table) IS NOT NULL AND EXISTS (
         SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass(c.table_name)
         AND pg_catalog.quote_ident(a.attname) = c.vector_column AND NOT a.attisdropped) AS there,
       t.index_name, c.index_method = 'none' OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass(t.index_name) AND i.indisvalid) AS indexed,
       m.state = 'in_progress' AS in_progress
FROM reembed.placement p JOIN reembed.space c ON c.space_id = p.column_space JOIN reembed.migration m ON m.number = p.migration
JOIN reembed.space t ON t.space_id = m.target_space
WHERE p.migration = $1
