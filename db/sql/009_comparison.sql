-- The newest comparison of a migration's models, as the gate of the automatic flip sees it. The report itself is in the
-- events.

CREATE TABLE reembed.comparison (
  migration bigint PRIMARY KEY,         -- migration.number
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  source_space bigint,
  target_space bigint NOT NULL,
  target_index oid,                     -- that the index recall is about
  target_vectors bigint NOT NULL,       -- that the target held then
  drained bigint NOT NULL,              -- drain.drained then
  verdict text NOT NULL CHECK (verdict IN ('go', 'no_go', 'inconclusive')),
  by_gate boolean NOT NULL,             -- no_go for nothing but what a gate asked for then
  reason text NOT NULL,
  overlap_at_10 double precision,       -- NULL: not known
  recall_change double precision,
  index_recall double precision
) WITH (fillfactor = 50);
REVOKE ALL ON reembed.comparison FROM PUBLIC;

CREATE FUNCTION reembed.record_comparison(p_id text, p_report jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(p_id);
BEGIN
  IF m.target_space IS NULL THEN
    PERFORM reembed.refuse(m.state, 'compared', 'its target was dropped meanwhile');
  END IF;
  INSERT INTO reembed.comparison AS k (migration, source_space, target_space, target_index, target_vectors, drained, verdict, by_gate,
      reason, overlap_at_10, recall_change, index_recall)
  SELECT m.number, m.source_space, m.target_space, to_regclass(s.index_name)::oid, (p_report->>'target_vectors')::bigint,
         coalesce((SELECT d.drained FROM reembed.drain d WHERE d.space_id = m.target_space), 0),
         p_report->>'verdict', (p_report->>'by_gate')::boolean, p_report->>'reason',
         (p_report#>>'{overlap_at_10,mean}')::float8, (p_report#>>'{change,recall_at_10,mean}')::float8, (p_report#>>'{index,recall,mean}')::float8
  FROM reembed.space s WHERE s.space_id = m.target_space
  ON CONFLICT (migration) DO UPDATE SET at = excluded.at, source_space = excluded.source_space, target_space = excluded.target_space,
     target_index = excluded.target_index, target_vectors = excluded.target_vectors, drained = excluded.drained, verdict = excluded.verdict,
     by_gate = excluded.by_gate, reason = excluded.reason, overlap_at_10 = excluded.overlap_at_10, recall_change = excluded.recall_change,
     index_recall = excluded.index_recall;
  PERFORM reembed.record_event(p_id, 'compare', p_report);
END $$;
REVOKE ALL ON FUNCTION reembed.record_comparison(text, jsonb) FROM PUBLIC;

-- Whether the gates ask for a comparison, and whether the newest one still speaks of what would be flipped to. It does
-- not when the spaces or the index are others now, when a tenth of the vectors has come since, or when a fifth of them
-- was made anew. How many there are is known from the exact walk that comes before every flip.
CREATE VIEW reembed.comparison_stand AS
SELECT m.migration_id, g.min_overlap, g.min_recall_change, g.min_index_recall,
       coalesce(g.min_overlap, g.min_recall_change, g.min_index_recall) IS NOT NULL AS wanted,
       k.migration IS NOT NULL AS there, k.verdict, k.by_gate, k.reason, k.overlap_at_10, k.recall_change, k.index_recall,
       coalesce(k.target_space = m.target_space AND k.source_space IS NOT DISTINCT FROM m.source_space
         AND (g.min_index_recall IS NULL OR k.target_index IS NOT DISTINCT FROM to_regclass(s.index_name)::oid)
         AND k.target_vectors >= 0.9 * coalesce(m.current, 0)
         AND coalesce(d.drained, 0) - k.drained <= 0.2 * k.target_vectors, false) AS fresh
FROM reembed.migration m
CROSS JOIN LATERAL (SELECT (m.config#>>'{gates,min_overlap_at_10}')::float8 AS min_overlap,
  (m.config#>>'{gates,min_recall_change}')::float8 AS min_recall_change, (m.config#>>'{gates,min_index_recall}')::float8 AS min_index_recall) g
LEFT JOIN reembed.space s ON s.space_id = m.target_space
LEFT JOIN reembed.drain d ON d.space_id = m.target_space
LEFT JOIN reembed.comparison k ON k.migration = m.number;
REVOKE ALL ON reembed.comparison_stand FROM PUBLIC;

-- Each gate with its figure. `actual` of coverage is the cheap one; the exact walk decides a flip and is shown for a
-- minute after it was made.
CREATE OR REPLACE VIEW reembed.gates AS
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
CROSS JOIN LATERAL (SELECT y.*,
     y.fresh AND (y.verdict <> 'no_go' OR y.by_gate) AND y.overlap_holds AND y.recall_holds AND y.index_holds AS holds,
     CASE WHEN NOT y.there THEN NULL WHEN NOT y.overlap_holds THEN y.overlap_at_10 WHEN NOT y.recall_holds THEN y.recall_change WHEN NOT y.index_holds THEN y.index_recall
          WHEN y.min_overlap IS NOT NULL THEN y.overlap_at_10 WHEN y.min_recall_change IS NOT NULL THEN y.recall_change WHEN y.wanted THEN y.index_recall END AS actual,
     CASE WHEN NOT y.overlap_holds THEN y.min_overlap WHEN NOT y.recall_holds THEN y.min_recall_change WHEN NOT y.index_holds THEN y.min_index_recall
          ELSE coalesce(y.min_overlap, y.min_recall_change, y.min_index_recall) END AS required
   FROM (SELECT z.*, z.min_overlap IS NULL OR coalesce(z.overlap_at_10 >= z.min_overlap, false) AS overlap_holds,
       z.min_recall_change IS NULL OR coalesce(z.recall_change >= z.min_recall_change, false) AS recall_holds,
       z.min_index_recall IS NULL OR coalesce(z.index_recall >= z.min_index_recall, false) AS index_holds
     FROM reembed.comparison_stand z WHERE z.migration_id = m.migration_id) y) x
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
   ('overlap', NOT x.wanted OR x.holds, x.actual, x.required, CASE
     WHEN NOT x.wanted THEN 'not asked for'
     WHEN NOT x.there THEN format('asked for, but the models have not been compared; run does it once the coverage is reached, or: reembed compare %s', m.migration_id)
     WHEN NOT x.fresh THEN format('the comparison is out of date; run compares again once the coverage is reached, or: reembed compare %s', m.migration_id)
     ELSE concat_ws(', ', CASE WHEN x.verdict = 'no_go' AND NOT x.by_gate THEN 'no_go: ' || x.reason END,
       'overlap@10 is ' || coalesce(round(x.overlap_at_10::numeric, 3)::text, 'not known') || ', required ' || x.min_overlap,
       'recall@10 changes by ' || coalesce(round(x.recall_change::numeric, 3)::text, 'an unknown amount (what queries should find is not known)') || ', required ' || x.min_recall_change,
       'the index finds ' || coalesce(round(x.index_recall::numeric, 3)::text, 'an unknown share') || ', required ' || x.min_index_recall) END),
   ('approval', m.flipped_at IS NOT NULL OR (v.auto AND NOT m.hold_flip), (m.flipped_at IS NOT NULL OR (v.auto AND NOT m.hold_flip))::int::float8, 1,
     CASE WHEN m.flipped_at IS NOT NULL THEN 'queries go to the target' WHEN m.hold_flip THEN format('it was rolled back: reembed cutover %s', m.migration_id)
          WHEN v.auto THEN 'given by auto_cutover' ELSE format('auto_cutover is off: reembed cutover %s', m.migration_id) END)
  ) AS g(gate, holds, actual, required, text);
