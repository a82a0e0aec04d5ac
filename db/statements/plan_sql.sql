-- What `run` will execute for a migration, in order, with the names it has. Tables are shown as the catalog has them after
-- create_migration, in the transaction that is rolled back; triggers and the flip, which need locks, as they will be.
-- object: of the statement; whoever has it already needs no statement for it. `last`: executed after the index.
-- $1 migration id
WITH m AS (
  SELECT c.*, reembed.capture_functions(c.collection) AS functions, g.target_space, t.table_name AS target,
         k.relkind = 'p' OR EXISTS (SELECT 1 FROM pg_catalog.pg_inherits WHERE inhrelid = c.docs) AS by_row,
         pg_has_role((SELECT f.proowner FROM pg_catalog.pg_proc f WHERE f.pronamespace = 'reembed'::regnamespace AND f.proname = 'install_capture'),
                     k.relowner, 'USAGE') AS owned
  FROM reembed.migration g JOIN reembed.collection c USING (collection)
  JOIN reembed.space t ON t.space_id = g.target_space JOIN pg_catalog.pg_class k ON k.oid = c.docs
  WHERE g.migration_id = $1),
tables AS (
  SELECT r.place, r.name, to_regclass(r.name) AS oid
  FROM m, LATERAL (VALUES (1, m.changes_table), (2, m.target)) AS r(place, name)),
placed AS (    -- target.placement: column
  SELECT m.docs_table, m.id_column, p.name, p.source_name, p.target_name, s.model, s.vector_type, s.dimensions, m.target,
         format('reembed_data.%I', reembed.object_name(m.collection, '_current')) AS view_name
  FROM m JOIN reembed.migration g ON g.migration_id = $1 JOIN reembed.placement p ON p.migration = g.number JOIN reembed.space s ON s.space_id = p.column_space
  WHERE s.vector_column = p.target_name),
views AS (
  SELECT s.space_id, n.name, format('CREATE OR REPLACE VIEW %s AS SELECT %s AS doc_id, %s::%s.%s AS embedding, %L::text AS model FROM %s WHERE %s IS NOT NULL',
           n.name, s.id_column, s.vector_column, reembed.vector_schema(), s.vector_type, s.model, s.table_name, s.vector_column) AS sql
  FROM m JOIN reembed.space s USING (collection), LATERAL (SELECT format('reembed_data.%I', reembed.object_name(m.collection, '_current')) AS name) n),
created AS (
  SELECT t.place, t.name AS object, format('CREATE TABLE %s (%s)%s', t.name, concat_ws(', ',
      (SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attcollation <> y.typcollation THEN 'COLLATE ' || a.attcollation::regcollation::text END,
                CASE WHEN a.attidentity <> '' THEN 'GENERATED ALWAYS AS IDENTITY' END,
                CASE WHEN a.attnotnull AND a.attidentity = '' THEN 'NOT NULL' END,
                'DEFAULT ' || (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum)),
              ', ' ORDER BY a.attnum)
       FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped),
      (SELECT string_agg(pg_get_constraintdef(x.oid), ', ' ORDER BY x.contype DESC) FROM pg_catalog.pg_constraint x WHERE x.conrelid = t.oid AND x.contype IN ('p', 'c'))),
      (SELECT ' WITH (' || array_to_string(k.reloptions, ', ') || ')' FROM pg_catalog.pg_class k WHERE k.oid = t.oid)) AS sql
  FROM tables t
  UNION ALL
  SELECT t.place + 2, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
  FROM tables t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid WHERE i.indpred IS NOT NULL
  UNION ALL
  SELECT 5, v.name, v.sql FROM views v WHERE v.space_id = (SELECT query_space FROM m)),
triggers AS (
  SELECT v.place, reembed.object_name('reembed_' || v.kind || '_' || m.collection, '') AS name, v.event, v.manner, v.function, v.relation
  FROM m, LATERAL (
    SELECT 7 AS place, 'insert' AS kind, m.docs_table AS relation, 'INSERT' AS event, 'REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT' AS manner, m.functions[2] AS function WHERE NOT m.by_row
    UNION ALL SELECT 8, 'update', m.docs_table, 'UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT', m.functions[3] WHERE NOT m.by_row
    UNION ALL SELECT 9, 'delete', m.docs_table, 'DELETE', 'REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT', m.functions[4] WHERE NOT m.by_row
    UNION ALL SELECT 7, 'capture', m.docs_table, 'INSERT OR UPDATE OR DELETE', 'FOR EACH ROW', m.functions[1] WHERE m.by_row
    UNION ALL SELECT 10, 'truncate', format('%I.%I', n.nspname, k.relname), 'TRUNCATE', 'FOR EACH STATEMENT', m.functions[5]
              FROM pg_catalog.pg_class k JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
              WHERE k.oid = m.docs OR k.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(m.docs))) v),
missing AS (
  SELECT t.* FROM triggers t
  WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgrelid = to_regclass(t.relation) AND g.tgname = t.name AND NOT g.tgisinternal))
SELECT object, sql, false AS last, place FROM created
UNION ALL
SELECT NULL, format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', m.docs_table), false, 6 FROM m WHERE EXISTS (SELECT 1 FROM missing)
UNION ALL
SELECT NULL, format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s %s EXECUTE FUNCTION reembed_data.%I()', t.name, t.event, t.relation, t.manner, t.function), false, t.place
FROM missing t
UNION ALL
SELECT NULL, format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.relation, t.name), false, 15 FROM missing t, m WHERE m.owned
UNION ALL
SELECT NULL, v.sql, true, 20 FROM views v, m WHERE v.space_id = m.target_space AND m.target_space IS DISTINCT FROM m.query_space AND NOT EXISTS (SELECT 1 FROM placed)
UNION ALL
SELECT NULL, x.sql, x.last, x.place FROM placed p, LATERAL (VALUES
  (format('ALTER TABLE %s ADD COLUMN %s %s.%s(%s)', p.docs_table, p.target_name, reembed.vector_schema(), p.vector_type, p.dimensions), false, 16),
  (format('-- UPDATE %s SET %s from %s, some rows at a time in the order of %s', p.docs_table, p.target_name, p.target, p.id_column), false, 17),
  (format('LOCK TABLE %s, %s IN ACCESS EXCLUSIVE MODE', p.view_name, p.docs_table), true, 20),
  (format('ALTER TABLE %s RENAME COLUMN %s TO %s', p.docs_table, p.name, p.source_name), true, 21),
  (format('ALTER TABLE %s RENAME COLUMN %s TO %s', p.docs_table, p.target_name, p.name), true, 22),
  (format('CREATE OR REPLACE VIEW %s AS SELECT %s AS doc_id, %s::%s.%s AS embedding, %L::text AS model FROM %s WHERE %3$s IS NOT NULL',
     p.view_name, p.id_column, p.name, reembed.vector_schema(), p.vector_type, p.model, p.docs_table), true, 23)) AS x(sql, last, place)
ORDER BY place, sql
