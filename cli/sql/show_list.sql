SELECT coalesce(json_agg(row_to_json(s)), '[]') AS json
FROM (SELECT p.*, to_jsonb(r) AS routing
      FROM reembed.progress p LEFT JOIN reembed.routing r ON r.collection = p.collection
      ORDER BY p.state IN ('in_progress', 'paused', 'failed', 'planned') DESC, p.created_at DESC) s
