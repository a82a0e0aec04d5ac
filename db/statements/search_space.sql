-- The space that is to be searched: one read of the routing decides.  $1 collection  $2 routed, source or target
SELECT s.space_id, s.model, s.dimensions, s.vector_type, s.table_name, s.id_column, s.vector_column, s.side OR EXISTS (SELECT 1 FROM reembed.placement p WHERE p.column_space = s.space_id) AS side,
       s.canary IS NOT NULL AS has_canary,
       reembed.metric_operator(s.metric) AS operator,
       c.docs_table, c.docs_alias, c.id_column AS docs_id, c.id_type, c.content, c.filter
FROM reembed.collection c
-- a target that was placed in the documents is searched there: its side table has no index
LEFT JOIN LATERAL (SELECT m.source_space, coalesce((SELECT p.column_space FROM reembed.placement p WHERE p.migration = m.number AND p.checked),
                     m.target_space) AS target_space FROM reembed.migration m WHERE m.collection = c.collection
                   ORDER BY m.number DESC LIMIT 1) m ON true
LEFT JOIN reembed.space s
       ON s.space_id = CASE $2 WHEN 'source' THEN m.source_space WHEN 'target' THEN m.target_space ELSE c.query_space END
WHERE c.collection = $1
