-- Gates that hold the flip back now, in words. passing: nothing but changes that wait to be embedded; the coverage gate
-- would hold if only the failed documents had no vector. others: beside coverage, which is only known after an exact walk.
-- $1 migration id
SELECT string_agg(format('%s: %s', g.gate, g.text), '; ') AS text,
       coalesce(bool_and(g.gate = 'change_lag' OR (g.gate = 'coverage' AND m.eligible > m.excused
         AND 1 - f.failed / (m.eligible - m.excused)::float8 >= g.required)), false) AS passing,
       coalesce(bool_or(g.gate <> 'coverage'), false) AS others
FROM reembed.gates g
JOIN reembed.migration m USING (migration_id)
CROSS JOIN LATERAL (SELECT count(*) AS failed FROM reembed.failure x WHERE x.migration = m.number
                      AND x.space_id = m.target_space AND x.kind = 'failed' AND NOT x.retrying OFFSET 0) f
WHERE g.migration_id = $1 AND NOT g.holds
