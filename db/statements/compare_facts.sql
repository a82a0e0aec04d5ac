-- What a comparison needs to know beside the migration itself.  $1 migration number
SELECT m.state, p.total,
       c.docs_alias, c.id_column, c.id_type, c.content, c.filter,
       t.metric AS target_metric, reembed.metric_operator(t.metric) AS target_operator, x.table_name AS target_searched, x.id_column AS target_id, x.vector_column AS target_column,
       s.metric AS source_metric, reembed.metric_operator(s.metric) AS source_operator, s.table_name AS source_searched, s.id_column AS source_id, s.vector_column AS source_column,
       coalesce(ti.indexed, false) AS target_indexed, ti.name AS target_index, ti.method AS target_method, coalesce(si.indexed, false) AS source_indexed,
       (m.config#>>'{gates,min_overlap_at_10}')::float8 AS min_overlap_at_10,
       (m.config#>>'{gates,min_recall_change}')::float8 AS min_recall_change,
       (m.config#>>'{gates,min_index_recall}')::float8 AS min_index_recall
FROM reembed.migration m
JOIN reembed.progress p USING (migration_id)
JOIN reembed.collection c ON c.collection = m.collection
LEFT JOIN reembed.space t ON t.space_id = m.target_space
LEFT JOIN reembed.space x ON x.space_id = reembed.searched_target(m)
LEFT JOIN reembed.space s ON s.space_id = m.source_space
LEFT JOIN LATERAL (SELECT true AS indexed, k.relname AS name, a.amname AS method
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid JOIN pg_catalog.pg_am a ON a.oid = k.relam
  JOIN pg_catalog.pg_attribute v ON v.attrelid = i.indrelid AND v.attnum = i.indkey[0]
  WHERE i.indrelid = pg_catalog.to_regclass(x.table_name) AND i.indisvalid AND a.amname IN ('hnsw', 'ivfflat')
    AND pg_catalog.quote_ident(v.attname) = x.vector_column LIMIT 1) ti ON true
LEFT JOIN LATERAL (SELECT true AS indexed
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid JOIN pg_catalog.pg_am a ON a.oid = k.relam
  JOIN pg_catalog.pg_attribute v ON v.attrelid = i.indrelid AND v.attnum = i.indkey[0]
  WHERE i.indrelid = pg_catalog.to_regclass(s.table_name) AND i.indisvalid AND a.amname IN ('hnsw', 'ivfflat')
    AND pg_catalog.quote_ident(v.attname) = s.vector_column LIMIT 1) si ON true
WHERE m.number = $1
