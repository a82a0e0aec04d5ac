-- What the finisher decides by.  $1 migration id
SELECT p.state, p.stage, p.total, p.pending, p.effective_coverage, p.throughput, p.eta_secs, p.changes_pending,
       m.flipped_at IS NOT NULL AS flipped, m.sweep_clean, m.counted,
       m.counted AND m.cut_done AND NOT EXISTS (SELECT 1 FROM reembed.chunk k WHERE k.migration = m.number AND k.state < 2) AS backfilled,
       s.index_method, s.index_name,
       s.index_method = 'none' OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass(s.index_name) AND i.indisvalid) AS indexed,
       (SELECT count(*) FROM reembed.failure f WHERE f.migration = m.number AND f.space_id = m.target_space AND f.kind = 'failed' AND NOT f.retrying) AS failed
FROM reembed.progress p JOIN reembed.migration m USING (migration_id) JOIN reembed.space s ON s.space_id = m.target_space
WHERE p.migration_id = $1
