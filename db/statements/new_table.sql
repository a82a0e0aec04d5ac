-- A documents table that has no vectors yet: its key and its text, as far as they can be guessed.  $1 table
SELECT format('%I.%I', n.nspname, c.relname) AS table_name, c.relname::text AS name,
       (SELECT quote_ident(k.attname) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL AND k.attnotnull
        ORDER BY i.indisprimary DESC LIMIT 1) AS key,
       (SELECT quote_ident(x.attname) FROM pg_catalog.pg_attribute x
        LEFT JOIN pg_catalog.pg_stats w ON w.schemaname = n.nspname AND w.tablename = c.relname AND w.attname = x.attname
        WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped AND x.atttypid IN ('text'::regtype, 'varchar'::regtype)
        ORDER BY x.attname ~* '^(content|body|text|document|chunk|description|message)' DESC, coalesce(w.avg_width, 0) DESC, x.attnum LIMIT 1) AS content
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)
