-- What the page shows beside the status of migration $1: failures by reason with the first documents of each, the newest
-- events, the other migrations, how long the window is still open.
SELECT row_to_json(s) AS json
FROM (
  SELECT clock_timestamp() AS at,
         (SELECT r.phase FROM reembed.routing r WHERE r.collection = p.collection) AS phase,
         extract(epoch FROM p.window_ends_at - clock_timestamp())::float8 AS window_left_secs,
         extract(epoch FROM clock_timestamp() - p.started_at)::float8 AS running_secs,
         EXISTS (SELECT 1 FROM reembed.events e WHERE e.migration_id = p.migration_id AND e.event = 'finalize') AS finalized,
         (SELECT coalesce(json_agg(row_to_json(f)), '[]')
            FROM (SELECT kind, reason, count(*) AS documents, max(last_at) AS last_at, max(left(detail, 300)) AS detail,
                         (array_agg(left(doc_id, 100) ORDER BY last_at DESC, doc_id))[1:20] AS doc_ids
                  FROM reembed.failures WHERE migration_id = p.migration_id
                  GROUP BY kind, reason ORDER BY kind, count(*) DESC, reason LIMIT 20) f) AS failures,
         (SELECT coalesce(json_agg(row_to_json(e)), '[]')
            FROM (SELECT at, event, actor, left(coalesce(detail->>'error', detail->>'reason', ''), 300) AS text,
                         detail->>'from' AS from_state, detail->>'to' AS to_state
                  FROM reembed.events WHERE migration_id = p.migration_id ORDER BY at DESC LIMIT 25) e) AS events,
         (SELECT coalesce(json_agg(row_to_json(o)), '[]')
            FROM (SELECT m.migration_id, m.collection, m.state FROM reembed.migration m
                  ORDER BY m.state IN ('in_progress', 'paused', 'failed', 'planned') DESC, m.number DESC LIMIT 20) o) AS migrations
  FROM reembed.progress p WHERE p.migration_id = $1) s
