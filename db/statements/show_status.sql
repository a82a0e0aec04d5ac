-- $1: the id, or NULL for the unfinished migration, else the newest one. The columns of progress in their order; its
-- `workers`, a number, makes room for the list of them. source_missing: documents without a vector in a source that the
-- application keeps, while there is a way back to it.
SELECT (SELECT json_object_agg(e.key, e.value ORDER BY e.n)
        FROM (SELECT key, value, n FROM json_each(row_to_json(p)) WITH ORDINALITY AS j(key, value, n) WHERE key <> 'workers'
              UNION ALL VALUES
                ('source_missing', CASE WHEN p.flipped_at IS NOT NULL AND NOT p.source_kept AND r.phase <> 'stable'
                   THEN to_json(reembed.source_missing(p.migration_id)) END, 1000),
                ('routing', to_json(r), 1001),
                ('gates', (SELECT coalesce(json_agg(row_to_json(g)), '[]')
                   FROM (SELECT gate, holds, actual, required, text FROM reembed.gates WHERE migration_id = p.migration_id) g), 1002),
                ('workers', (SELECT coalesce(json_agg(row_to_json(w)), '[]')
                   FROM (SELECT * FROM reembed.workers WHERE migration_id = p.migration_id
                         ORDER BY alive DESC, heartbeat_at DESC LIMIT 100) w), 1003)) e) AS json
FROM reembed.progress p
LEFT JOIN reembed.routing r ON r.collection = p.collection
WHERE p.migration_id = coalesce($1::text, (
  SELECT x.migration_id FROM reembed.progress x
  ORDER BY x.state IN ('in_progress', 'paused', 'failed', 'planned') DESC, x.created_at DESC LIMIT 1))
