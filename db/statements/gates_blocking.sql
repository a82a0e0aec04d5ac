-- Gates that hold the flip back now, in words. passing: only such as hold by themselves in time. others: beside coverage,
-- which is only known after an exact walk.  $1 migration id
SELECT string_agg(format('%s: %s', gate, text), '; ') AS text,
       coalesce(bool_and(gate = 'change_lag'), false) AS passing,
       coalesce(bool_or(gate <> 'coverage'), false) AS others
FROM reembed.gates WHERE migration_id = $1 AND NOT holds
