-- Change capture is installed by a function that acts as the schema's owner: that role's rights count.  $1 documents table
SELECT f.proowner::regrole::text AS role, k.relowner::regrole::text AS owner, k.relkind = 'p' AS partitioned,
       has_table_privilege(f.proowner, k.oid, 'TRIGGER') AS may_trigger, pg_has_role(f.proowner, k.relowner, 'USAGE') AS owns,
       k.relrowsecurity AS row_security
FROM pg_catalog.pg_class k, pg_catalog.pg_proc f
WHERE k.oid = to_regclass($1) AND f.pronamespace = 'reembed'::regnamespace AND f.proname = 'install_capture'
