-- What the tests know about the data without asking the product: which vector belongs to a text, what is wrong in a
-- target, and everything that is stored.
CREATE SCHEMA oracle;
GRANT USAGE ON SCHEMA oracle TO PUBLIC;

-- The tests' model: four numbers that tell texts apart. tests/db/steps.c makes the same of what a statement hands it.
CREATE FUNCTION oracle.vector_of(body text) RETURNS public.vector
LANGUAGE sql IMMUTABLE AS $$
  SELECT format('[%s,%s,%s,1]',
    1 + (SELECT coalesce(sum((i + 1) * get_byte(b, i)), 0) % 1009 FROM generate_series(0, octet_length(b) - 1) i),
    1 + octet_length(b) % 251,
    1 + CASE WHEN octet_length(b) > 0 THEN get_byte(b, 0) ELSE 0 END)::public.vector
  FROM (SELECT convert_to(body, 'UTF8') AS b) x
$$;

-- wrong: not the vector of the present content; missing: neither vector nor entry in failures; orphaned: a vector
-- without a document. With `pending`, what stands in the change log is not held against anybody.
CREATE FUNCTION oracle.verdict(migration text, content text, filter text, pending boolean,
    OUT wrong bigint, OUT missing bigint, OUT orphaned bigint)
LANGUAGE plpgsql AS $$
DECLARE c record;
BEGIN
  SELECT k.docs::regclass AS docs, k.docs_alias, k.id_column, k.changes_table, s.table_name, s.space_id, m.number
    INTO STRICT c FROM reembed.migration m JOIN reembed.collection k ON k.collection = m.collection
    JOIN reembed.space s ON s.space_id = m.target_space WHERE m.migration_id = verdict.migration;
  EXECUTE format($q$
    SELECT count(*) FILTER (WHERE d.id IS NOT NULL AND t.id IS NOT NULL AND t.embedding <> oracle.vector_of(d.content)),
           count(*) FILTER (WHERE t.id IS NULL AND NOT EXISTS (
             SELECT 1 FROM reembed.failure f WHERE f.migration = %7$s AND f.space_id = %8$s AND f.doc_id = d.id AND NOT f.retrying)),
           count(*) FILTER (WHERE d.id IS NULL)
    FROM (SELECT %2$s::text AS id, (%4$s)::text AS content FROM %1$s AS %3$s WHERE %5$s) d
    FULL JOIN (SELECT doc_id::text AS id, embedding FROM %6$s WHERE embedding IS NOT NULL) t ON t.id = d.id
    WHERE NOT $1 OR NOT EXISTS (SELECT 1 FROM %9$s x WHERE x.space_id = %8$s AND x.doc_id::text = coalesce(d.id, t.id))$q$,
    c.docs, c.id_column, c.docs_alias, verdict.content, verdict.filter, c.table_name, c.number, c.space_id, c.changes_table)
  INTO wrong, missing, orphaned USING verdict.pending;
END $$;

-- Every row of every table in the schemas of reembed, and the triggers on the documents.
CREATE FUNCTION oracle.dump() RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  r record;
  rows text;
  everything text := '';
BEGIN
  FOR r IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname IN ('reembed', 'reembed_data') AND c.relkind = 'r' ORDER BY c.oid::regclass::text LOOP
    EXECUTE format('SELECT string_agg(t::text, E''\n'' ORDER BY t::text) FROM %s t', r.name) INTO rows;
    everything := everything || format(E'%s\n%s\n', r.name, coalesce(rows, ''));
  END LOOP;
  SELECT string_agg(format('%s on %s', tgname, tgrelid::regclass), E'\n' ORDER BY tgrelid::regclass::text, tgname) INTO rows
    FROM pg_trigger WHERE NOT tgisinternal;
  RETURN everything || coalesce(rows, '');
END $$;
