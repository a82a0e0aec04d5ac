-- A migration that exists already, with the facts of its documents.  $1 migration id
SELECT m.state, coalesce(m.error, m.reason, '') AS reason, m.finalized_at IS NOT NULL AS finalized,
       p.total, p.pending, p.processed, m.counted,
       c.docs_table, c.docs_alias, c.id_column, c.id_type, c.content, c.filter
FROM reembed.migration m
JOIN reembed.collection c USING (collection)
JOIN reembed.progress p USING (migration_id)
WHERE m.migration_id = $1
