-- What the text of status says beyond the fixed columns.
SELECT row_to_json(s) AS json
FROM (
  SELECT extract(epoch FROM clock_timestamp() - p.started_at) AS started_ago,
         extract(epoch FROM clock_timestamp() - p.flipped_at) AS flipped_ago,
         extract(epoch FROM clock_timestamp() - p.completed_at) AS completed_ago,
         extract(epoch FROM p.completed_at - p.started_at) AS took,
         extract(epoch FROM p.window_ends_at - clock_timestamp()) AS window_left,
         extract(epoch FROM clock_timestamp() - p.updated_at) AS updated_ago,
         CASE WHEN p.flipped_at IS NOT NULL AND NOT p.source_kept THEN reembed.source_lost(p.migration_id) END AS source_lost,
         (SELECT row_to_json(c) FROM (SELECT l.copied, l.copy_done, l.checked, l.target_name AS name, l.source_name AS old_name FROM reembed.placement l
            JOIN reembed.migration m ON m.number = l.migration WHERE m.migration_id = p.migration_id) c) AS placed,
         EXISTS (SELECT 1 FROM reembed.events e WHERE e.migration_id = p.migration_id AND e.event = 'finalize') AS finalized,
         (SELECT e.detail FROM reembed.events e WHERE e.migration_id = p.migration_id AND e.event = 'forecast' LIMIT 1) AS forecast,
         (SELECT e.detail FROM reembed.events e WHERE e.migration_id = p.migration_id AND e.event = 'outcome' LIMIT 1) AS outcome,
         (SELECT count(*) FROM reembed.progress o WHERE o.migration_id <> p.migration_id) AS others,
         (SELECT coalesce(json_agg(row_to_json(f)), '[]')
            FROM (SELECT kind, reason, count(*) AS documents, min(doc_id) AS example, max(detail) AS detail FROM reembed.failures
                  WHERE migration_id = p.migration_id GROUP BY kind, reason ORDER BY kind, count(*) DESC LIMIT 8) f) AS failures
  FROM reembed.progress p WHERE p.migration_id = $1) s
