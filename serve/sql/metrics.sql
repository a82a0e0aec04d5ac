-- What the database knows, as samples: family (serve/families.c), labels as a JSON object, value. The unfinished and the
-- newest migrations; a reader's rights are enough. Rates and ETA are null while unknown and give no sample.
WITH m AS MATERIALIZED (
  SELECT migration_id, config FROM reembed.migration
  ORDER BY state IN ('in_progress', 'paused', 'failed', 'planned') DESC, number DESC LIMIT 20),
p AS MATERIALIZED (
  SELECT p.*, m.config, jsonb_build_object('migration', p.migration_id, 'collection', p.collection) AS who
  FROM m CROSS JOIN LATERAL (SELECT * FROM reembed.progress x WHERE x.migration_id = m.migration_id OFFSET 0) p),
g AS MATERIALIZED (SELECT g.* FROM reembed.gates g WHERE g.migration_id IN (SELECT migration_id FROM m)),
samples AS (
  SELECT x.family, p.who || x.labels AS labels, x.value FROM p CROSS JOIN LATERAL (VALUES
    ('migration_info', jsonb_build_object('source_model', coalesce(p.source_model, ''), 'target_model', p.target_model), 1::float8),
    ('documents', '{"status":"processed"}', p.processed), ('documents', '{"status":"skipped"}', p.skipped),
    ('documents', '{"status":"failed"}', p.failed), ('documents', '{"status":"pending"}', p.pending),
    ('documents_in_flight', '{}', p.in_flight),
    ('progress_ratio', '{}', p.progress), ('coverage_ratio', '{}', p.effective_coverage),
    ('throughput', '{}', p.throughput), ('eta_seconds', '{}', p.eta_secs),
    ('changes_pending', '{}', p.changes_pending), ('changes_applied_total', '{}', p.changes_applied),
    ('change_lag_seconds', '{}', p.change_lag_secs),
    ('errors_total', '{}', p.error_count), ('tokens_total', '{}', p.tokens), ('requests_total', '{}', p.requests),
    ('cost_total', '{}', p.cost), ('truncated_total', '{}', p.truncated),
    ('workers', '{}', p.workers), ('stalled', '{}', p.stalled::int),
    ('created', '{}', extract(epoch FROM p.created_at)), ('started', '{}', extract(epoch FROM p.started_at)),
    ('flipped', '{}', extract(epoch FROM p.flipped_at)), ('completed', '{}', extract(epoch FROM p.completed_at)),
    ('updated', '{}', extract(epoch FROM p.updated_at)),
    ('budget_used_ratio', '{"budget":"tokens"}', p.tokens / nullif((p.config#>>'{limits,max_tokens}')::float8, 0)),
    ('budget_used_ratio', '{"budget":"cost"}', p.cost / nullif((p.config#>>'{limits,max_cost}')::float8, 0))
  ) AS x(family, labels, value)
  UNION ALL
  SELECT 'state', p.who || jsonb_build_object('state', s.state), (p.state = s.state)::int
  FROM p CROSS JOIN unnest(ARRAY['planned', 'in_progress', 'paused', 'failed', 'completed', 'cancelled', 'rolled_back']) AS s(state)
  UNION ALL
  SELECT 'stage', p.who || jsonb_build_object('stage', s.stage), coalesce((p.state = 'in_progress' AND p.stage = s.stage)::int, 0)
  FROM p CROSS JOIN unnest(ARRAY['capture', 'backfill', 'index', 'verify']) AS s(stage)
  UNION ALL
  SELECT x.family, p.who || jsonb_build_object('gate', g.gate), x.value
  FROM p JOIN g USING (migration_id) CROSS JOIN LATERAL (VALUES
    ('gate_holds', g.holds::int::float8), ('gate_actual', g.actual), ('gate_required', g.required)) AS x(family, value)
  UNION ALL
  SELECT 'failures', p.who || jsonb_build_object('kind', f.kind, 'reason', f.reason), count(*)
  FROM p JOIN reembed.failures f USING (migration_id) GROUP BY p.who, f.kind, f.reason
  UNION ALL
  SELECT 'routing_phase', jsonb_build_object('collection', r.collection, 'phase', s.phase), (r.phase = s.phase)::int
  FROM reembed.routing r CROSS JOIN unnest(ARRAY['stable', 'migrating', 'rollback_window']) AS s(phase)
  UNION ALL
  SELECT 'routing_info', jsonb_build_object('collection', r.collection, 'query_model', coalesce(r.query_model, '')), 1
  FROM reembed.routing r
  UNION ALL
  SELECT 'routing_version', jsonb_build_object('collection', r.collection), r.version FROM reembed.routing r
  UNION ALL
  SELECT 'window_remaining_seconds', jsonb_build_object('collection', r.collection, 'migration', r.migration_id),
         greatest(extract(epoch FROM r.window_ends_at - clock_timestamp()), 0)
  FROM reembed.routing r WHERE r.phase = 'rollback_window')
SELECT family, labels::text AS labels, value::float8 AS value FROM samples WHERE value IS NOT NULL
