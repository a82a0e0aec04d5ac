-- The documents of a migration file.  $1 table  $2 id column
SELECT c.oid::bigint AS oid, format('%I.%I', n.nspname, c.relname) AS table_name, quote_ident(c.relname) AS alias, c.relkind::text AS kind,
       has_table_privilege(c.oid, 'SELECT') AS may_read, has_table_privilege(c.oid, 'TRIGGER') AS may_trigger,
       pg_has_role(c.relowner, 'USAGE') AS owns, c.relowner::regrole::text AS owner, row_security_active(c.oid) AS hidden_rows,
       c.reltuples::float8 AS rows, pg_table_size(c.oid)::float8 AS bytes, k.name AS key, k.type AS key_type, k.unique_alone, k.composite, k.not_null,
       (SELECT quote_ident(x.attname) FROM pg_catalog.pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped
           AND x.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
           AND x.attname ~* '^(updated|modified|changed|edited|last_(updated|modified|changed|edit))' ORDER BY x.attnum LIMIT 1) AS updated
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
  SELECT quote_ident(a.attname) AS name, format_type(a.atttypid, NULL) AS type, a.attnotnull AS not_null,
         EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                 AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum AND i.indpred IS NULL) AS unique_alone,
         EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts > 1
                 AND a.attnum = ANY (i.indkey::int2[])) AS composite
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND $2 IN (a.attname, quote_ident(a.attname), '"' || replace(a.attname, '"', '""') || '"', lower(a.attname))) k ON true
WHERE c.oid = to_regclass($1)
