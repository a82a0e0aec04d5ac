-- What applications and people read. Cheap enough to poll each second; column names and meanings are fixed.

CREATE VIEW reembed.routing AS
SELECT c.collection, p.phase, q.model AS query_model,
       array_remove(CASE
         WHEN p.phase = 'stable' THEN ARRAY[q.model]
         WHEN p.phase = 'rollback_window' OR m.flipped_at IS NOT NULL
              OR coalesce((m.config#>>'{backfill,dual_write}')::boolean, true) THEN ARRAY[m.source_model, m.target_model]
         ELSE ARRAY[m.source_model] END, NULL) AS write_models,
       CASE WHEN p.phase <> 'stable' THEN m.migration_id END AS migration_id,
       q.space_id AS query_space, q.table_name AS query_table, q.id_column AS query_id_column, q.vector_column AS query_column,
       c.version, c.flipped_at, CASE WHEN p.phase = 'rollback_window' THEN m.window_ends_at END AS window_ends_at
FROM reembed.collection c
LEFT JOIN reembed.space q ON q.space_id = c.query_space
LEFT JOIN reembed.migration m ON m.collection = c.collection AND m.finalized_at IS NULL
     AND m.state IN ('in_progress', 'paused', 'failed', 'completed')
CROSS JOIN LATERAL (SELECT CASE WHEN m.state IN ('in_progress', 'paused', 'failed') THEN 'migrating'
     WHEN m.state = 'completed' AND clock_timestamp() < m.window_ends_at THEN 'rollback_window' ELSE 'stable' END AS phase) p;

CREATE VIEW reembed.workers AS
SELECT worker_id, migration_id, host, pid, started_at, heartbeat_at,
       stopped_at IS NULL AND heartbeat_at > clock_timestamp() - interval '10 seconds' AS alive,
       CASE WHEN stopped_at IS NULL AND heartbeat_at > clock_timestamp() - interval '10 seconds' THEN in_flight ELSE 0 END AS in_flight,
       processed, tokens, requests, note
FROM reembed.worker;

CREATE VIEW reembed.failures AS
SELECT m.migration_id, f.doc_id, f.kind, f.reason, f.detail, f.attempts, f.http_status, f.first_at, f.last_at, s.model
FROM reembed.failure f
JOIN reembed.migration m ON m.number = f.migration
LEFT JOIN reembed.space s ON s.space_id = f.space_id
WHERE NOT f.retrying;

CREATE VIEW reembed.events AS SELECT at, migration_id, event, actor, detail FROM reembed.event ORDER BY number;

-- The identity, at every moment and in every snapshot, because each figure is derived from the same rows:
--   total = processed + skipped + failed + pending      and      in_flight <= pending
CREATE VIEW reembed.progress AS
SELECT m.migration_id, m.collection, m.source_model, m.target_model, m.state, m.stage,
       coalesce(m.error, m.reason) AS reason,
       n.total, n.processed, n.skipped, n.failed, n.pending,
       least(w.in_flight, n.pending) AS in_flight,
       ch.pending AS changes_pending,
       coalesce(d.drained, m.changes_before) - m.changes_before AS changes_applied,
       ch.lag_secs AS change_lag_secs,
       n.total - n.skipped AS effective_total,
       CASE WHEN n.total > 0 THEN n.processed::float8 / n.total WHEN m.counted THEN 1 ELSE 0 END AS progress,
       CASE WHEN n.total > n.skipped THEN n.processed::float8 / (n.total - n.skipped) WHEN m.counted THEN 1 ELSE 0 END AS effective_coverage,
       CASE WHEN m.state = 'in_progress' AND n.processed > 0 AND a.active_secs > 0 THEN n.processed / a.active_secs END AS throughput,
       CASE WHEN n.pending = 0 AND m.counted THEN 0
            WHEN m.state = 'in_progress' AND n.processed > 0 AND a.active_secs > 0 THEN n.pending * a.active_secs / n.processed END AS eta_secs,
       m.error_count, w.tokens, w.requests,
       CASE WHEN (m.config#>>'{limits,price_per_million_tokens}') IS NOT NULL
            THEN w.tokens * (m.config#>>'{limits,price_per_million_tokens}')::float8 / 1e6 END AS cost,
       m.truncated + k.truncated + coalesce(d.truncated, 0) AS truncated,
       w.alive AS workers,
       m.state = 'in_progress' AND w.alive = 0 AS stalled,
       m.created_at, m.started_at, m.flipped_at, m.completed_at, m.window_ends_at,
       greatest(m.updated_at, m.beat_at) AS updated_at,
       (SELECT o.kept FROM reembed.space o WHERE o.space_id = m.source_space) AS source_kept
FROM reembed.migration m
CROSS JOIN LATERAL (
  SELECT coalesce(sum(docs), 0)::bigint AS docs, coalesce(sum(done), 0)::bigint AS done, coalesce(sum(c.truncated), 0)::bigint AS truncated
  -- no other state has any; without this a list of all migrations would walk the chunks once for each of them
  FROM reembed.chunk c WHERE c.migration = m.number AND m.state IN ('in_progress', 'paused', 'failed') OFFSET 0) k
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE seen) AS seen,
         count(*) FILTER (WHERE kind = 'skipped' AND NOT retrying AND (seen OR ahead)) AS skipped,
         count(*) FILTER (WHERE kind = 'failed' AND NOT retrying AND (seen OR ahead)) AS failed,
         count(*) FILTER (WHERE ahead AND NOT seen AND NOT retrying) AS ahead
  FROM reembed.failure f WHERE f.migration = m.number AND f.space_id = m.target_space OFFSET 0) f
CROSS JOIN LATERAL (
  SELECT t.total, m.finished + k.done - m.gone - f.seen AS processed, f.skipped, f.failed,
         t.total - (m.finished + k.done - m.gone - f.seen) - f.skipped - f.failed AS pending
  -- skipped ahead and deleted before anybody came by: counted until the change log says so
  FROM (SELECT m.finished + k.done - m.gone + greatest(m.remaining + k.docs - k.done, f.ahead) AS total) t) n
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE alive) AS alive, coalesce(sum(in_flight), 0)::bigint AS in_flight,
         coalesce(sum(x.tokens), 0)::bigint AS tokens, coalesce(sum(x.requests), 0)::bigint AS requests
  FROM reembed.workers x WHERE x.migration_id = m.migration_id OFFSET 0) w
CROSS JOIN LATERAL (SELECT m.active_ms / 1000.0::float8 AS active_secs) a
LEFT JOIN reembed.drain d ON d.space_id = m.target_space
CROSS JOIN LATERAL reembed.pending_changes(m.collection, CASE WHEN m.finalized_at IS NULL AND m.state NOT IN ('planned', 'cancelled') THEN m.target_space END) ch;

-- Each gate with its figure. `actual` of coverage is the cheap one; the exact walk decides a flip and is shown for a
-- minute after it was made.
CREATE VIEW reembed.gates AS
SELECT m.migration_id, g.gate, g.holds, g.actual, g.required, g.text
FROM reembed.migration m
JOIN reembed.progress p USING (migration_id)
LEFT JOIN reembed.space s ON s.space_id = m.target_space
LEFT JOIN reembed.collection c ON c.collection = m.collection
CROSS JOIN LATERAL (SELECT
   coalesce((m.config#>>'{backfill,target_query_threshold}')::float8, 0.8) AS threshold,
   coalesce((m.config#>>'{gates,max_failed}')::bigint, 0) AS max_failed,
   coalesce((m.config#>>'{gates,max_change_lag_secs}')::float8, 30) AS max_lag,
   coalesce((m.config#>>'{gates,auto_cutover}')::boolean, true) AS auto,
   CASE WHEN m.measured_at > clock_timestamp() - interval '1 minute' THEN
     CASE WHEN m.eligible > m.excused THEN m.current::float8 / (m.eligible - m.excused) ELSE 1 END
     ELSE p.effective_coverage END AS coverage,
   (SELECT count(*) FROM reembed.failure f WHERE f.migration = m.number AND f.space_id = m.target_space AND f.kind = 'failed' AND NOT f.retrying) AS failed,
   s.index_method = 'none' OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indexrelid = to_regclass(s.index_name) AND i.indisvalid) AS indexed
  ) v
CROSS JOIN LATERAL (VALUES
   ('coverage', v.coverage >= v.threshold, v.coverage, v.threshold,
     format('%s of the documents have a current vector, %s are required', round((v.coverage * 100)::numeric, 2) || ' %', round((v.threshold * 100)::numeric, 2) || ' %')),
   ('index', coalesce(v.indexed, false), CASE WHEN v.indexed THEN 1 ELSE coalesce(m.index_done, 0) END, 1,
     CASE WHEN s.index_method = 'none' THEN 'no index is wanted' WHEN v.indexed THEN format('%s is valid', s.index_name)
          WHEN m.index_done IS NOT NULL THEN format('the index is being built: %s %%', round((m.index_done * 100)::numeric)) ELSE 'the index is not built yet' END),
   ('change_lag', p.change_lag_secs <= v.max_lag, p.change_lag_secs, v.max_lag,
     format('%s changes wait, the oldest for %s s; at most %s s are allowed', p.changes_pending, round(p.change_lag_secs::numeric, 1), v.max_lag)),
   ('failed', v.failed <= v.max_failed, v.failed::float8, v.max_failed::float8,
     format('%s documents failed, at most %s may; see reembed failures %s', v.failed, v.max_failed, m.migration_id)),
   ('overlap', coalesce(m.config#>>'{gates,min_overlap_at_10}', m.config#>>'{gates,min_recall_change}', m.config#>>'{gates,min_index_recall}') IS NULL,
     NULL::float8, (m.config#>>'{gates,min_overlap_at_10}')::float8,
     CASE WHEN coalesce(m.config#>>'{gates,min_overlap_at_10}', m.config#>>'{gates,min_recall_change}', m.config#>>'{gates,min_index_recall}') IS NULL
          THEN 'not asked for' ELSE 'asked for, but the models have not been compared' END),
   ('approval', m.flipped_at IS NOT NULL OR (v.auto AND NOT m.hold_flip), (m.flipped_at IS NOT NULL OR (v.auto AND NOT m.hold_flip))::int::float8, 1,
     CASE WHEN m.flipped_at IS NOT NULL THEN 'queries go to the target' WHEN m.hold_flip THEN format('it was rolled back: reembed cutover %s', m.migration_id)
          WHEN v.auto THEN 'given by auto_cutover' ELSE format('auto_cutover is off: reembed cutover %s', m.migration_id) END)
  ) AS g(gate, holds, actual, required, text);

CREATE FUNCTION reembed.state_json(id text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p record;
  m reembed.migration;
  counts jsonb;
BEGIN
  SELECT * INTO m FROM reembed.migration WHERE migration_id = state_json.id;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown migration %', quote_literal(state_json.id) USING ERRCODE = 'RE002'; END IF;
  IF m.state = 'planned' THEN RETURN '"planned"'; END IF;
  SELECT processed, total, skipped INTO p FROM reembed.progress WHERE migration_id = state_json.id;
  counts := jsonb_build_object('processed', p.processed, 'total', p.total, 'skipped', p.skipped);
  RETURN jsonb_build_object(m.state, CASE m.state
    WHEN 'paused' THEN counts || jsonb_build_object('reason', m.reason)
    WHEN 'failed' THEN counts || jsonb_build_object('error', m.error)
    WHEN 'completed' THEN counts - 'total' || jsonb_build_object('duration_secs', extract(epoch FROM m.completed_at - m.started_at)::float8)
    ELSE counts END);
END $$;

CREATE FUNCTION reembed.routing_json(collection text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE r record;
BEGIN
  SELECT * INTO r FROM reembed.routing x WHERE x.collection = routing_json.collection;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown collection %', quote_literal(routing_json.collection) USING ERRCODE = 'RE002'; END IF;
  RETURN jsonb_build_object('query_model', r.query_model, 'write_models', to_jsonb(r.write_models), 'phase', r.phase, 'migration_id', r.migration_id);
END $$;

-- legacy or target: the side of the newest migration that queries go to.
CREATE FUNCTION reembed.route_query(collection text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE c reembed.collection;
BEGIN
  SELECT * INTO c FROM reembed.collection x WHERE x.collection = route_query.collection;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown collection %', quote_literal(route_query.collection) USING ERRCODE = 'RE002'; END IF;
  RETURN CASE WHEN c.query_space = (SELECT m.target_space FROM reembed.migration m WHERE m.collection = c.collection ORDER BY m.number DESC LIMIT 1)
              THEN 'target' ELSE 'legacy' END;
END $$;

-- Advice to applications that embed on their own; change capture does not depend on it.
CREATE FUNCTION reembed.route_request(collection text, is_new boolean) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE r record;
BEGIN
  SELECT * INTO r FROM reembed.routing x WHERE x.collection = route_request.collection;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown collection %', quote_literal(route_request.collection) USING ERRCODE = 'RE002'; END IF;
  RETURN CASE r.phase
    WHEN 'rollback_window' THEN 'dual_write'
    WHEN 'migrating' THEN CASE WHEN is_new AND cardinality(r.write_models) > 1 THEN 'dual_write'
         WHEN cardinality(r.write_models) > 1 OR NOT is_new OR r.query_model IS NOT NULL THEN 'legacy' ELSE 'target' END
    ELSE reembed.route_query(route_request.collection) END;
END $$;
