-- Triggers that run when a row is written, but for reembed's own.  $1 table's oid
SELECT g.tgname::text AS name, g.tgenabled = 'D' AS disabled, CASE WHEN g.tgtype & 2 <> 0 THEN 'before' ELSE 'after' END AS timing,
       g.tgtype & 1 <> 0 AS by_row, p.oid::regprocedure::text AS function
FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE g.tgrelid = $1::oid AND NOT g.tgisinternal AND g.tgtype & 20 <> 0 AND n.nspname <> 'reembed_data'
ORDER BY 1
