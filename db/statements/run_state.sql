-- What `run` does next is decided by this.  $1 migration id
-- raised: it paused for its budget, and the limits were changed since to ones that allow more than was spent
SELECT m.state, coalesce(m.reason, '') AS reason, m.flipped_at IS NOT NULL AS flipped,
       m.state = 'paused' AND m.reason = 'budget'
       AND coalesce(p.tokens < (m.config#>>'{limits,max_tokens}')::float8, true)
       AND coalesce(p.cost < (m.config#>>'{limits,max_cost}')::float8, true)
       AND EXISTS (SELECT 1 FROM reembed.event e WHERE e.migration_id = $1 AND e.event = 'configured'
             AND e.detail#>'{before,limits}' IS DISTINCT FROM e.detail#>'{after,limits}'
             AND e.number > (SELECT coalesce(max(number), 0) FROM reembed.event WHERE migration_id = $1 AND event = 'pause')) AS raised
FROM reembed.migration m JOIN (SELECT migration_id, tokens, cost FROM reembed.progress) p USING (migration_id)
WHERE migration_id = $1
