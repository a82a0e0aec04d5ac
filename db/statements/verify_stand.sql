-- repairs: what verify finds may be noted in the change log. Not before the backfill is over: until then a document
-- without a vector is not yet done, not forgotten, and a change log of all of them would hold the flip back.
-- $1 migration number
SELECT m.state, EXISTS (SELECT 1 FROM reembed.space s WHERE s.space_id = m.target_space AND s.side) AS target,
       EXISTS (SELECT 1 FROM reembed.placement p WHERE p.migration = m.number AND p.checked) AS placed,   -- compared once: only changes differ
       m.state IN ('in_progress', 'paused', 'failed', 'completed', 'rolled_back') AND m.target_space = ANY (c.captured)
         AND m.counted AND m.cut_done AND NOT EXISTS (SELECT 1 FROM reembed.chunk k WHERE k.migration = m.number AND k.state < 2) AS repairs
FROM reembed.migration m JOIN reembed.collection c USING (collection) WHERE m.number = $1
