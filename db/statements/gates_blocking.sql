-- Gates that hold the flip back now, in words.  $1 migration id
SELECT string_agg(format('%s: %s', gate, text), '; ') AS text,
       coalesce(bool_or(gate = 'change_lag'), false) AND count(*) = 1 AS passing
FROM reembed.gates WHERE migration_id = $1 AND NOT holds
