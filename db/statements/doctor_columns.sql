-- pgvector columns, with what else their tables have. Partitions are looked at through their parent.
-- key: the unique column a document is named by; content: a guess, the text column with the widest values.
-- $1 a table (NULL: every one that the role may read)  $2 its column (NULL: all)
SELECT c.oid::bigint AS oid, format('%I.%I', n.nspname, c.relname) AS table_name, quote_ident(c.relname) AS alias,
       quote_ident(a.attname) AS column_name, a.attname::text AS name, t.typname::text AS type,
       CASE WHEN a.atttypmod > 0 THEN a.atttypmod ELSE 0 END AS dimensions, a.attnotnull AS not_null,
       (SELECT greatest(sum(p.reltuples), -1)::float8 FROM pg_catalog.pg_class p WHERE p.oid = c.oid AND c.relkind <> 'p'
           OR c.relkind = 'p' AND p.relkind <> 'p' AND p.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid))) AS rows,
       (SELECT coalesce(sum(pg_table_size(p.oid)), 0)::float8 FROM pg_catalog.pg_class p WHERE p.oid = c.oid AND c.relkind <> 'p'
           OR c.relkind = 'p' AND p.relkind <> 'p' AND p.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid))) AS bytes,
       c.relkind::text AS kind, c.relpersistence = 'u' AS unlogged, n.nspname = 'reembed_data' AS ours,
       has_table_privilege(c.oid, 'SELECT') AS may_read, has_table_privilege(c.oid, 'TRIGGER') AS may_trigger,
       pg_has_role(c.relowner, 'USAGE') AS owns, c.relowner::regrole::text AS owner,
       row_security_active(c.oid) AS hidden_rows, c.relrowsecurity AS row_security, key.name AS key, key.type AS key_type,
       key.usable AS key_usable, (SELECT quote_ident(x.attname) FROM pg_catalog.pg_attribute x
         LEFT JOIN pg_catalog.pg_stats w ON w.schemaname = n.nspname AND w.tablename = c.relname AND w.attname = x.attname
         WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped AND x.atttypid IN ('text'::regtype, 'varchar'::regtype)
           AND quote_ident(x.attname) IS DISTINCT FROM key.name
         ORDER BY x.attname ~* '^(content|body|text|document|chunk|description|message)' DESC, coalesce(w.avg_width, 0) DESC, x.attnum LIMIT 1) AS content,
       (SELECT quote_ident(x.attname) FROM pg_catalog.pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped
           AND x.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
           AND x.attname ~* '^(updated|modified|changed|edited|last_(updated|modified|changed|edit))' ORDER BY x.attnum LIMIT 1) AS updated,
       (SELECT quote_ident(x.attname) FROM pg_catalog.pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped
           AND x.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
           AND x.attname ~* '(embed|vector).*(_at|_on|time|date|updated)' ORDER BY x.attnum LIMIT 1) AS embedded
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_type t ON t.typnamespace = e.extnamespace AND t.typname IN ('vector', 'halfvec')
JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
  SELECT quote_ident(k.attname) AS name, format_type(k.atttypid, NULL) AS type,
         k.attnotnull AND k.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype, 'varchar'::regtype) AS usable
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
  WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indnkeyatts = 1 AND i.indpred IS NULL
  ORDER BY 3 DESC, i.indisprimary DESC LIMIT 1) key ON true
WHERE e.extname = 'vector' AND NOT c.relispartition AND has_schema_privilege(n.oid, 'USAGE')
  AND CASE WHEN $1::text IS NULL THEN has_table_privilege(c.oid, 'SELECT') ELSE c.oid = to_regclass($1) END
  AND ($2::text IS NULL OR $2 IN (a.attname, quote_ident(a.attname), '"' || replace(a.attname, '"', '""') || '"'))
ORDER BY n.nspname = 'reembed_data', n.nspname, c.relname, a.attnum
