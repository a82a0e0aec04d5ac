-- Gates that hold the flip back now, in words. passing: nothing but changes that wait to be embedded; the coverage gate
-- would hold if only the failed documents had no vector. others: beside coverage, which is only known after an exact walk,
-- and beside a comparison that is still to be made.
-- $1 migration id
SELECT string_agg(format('%s: %s', g.gate, g.text), '; ') AS text,
       coalesce(bool_and(g.gate = 'change_lag' OR (g.gate = 'coverage' AND m.eligible > m.excused
         AND 1 - f.failed / (m.eligible - m.excused)::float8 >= g.required)), false) AS passing,
       coalesce(bool_or(g.gate <> 'coverage' AND (g.gate <> 'overlap' OR x.fresh)), false) AS others
FROM reembed.gates g
JOIN reembed.migration m USING (migration_id)
JOIN reembed.comparison_stand x USING (migration_id)
CROSS JOIN LATERAL (SELECT count(*) AS failed FROM reembed.failure y WHERE y.migration = m.number
                      AND y.space_id = m.target_space AND y.kind = 'failed' AND NOT y.retrying OFFSET 0) f
WHERE g.migration_id = $1 AND NOT g.holds
