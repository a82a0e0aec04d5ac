-- For the progress bar, and for what the main thread must know.  $1 migration id
-- backfilled: as in backfill_over.sql
SELECT p.state, p.stage, p.total, p.processed, p.skipped, p.failed, p.pending, p.changes_pending, p.throughput, p.eta_secs,
       p.effective_coverage, p.workers, m.remaining, m.index_done, m.stage = 'index' OR m.index_done IS NOT NULL AS indexing,
       reembed.route_query(p.collection) AS route, m.counted,
       m.counted AND m.cut_done AND NOT EXISTS (SELECT 1 FROM reembed.chunk k WHERE k.migration = m.number AND k.state < 2) AS backfilled
FROM reembed.progress p JOIN reembed.migration m USING (migration_id) WHERE p.migration_id = $1
