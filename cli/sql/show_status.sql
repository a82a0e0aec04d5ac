-- $1: the id, or NULL for the unfinished migration, else the newest one.
SELECT row_to_json(s) AS json
FROM (
  SELECT p.*, to_jsonb(r) AS routing,
         (SELECT coalesce(json_agg(row_to_json(g)), '[]')
            FROM (SELECT gate, holds, actual, required, text FROM reembed.gates WHERE migration_id = p.migration_id) g) AS gates,
         (SELECT coalesce(json_agg(row_to_json(w)), '[]')
            FROM (SELECT * FROM reembed.workers WHERE migration_id = p.migration_id
                  ORDER BY alive DESC, heartbeat_at DESC LIMIT 100) w) AS workers
  FROM reembed.progress p
  LEFT JOIN reembed.routing r ON r.collection = p.collection
  WHERE p.migration_id = coalesce($1::text, (
    SELECT x.migration_id FROM reembed.progress x
    ORDER BY x.state IN ('in_progress', 'paused', 'failed', 'planned') DESC, x.created_at DESC LIMIT 1))) s
