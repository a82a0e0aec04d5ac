-- $1 migration id  $2 the report
SELECT reembed.record_comparison($1, $2::jsonb)
