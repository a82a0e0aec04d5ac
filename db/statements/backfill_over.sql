-- over: every chunk is cut and finished; a finished chunk is never opened again. cut_done: all are cut.
-- $1 migration number
SELECT m.counted AND m.cut_done AS cut_done,
       m.counted AND m.cut_done AND NOT EXISTS (SELECT 1 FROM reembed.chunk k WHERE k.migration = m.number AND k.state < 2) AS over
FROM reembed.migration m WHERE m.number = $1
