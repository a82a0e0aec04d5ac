-- Whether nothing but a comparison, and perhaps a person's word, is missing for the flip.  $1 migration id
SELECT x.wanted AND NOT x.fresh AND NOT EXISTS (SELECT 1 FROM reembed.gates g WHERE g.migration_id = $1 AND NOT g.holds AND g.gate NOT IN ('overlap', 'approval')) AS wanted
FROM reembed.comparison_stand x WHERE x.migration_id = $1
