-- Creating a migration, and the operations that change its state. The program and psql use these same functions.
-- Errors: RE001 refused in this state, RE002 unknown id, RE003 a gate, RE010 wrong configuration.

CREATE FUNCTION reembed.refuse(p_from text, p_to text, p_why text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'invalid migration transition from % to %: %', p_from, p_to, p_why USING ERRCODE = 'RE001';
END $$;

CREATE FUNCTION reembed.wrong_configuration(p_text text, p_hint text DEFAULT '') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '%', p_text USING ERRCODE = 'RE010', HINT = p_hint;
END $$;

-- The migration's row, locked. Every operation begins with it.
CREATE FUNCTION reembed.lock_migration(p_id text) RETURNS reembed.migration
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration;
BEGIN
  SELECT * INTO m FROM reembed.migration WHERE migration_id = p_id FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'unknown migration %', quote_literal(p_id) USING ERRCODE = 'RE002',
      HINT = coalesce('known: ' || (SELECT string_agg(migration_id, ', ' ORDER BY number DESC) FROM
        (SELECT migration_id, number FROM reembed.migration ORDER BY number DESC LIMIT 5) k), 'there is none yet: start one with reembed run FILE');
  END IF;
  RETURN m;
END $$;

-- The one reader of the transition table: the state an operation leads to, or a refusal that says what to do.
CREATE FUNCTION reembed.next_state(m reembed.migration, p_operation text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  target text;
  wanted constant text := CASE p_operation WHEN 'start' THEN 'in_progress' WHEN 'pause' THEN 'paused' WHEN 'fail' THEN 'failed'
    WHEN 'resume' THEN 'in_progress' WHEN 'cancel' THEN 'cancelled' WHEN 'complete' THEN 'completed'
    WHEN 'cutover' THEN 'flipped' WHEN 'rollback' THEN 'rolled_back' ELSE 'finalized' END;
BEGIN
  SELECT to_state INTO target FROM reembed.transition WHERE from_state = m.state AND operation = p_operation;
  IF target IS NULL THEN
    PERFORM reembed.refuse(m.state, wanted, CASE
      WHEN m.state = 'planned' THEN format('it has not started; start it with: reembed run FILE (%s)', m.migration_id)
      WHEN m.state = 'cancelled' THEN 'it was cancelled for good; begin a new migration under another id'
      WHEN m.state = wanted THEN format('it is already %s', replace(m.state, '_', ' '))
      WHEN m.state = 'completed' AND p_operation = 'cutover' THEN 'it is completed, queries already go to the target'
      WHEN m.state = 'completed' AND p_operation = 'cancel' THEN 'it is completed; to go back use rollback, to end it use finalize'
      WHEN m.state = 'completed' THEN 'it is completed; only rollback or finalize are left'
      WHEN m.state = 'rolled_back' THEN 'it was rolled back; go forward with cutover, or end it with finalize'
      WHEN m.state = 'failed' AND p_operation IN ('pause', 'cutover') THEN 'it failed; resume it first'
      WHEN p_operation = 'finalize' THEN 'only a completed or rolled back migration can be finalized; cancel ends this one'
      WHEN p_operation = 'resume' THEN 'it is running; nothing to resume'
      ELSE 'not possible in this state; see reembed.transition' END);
  END IF;
  RETURN target;
END $$;

-- Moves a migration to another state and writes the event. Keeps the active time right.
CREATE FUNCTION reembed.enter_state(m reembed.migration, p_operation text, p_state text, p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE reembed.migration SET state = p_state, updated_at = clock_timestamp() WHERE number = m.number;
  SELECT reembed.record_event(m.migration_id, p_operation,
    jsonb_build_object('from', m.state, 'to', p_state) || coalesce(p_detail, '{}'));
$$;

-- A failed attempt of any kind; rises in any state.
CREATE FUNCTION reembed.record_error(p_id text, p_error text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE reembed.migration SET error_count = error_count + 1, updated_at = clock_timestamp() WHERE migration_id = p_id;
  SELECT reembed.record_event(p_id, 'error', jsonb_build_object('error', p_error));
$$;

CREATE FUNCTION reembed.metric_operator(p_metric text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE p_metric WHEN 'cosine' THEN '<=>' WHEN 'inner_product' THEN '<#>' ELSE '<->' END
$$;

-- The schema that holds pgvector, quoted: it is not always public.
CREATE FUNCTION reembed.vector_schema() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'
$$;

-- Checks the documents table and returns the facts of the collection. Reads only.
CREATE FUNCTION reembed.inspect_documents(p_table text, p_id text, p_content text, p_where text,
    OUT docs oid, OUT docs_table text, OUT docs_alias text, OUT id_column text, OUT id_type text, OUT id_collation text,
    OUT content text, OUT filter text)
LANGUAGE plpgsql AS $$
DECLARE
  kind "char";
  att record;
BEGIN
  docs := to_regclass(p_table);
  IF docs IS NULL THEN
    PERFORM reembed.wrong_configuration(format('documents.table: there is no table %s', p_table),
      'write it as in SQL, schema-qualified and quoted where needed');
  END IF;
  SELECT k.relkind, format('%I.%I', n.nspname, k.relname), quote_ident(k.relname) INTO kind, docs_table, docs_alias
    FROM pg_catalog.pg_class k JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = docs;
  IF kind NOT IN ('r', 'p') THEN
    PERFORM reembed.wrong_configuration(format('documents.table: %s is not a table', docs_table),
      'changes can be captured from plain and partitioned tables only');
  END IF;
  IF kind = 'r' AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits WHERE inhparent = docs) THEN
    PERFORM reembed.wrong_configuration(format('documents.table: %s has child tables', docs_table),
      'changes of inheritance children can''t be captured; use declarative partitioning');
  END IF;
  IF pg_catalog.row_security_active(docs) THEN
    PERFORM reembed.wrong_configuration(format('documents.table: row security on %s hides rows from role %I', docs_table, current_user),
      format('run as the table''s owner or: ALTER ROLE %I BYPASSRLS', current_user));
  END IF;
  IF NOT pg_catalog.has_table_privilege(docs, 'SELECT') OR NOT pg_catalog.has_table_privilege(docs, 'TRIGGER') THEN
    PERFORM reembed.wrong_configuration(format('documents.table: role %I may not read %s and create triggers on it', current_user, docs_table),
      format('GRANT SELECT, TRIGGER ON %s TO %I', docs_table, current_user));
  END IF;

  SELECT a.attname, a.attnum, a.attnotnull, t.typname, CASE WHEN t.typname IN ('text', 'varchar') AND co.oid IS NOT NULL AND co.collname <> 'default'
           THEN format(' COLLATE %I.%I', cn.nspname, co.collname) ELSE '' END AS collation
    INTO att
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
    WHERE a.attrelid = docs AND a.attnum > 0 AND NOT a.attisdropped
      AND (a.attname = p_id OR quote_ident(a.attname) = p_id OR '"' || replace(a.attname, '"', '""') || '"' = p_id OR a.attname = lower(p_id))
    ORDER BY a.attname = p_id DESC LIMIT 1;
  IF att.attname IS NULL THEN
    IF p_id ~ ',' THEN
      PERFORM reembed.wrong_configuration(format('documents.id: a composite key (%s) is not supported', p_id),
        'use a single unique column; add one if there is none: ALTER TABLE ... ADD COLUMN ... GENERATED ALWAYS AS IDENTITY, with a unique index');
    END IF;
    PERFORM reembed.wrong_configuration(format('documents.id: table %s has no column %s', docs_table, p_id),
      format('its columns: %s', (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_catalog.pg_attribute
        WHERE attrelid = docs AND attnum > 0 AND NOT attisdropped)));
  END IF;
  id_column := quote_ident(att.attname);
  id_collation := att.collation;
  id_type := CASE att.typname WHEN 'int2' THEN 'smallint' WHEN 'int4' THEN 'integer' WHEN 'int8' THEN 'bigint'
                              WHEN 'uuid' THEN 'uuid' WHEN 'text' THEN 'text' WHEN 'varchar' THEN 'character varying' END;
  IF id_type IS NULL THEN
    PERFORM reembed.wrong_configuration(format('documents.id: column %s of %s is of type %s', id_column, docs_table, att.typname),
      'ids may be smallint, integer, bigint, uuid or text');
  END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = docs AND i.indisunique AND i.indisvalid AND i.indimmediate
                 AND i.indnkeyatts = 1 AND i.indkey[0] = att.attnum AND i.indpred IS NULL) THEN
    IF EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = docs AND i.indisunique AND i.indnkeyatts > 1
               AND att.attnum = ANY (i.indkey::int2[])) THEN
      PERFORM reembed.wrong_configuration(format('documents.id: %s is only part of a composite key of %s', id_column, docs_table),
        'documents need one column that is unique by itself; add one with a unique index');
    END IF;
    PERFORM reembed.wrong_configuration(format('documents.id: %s of %s is no key', id_column, docs_table),
      format('CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)', docs_table, id_column));
  END IF;
  IF NOT att.attnotnull THEN
    PERFORM reembed.wrong_configuration(format('documents.id: %s of %s may be NULL', id_column, docs_table),
      format('ALTER TABLE %s ALTER COLUMN %s SET NOT NULL', docs_table, id_column));
  END IF;

  content := format('(%s)::text', p_content);
  filter := CASE WHEN p_where IS NULL THEN 'true' ELSE format('(%s)', p_where) END;
END $$;

-- Expressions run inside triggers whose search_path is pinned; what does not resolve there would fail the
-- application's own writes. So they are tried under the same path before anything is installed.
CREATE FUNCTION reembed.try_expressions(p_docs_table text, p_alias text, p_content text, p_filter text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  BEGIN
    -- in WHERE, where what is not of one row is not allowed: aggregates, window functions, sets
    EXECUTE format('SELECT 1 FROM (SELECT * FROM %s) AS %s WHERE (%s) IS NULL LIMIT 0', p_docs_table, p_alias, p_content);
  EXCEPTION WHEN syntax_error_or_access_rule_violation OR feature_not_supported OR undefined_column OR undefined_function OR datatype_mismatch THEN
    PERFORM reembed.wrong_configuration(format('documents.content: %s', SQLERRM),
      'it must be an SQL expression over the columns of one row; schema-qualify functions that are not built in');
  END;
  BEGIN
    EXECUTE format('SELECT 1 FROM (SELECT * FROM %s) AS %s WHERE %s LIMIT 0', p_docs_table, p_alias, p_filter);
  EXCEPTION WHEN syntax_error_or_access_rule_violation OR feature_not_supported OR undefined_column OR undefined_function OR datatype_mismatch THEN
    PERFORM reembed.wrong_configuration(format('documents.where: %s', SQLERRM),
      'it must be an SQL condition over the columns of one row; schema-qualify functions that are not built in');
  END;
END $$;

-- Checks the source's table and column and returns its facts. Reads only.
CREATE FUNCTION reembed.inspect_source(p_source jsonb, p_docs_id_type text,
    OUT table_name text, OUT id_column text, OUT vector_column text, OUT dimensions int, OUT vector_type text, OUT metric text)
LANGUAGE plpgsql AS $$
DECLARE
  rel oid := to_regclass(p_source->>'table');
  att record;
BEGIN
  IF rel IS NULL THEN
    PERFORM reembed.wrong_configuration(format('source.table: there is no table %s', p_source->>'table'));
  END IF;
  SELECT format('%I.%I', n.nspname, k.relname) INTO table_name
    FROM pg_catalog.pg_class k JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = rel;
  SELECT a.attname, t.typname, a.atttypmod INTO att
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped
      AND p_source->>'column' IN (a.attname, quote_ident(a.attname), '"' || replace(a.attname, '"', '""') || '"')
    LIMIT 1;
  IF att.attname IS NULL THEN
    PERFORM reembed.wrong_configuration(format('source.column: table %s has no column %s', table_name, p_source->>'column'),
      coalesce('its vector columns: ' || (SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = rel AND t.typname IN ('vector', 'halfvec')), 'it has no vector column'));
  END IF;
  IF att.typname NOT IN ('vector', 'halfvec') THEN
    PERFORM reembed.wrong_configuration(format('source.column: %s of %s is of type %s', p_source->>'column', table_name, att.typname),
      'it must be a pgvector column of type vector or halfvec');
  END IF;
  vector_column := quote_ident(att.attname);
  vector_type := att.typname;
  dimensions := CASE WHEN att.atttypmod > 0 THEN att.atttypmod END;
  SELECT quote_ident(a.attname) INTO id_column FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped
      AND p_source->>'id' IN (a.attname, quote_ident(a.attname), '"' || replace(a.attname, '"', '""') || '"') LIMIT 1;
  IF id_column IS NULL THEN
    PERFORM reembed.wrong_configuration(format('source.id: table %s has no column %s', table_name, p_source->>'id'));
  END IF;
  -- the metric the application's index speaks; cosine where there is none
  SELECT CASE WHEN o.opcname LIKE '%\_ip\_ops' THEN 'inner_product' WHEN o.opcname LIKE '%\_l2\_ops' THEN 'l2' ELSE 'cosine' END INTO metric
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid JOIN pg_catalog.pg_am am ON am.oid = ic.relam
    JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
    JOIN pg_catalog.pg_attribute a ON a.attrelid = rel AND a.attnum = i.indkey[0]
    WHERE i.indrelid = rel AND am.amname IN ('hnsw', 'ivfflat') AND quote_ident(a.attname) = vector_column LIMIT 1;
  metric := coalesce(p_source->>'metric', metric, 'cosine');
END $$;

-- Settings that may change under a running migration; everything else is what is migrated.
CREATE FUNCTION reembed.what_is_migrated(p_config jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_strip_nulls(jsonb_build_object(
    'collection', p_config->'collection',
    'documents.table', p_config#>'{documents,table}', 'documents.id', p_config#>'{documents,id}',
    'documents.content', p_config#>'{documents,content}', 'documents.where', p_config#>'{documents,where}',
    'source.model', p_config#>'{source,model}', 'source.table', p_config#>'{source,table}',
    'source.id', p_config#>'{source,id}', 'source.column', p_config#>'{source,column}',
    'target.model', p_config#>'{target,model}', 'target.dimensions', p_config#>'{target,dimensions}',
    'target.type', p_config#>'{target,type}', 'target.metric', p_config#>'{target,metric}',
    'target.placement', p_config#>'{target,placement}', 'target.table', p_config#>'{target,table}'))
$$;

CREATE FUNCTION reembed.grant_to_readers(p_relation text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE g record;
BEGIN
  FOR g IN SELECT role FROM reembed.grantee WHERE kind = 'reader' LOOP
    EXECUTE format('GRANT SELECT ON %s TO %I', p_relation, g.role);
  END LOOP;
END $$;

-- The stable view. Vectors are shown without their size, so that both models fit one definition and CREATE OR REPLACE
-- does: prepared searches survive the flip and the vector index is used through it.
CREATE FUNCTION reembed.point_view(p_collection text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s reembed.space;
  name text := format('reembed_data.%I', reembed.object_name(p_collection, '_current'));
  definition text;
  rights text[];
BEGIN
  SELECT sp.* INTO s FROM reembed.collection c JOIN reembed.space sp ON sp.space_id = c.query_space WHERE c.collection = p_collection;
  IF NOT FOUND THEN RETURN; END IF;
  definition := format('SELECT %s AS doc_id, %s::%s.%s AS embedding, %L::text AS model FROM %s WHERE %s IS NOT NULL',
    s.id_column, s.vector_column, reembed.vector_schema(), s.vector_type, s.model, s.table_name, s.vector_column);
  BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW %s AS %s', name, definition);
  EXCEPTION WHEN invalid_table_definition THEN      -- vector to halfvec or back: the column's type changes
    SELECT coalesce(array_agg(format('GRANT %s ON %s TO %s%s', a.privilege_type, name,
             CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
             CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)), '{}') INTO rights
      FROM pg_class k, aclexplode(k.relacl) a WHERE k.oid = to_regclass(name) AND a.grantee <> k.relowner;
    EXECUTE format('DROP VIEW %s', name);
    EXECUTE format('CREATE VIEW %s AS %s', name, definition);
    FOREACH definition IN ARRAY rights LOOP
      EXECUTE definition;
    END LOOP;
  END;
  PERFORM reembed.grant_to_readers(name);
END $$;

-- How long an operation may ask for a lock: as the session says, else as the migration does. Readers queue up behind a
-- lock that is waited for, so it is never asked for without an end.
CREATE FUNCTION reembed.lock_timeout(m reembed.migration) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN current_setting('lock_timeout') <> '0' THEN current_setting('lock_timeout')
              ELSE coalesce((m.config#>>'{database,lock_timeout_secs}')::numeric * 1000, 2000)::bigint || 'ms' END
$$;

-- Routes queries to a space: one row update and the stable view, in the caller's transaction.
CREATE FUNCTION reembed.route_to(m reembed.migration, p_space bigint, p_event text, p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  forward boolean := p_space = m.target_space;
  waits constant text := current_setting('lock_timeout');
BEGIN
  PERFORM set_config('lock_timeout', reembed.lock_timeout(m), true);
  UPDATE reembed.collection SET query_space = p_space, version = version + 1,
         flipped_at = CASE WHEN forward THEN clock_timestamp() END
   WHERE collection = m.collection;
  UPDATE reembed.migration SET flipped_at = CASE WHEN forward THEN clock_timestamp() END, updated_at = clock_timestamp()
   WHERE number = m.number;
  PERFORM reembed.point_view(m.collection);
  PERFORM set_config('lock_timeout', waits, true);       -- the rest of the transaction is the caller's
  PERFORM reembed.record_event(m.migration_id, p_event, jsonb_build_object(
    'query_model', (SELECT model FROM reembed.space WHERE space_id = p_space),
    'version', (SELECT version FROM reembed.collection WHERE collection = m.collection)) || coalesce(p_detail, '{}'));
END $$;

-- Takes a migration away that never started: nothing was captured or embedded for it, so its file may still be corrected
-- (a model that gives other dimensions is found out only after it was created).
CREATE FUNCTION reembed.discard_planned(m reembed.migration) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE s reembed.space;
BEGIN
  DELETE FROM reembed.migration WHERE number = m.number;
  UPDATE reembed.collection c SET query_space = NULL WHERE c.collection = m.collection AND c.flipped_at IS NULL
     AND NOT EXISTS (SELECT 1 FROM reembed.migration o WHERE o.collection = c.collection);
  IF FOUND THEN EXECUTE format('DROP VIEW IF EXISTS reembed_data.%I', reembed.object_name(m.collection, '_current')); END IF;
  -- a space that an earlier migration filled or left stays
  FOR s IN SELECT * FROM reembed.space x WHERE x.space_id IN (m.target_space, m.source_space)
     AND NOT EXISTS (SELECT 1 FROM reembed.migration o WHERE x.space_id IN (o.target_space, o.source_space))
     AND NOT EXISTS (SELECT 1 FROM reembed.collection c WHERE c.query_space = x.space_id) LOOP
    DELETE FROM reembed.space WHERE space_id = s.space_id;
    IF s.side THEN EXECUTE format('DROP TABLE IF EXISTS %s', s.table_name); END IF;
  END LOOP;
  PERFORM reembed.record_event(m.migration_id, 'discard', jsonb_build_object('from', m.state, 'config', m.config));
END $$;

-- Creates the migration `planned`, with its collection, spaces, change log and side table; on an existing id it takes
-- over the settings that may change and refuses the others by name. Returns the state as JSON.
-- Runs with the caller's rights and search_path: the names in the file are meant as the caller would write them.
CREATE FUNCTION reembed.create_migration(p_id text, p_config jsonb, p_source_kept boolean) RETURNS jsonb
LANGUAGE plpgsql AS $create$
DECLARE
  c reembed.collection;
  known reembed.migration;
  name text := p_config->>'collection';
  d record;
  src record;
  source_id bigint;
  target_id bigint;
  target_table text;
  slug text;
  log_type text;
  t jsonb := p_config->'target';
  differing text;
BEGIN
  -- one creator at a time for a collection
  PERFORM pg_advisory_xact_lock(hashtextextended('reembed.collection ' || name, 0));

  SELECT * INTO known FROM reembed.migration WHERE migration_id = p_id FOR UPDATE;
  IF FOUND THEN
    SELECT string_agg(key, ', ') INTO differing FROM (
      SELECT key FROM jsonb_each(reembed.what_is_migrated(p_config) || '{}') a
      WHERE a.value IS DISTINCT FROM reembed.what_is_migrated(known.config)->a.key
      UNION
      SELECT key FROM jsonb_each(reembed.what_is_migrated(known.config)) b WHERE NOT reembed.what_is_migrated(p_config) ? b.key) x;
    IF differing IS NOT NULL AND known.state = 'planned' THEN
      PERFORM reembed.discard_planned(known);
      RETURN reembed.create_migration(p_id, p_config, p_source_kept);
    END IF;
    IF differing IS NOT NULL THEN
      PERFORM reembed.wrong_configuration(format('migration %L exists and these keys differ from it: %s', p_id, differing),
        'what is migrated can''t change under an existing id; give the file another id, or put the old values back');
    END IF;
    IF known.config IS DISTINCT FROM p_config THEN
      UPDATE reembed.migration SET config = p_config, updated_at = clock_timestamp() WHERE number = known.number;
      PERFORM reembed.record_event(p_id, 'configured', jsonb_build_object('before', known.config, 'after', p_config));
    END IF;
    -- a side table of ours is kept whatever the file says: nobody else could
    UPDATE reembed.space SET kept = p_source_kept OR side WHERE space_id = known.source_space;
    RETURN reembed.state_json(p_id);
  END IF;

  IF coalesce(name, '') = '' THEN PERFORM reembed.wrong_configuration('collection: a name is needed'); END IF;
  IF reembed.vector_schema() IS NULL THEN
    PERFORM reembed.wrong_configuration('extension vector (pgvector) is missing in this database', 'as a superuser: CREATE EXTENSION vector');
  END IF;
  SELECT * INTO d FROM reembed.inspect_documents(p_config#>>'{documents,table}', p_config#>>'{documents,id}',
                                                 p_config#>>'{documents,content}', p_config#>>'{documents,where}');
  PERFORM reembed.try_expressions(d.docs_table, d.docs_alias, d.content, d.filter);

  -- a completed migration whose window is over has nothing left to wait for
  UPDATE reembed.migration SET finalized_at = window_ends_at
   WHERE collection = name AND state = 'completed' AND finalized_at IS NULL AND window_ends_at <= clock_timestamp();
  SELECT * INTO known FROM reembed.migration WHERE collection = name AND state <> 'cancelled' AND finalized_at IS NULL;
  IF FOUND THEN
    PERFORM reembed.refuse(known.state, 'planned', format('collection %s still has migration %s (%s); %s', name, known.migration_id,
      replace(known.state, '_', ' '), CASE known.state
        WHEN 'completed' THEN 'its rollback window is open: finalize it first, or wait'
        WHEN 'rolled_back' THEN 'finalize it first, or go forward with cutover'
        ELSE 'complete or cancel it first' END));
  END IF;

  -- a side table that queries go to holds vectors of these documents and of no others
  SELECT * INTO c FROM reembed.collection k WHERE k.collection = name;
  IF FOUND AND c.docs_table <> d.docs_table AND c.docs <> d.docs AND EXISTS (SELECT 1 FROM reembed.space s WHERE s.space_id = c.query_space AND s.side) THEN
    PERFORM reembed.wrong_configuration(format('documents.table: collection %s is of %s, and its queries go to vectors of those documents', name, c.docs_table),
      'give the collection of another table another name');
  END IF;
  INSERT INTO reembed.collection AS k (collection, docs, docs_table, docs_alias, id_column, id_type, id_collation, content, filter, changes_table)
  VALUES (name, d.docs, d.docs_table, d.docs_alias, d.id_column, d.id_type, d.id_collation, d.content, d.filter,
          format('reembed_data.%I', reembed.object_name(name, '_changes')))
  ON CONFLICT (collection) DO UPDATE SET docs = excluded.docs, docs_table = excluded.docs_table, docs_alias = excluded.docs_alias,
     id_column = excluded.id_column, id_type = excluded.id_type, id_collation = excluded.id_collation,
     content = excluded.content, filter = excluded.filter, detached = false,
     -- another table or expression needs other triggers, whatever is captured now
     captured = CASE WHEN (k.docs, k.id_column, k.content, k.filter) = (excluded.docs, excluded.id_column, excluded.content, excluded.filter)
                     THEN k.captured ELSE '{}' END
  RETURNING * INTO c;
  -- wider than the ids are today: an application that outgrows their type must not fail in our triggers. Another type
  -- altogether is another table's; what its log holds is of nobody's ids.
  log_type := CASE WHEN c.id_type IN ('smallint', 'integer') THEN 'bigint' ELSE c.id_type END;
  IF EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass(c.changes_table) AND a.attname = 'doc_id'
             AND (pg_catalog.format_type(a.atttypid, NULL) <> log_type OR c.id_collation <> coalesce((
               SELECT format(' COLLATE %I.%I', n.nspname, o.collname) FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
               WHERE o.oid = a.attcollation AND o.collname <> 'default'), ''))) THEN
    EXECUTE format('DROP TABLE %s', c.changes_table);
  END IF;
  EXECUTE format('CREATE TABLE IF NOT EXISTS %s (space_id bigint NOT NULL, seq bigint GENERATED ALWAYS AS IDENTITY, doc_id %s%s, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (space_id, seq)) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)',
    c.changes_table, log_type, c.id_collation);

  IF jsonb_typeof(p_config->'source') = 'object' THEN
    SELECT * INTO src FROM reembed.inspect_source(p_config->'source', c.id_type);
    SELECT space_id INTO source_id FROM reembed.space WHERE table_name = src.table_name AND vector_column = src.vector_column;
    IF FOUND THEN
      IF (SELECT lower(model) FROM reembed.space WHERE space_id = source_id) <> lower(p_config#>>'{source,model}') THEN
        PERFORM reembed.wrong_configuration(format('source.model: %s.%s was filled by %s, not by %s', src.table_name, src.vector_column,
          (SELECT model FROM reembed.space WHERE space_id = source_id), p_config#>>'{source,model}'), 'name the model that really made these vectors');
      END IF;
      UPDATE reembed.space SET kept = kept OR p_source_kept WHERE space_id = source_id;
    ELSE
      INSERT INTO reembed.space (collection, model, dimensions, vector_type, metric, table_name, id_column, vector_column, side, kept)
      VALUES (name, p_config#>>'{source,model}', src.dimensions, src.vector_type, src.metric, src.table_name, src.id_column, src.vector_column, false, p_source_kept)
      RETURNING space_id INTO source_id;
    END IF;
    INSERT INTO reembed.drain (space_id) VALUES (source_id) ON CONFLICT DO NOTHING;
  END IF;

  -- named after the model; with its dimensions, or `_next`, where another space has that name already
  target_table := t->>'table';
  IF target_table IS NULL THEN
    slug := reembed.object_name(trim(BOTH '_' FROM regexp_replace(lower(t->>'model'), '[^a-z0-9]+', '_', 'g')), '');
    slug := '__' || CASE WHEN octet_length(slug) <= 36 THEN slug ELSE left(slug, 27) || '_' || left(md5(slug), 8) END;
    SELECT v.name INTO target_table
      FROM unnest(ARRAY[CASE WHEN t->>'dimensions' = coalesce((SELECT dimensions::text FROM reembed.space WHERE space_id = source_id), '')
                              AND lower(t->>'model') = lower(coalesce(p_config#>>'{source,model}', '')) THEN '_next' ELSE '' END,
                        '', '_' || (t->>'dimensions'), '_next', '_' || (t->>'dimensions') || '_next']) WITH ORDINALITY x(suffix, place),
           LATERAL (SELECT format('reembed_data.%I', reembed.object_name(create_migration.p_config->>'collection', slug || x.suffix)) AS name) v
      ORDER BY to_regclass(v.name) IS NULL OR EXISTS (
                 SELECT 1 FROM reembed.space s WHERE s.table_name = v.name AND s.side AND s.space_id IS DISTINCT FROM source_id
                   AND lower(s.model) = lower(t->>'model') AND s.dimensions = (t->>'dimensions')::int AND s.vector_type = t->>'type'
                   AND s.metric = t->>'metric' AND s.collection = create_migration.p_config->>'collection'
                   AND c.id_type = (SELECT pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute a
                                    WHERE a.attrelid = to_regclass(v.name) AND a.attname = 'doc_id')) DESC, x.place LIMIT 1;
  END IF;
  SELECT space_id INTO target_id FROM reembed.space s WHERE s.table_name = target_table AND s.side AND to_regclass(s.table_name) IS NOT NULL;
  IF FOUND AND NOT EXISTS (SELECT 1 FROM reembed.space s WHERE s.space_id = target_id AND lower(s.model) = lower(t->>'model')
       AND s.dimensions = (t->>'dimensions')::int AND s.vector_type = t->>'type' AND s.metric = t->>'metric' AND s.collection = name) THEN
    PERFORM reembed.wrong_configuration(format('target: table %s already holds vectors of %s', target_table,
      (SELECT format('%s, %s dimensions, %s, %s', model, dimensions, vector_type, metric) FROM reembed.space WHERE space_id = target_id)),
      'give target.table another name, or drop that table and its row in reembed.space');
  END IF;
  IF target_id IS NOT NULL AND target_id = c.query_space THEN
    PERFORM reembed.wrong_configuration(format('target: queries of %s already go to %s of %s', name, t->>'model', target_table), 'there is nothing to migrate');
  END IF;
  IF target_id IS NULL THEN
    IF to_regclass(target_table) IS NOT NULL THEN
      PERFORM reembed.wrong_configuration(format('target.table: %s exists and was not made by reembed', target_table),
        'leave target.table out for a side table of its own, or name one that does not exist yet');
    END IF;
    -- its table was dropped by hand
    UPDATE reembed.migration SET target_space = NULL WHERE target_space IN (SELECT space_id FROM reembed.space WHERE table_name = target_table);
    UPDATE reembed.migration SET source_space = NULL WHERE source_space IN (SELECT space_id FROM reembed.space WHERE table_name = target_table);
    DELETE FROM reembed.space WHERE table_name = target_table;
    EXECUTE format('CREATE TABLE %s (doc_id %s%s PRIMARY KEY, read_token bigint NOT NULL, content_hash uuid, embedding %s.%s(%s), CHECK ((content_hash IS NULL) = (embedding IS NULL)))',
      target_table, c.id_type, c.id_collation, reembed.vector_schema(), t->>'type', (t->>'dimensions')::int);
    -- tombstones are found without a scan
    EXECUTE format('CREATE INDEX ON %s (read_token) WHERE content_hash IS NULL', target_table);
    INSERT INTO reembed.space (collection, model, dimensions, vector_type, metric, table_name, id_column, vector_column, side, kept)
    VALUES (name, t->>'model', (t->>'dimensions')::int, t->>'type', t->>'metric', target_table, 'doc_id', 'embedding', true, true)
    RETURNING space_id INTO target_id;
    PERFORM reembed.grant_to_readers(target_table);
  END IF;
  UPDATE reembed.space SET kept = true, index_method = CASE WHEN t#>>'{index,method}' = 'as_source' THEN coalesce(
      (SELECT am.amname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid JOIN pg_catalog.pg_am am ON am.oid = ic.relam
       JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
       JOIN reembed.space os ON os.space_id = source_id
       WHERE i.indrelid = to_regclass(os.table_name) AND am.amname IN ('hnsw', 'ivfflat') AND quote_ident(a.attname) = os.vector_column LIMIT 1), 'none')
    ELSE coalesce(t#>>'{index,method}', 'none') END WHERE space_id = target_id;
  INSERT INTO reembed.drain (space_id) VALUES (target_id) ON CONFLICT DO NOTHING;

  -- the routed space of a collection that reembed sees for the first time is the source
  IF c.query_space IS NULL OR NOT EXISTS (SELECT 1 FROM reembed.space WHERE space_id = c.query_space) THEN
    UPDATE reembed.collection SET query_space = source_id WHERE collection = name;
  ELSIF c.query_space IS DISTINCT FROM source_id THEN
    PERFORM reembed.wrong_configuration(format('source: queries of %s go to %s, not to the source given', name,
      (SELECT format('%s in %s.%s', model, table_name, vector_column) FROM reembed.space WHERE space_id = c.query_space)),
      'the source of a migration is the space that reembed.routing names');
  END IF;

  INSERT INTO reembed.migration (migration_id, collection, source_space, target_space, source_model, target_model, config, changes_before)
  VALUES (p_id, name, source_id, target_id, p_config#>>'{source,model}', t->>'model', p_config,
          (SELECT drained FROM reembed.drain WHERE space_id = target_id));
  PERFORM reembed.point_view(name);
  PERFORM reembed.record_event(p_id, 'create', jsonb_build_object('to', 'planned', 'config', p_config));
  RETURN reembed.state_json(p_id);
END $create$;

CREATE FUNCTION reembed.start(p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(p_id);
BEGIN
  PERFORM reembed.enter_state(m, 'start', reembed.next_state(m, 'start'));
  UPDATE reembed.migration SET started_at = clock_timestamp(), stage = 'capture' WHERE number = m.number;
  RETURN reembed.state_json(p_id);
END $$;

-- After capture stands: the bound and the count, in a snapshot newer than the barrier. Any process may do it, the
-- first one wins. Counting a large table takes its time, so no lock is held meanwhile.
CREATE FUNCTION reembed.count_documents(p_id text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration;
  c reembed.collection;
  top text;
  n bigint;
BEGIN
  SELECT * INTO STRICT m FROM reembed.migration WHERE migration_id = p_id;
  IF m.counted THEN RETURN m.remaining; END IF;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  IF NOT m.target_space = ANY (c.captured) THEN
    RAISE EXCEPTION 'bound before capture: the triggers of % are not installed', c.docs_table;
  END IF;
  -- the id is qualified: a bare name after ORDER BY would be the text that is selected
  EXECUTE format('SELECT (SELECT %3$s.%2$s::text FROM %1$s AS %3$s ORDER BY %3$s.%2$s DESC LIMIT 1), (SELECT count(*) FROM %1$s AS %3$s WHERE %4$s)',
    c.docs_table, c.id_column, c.docs_alias, c.filter) INTO top, n;
  UPDATE reembed.migration SET counted = true, bound = top, remaining = n, cut_done = (top IS NULL), stage = 'backfill', updated_at = clock_timestamp()
   WHERE number = m.number AND NOT counted;
  IF FOUND THEN PERFORM reembed.record_event(p_id, 'captured', jsonb_build_object('documents', n)); END IF;
  RETURN n;
END $$;

CREATE FUNCTION reembed.pause(id text, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(pause.id);
BEGIN
  PERFORM reembed.enter_state(m, 'pause', reembed.next_state(m, 'pause'), jsonb_build_object('reason', pause.reason));
  UPDATE reembed.migration SET reason = coalesce(pause.reason, 'paused by a person') WHERE number = m.number;
  RETURN reembed.state_json(pause.id);
END $$;

CREATE FUNCTION reembed.resume(id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(resume.id);
BEGIN
  PERFORM reembed.enter_state(m, 'resume', reembed.next_state(m, 'resume'));
  UPDATE reembed.migration SET reason = NULL, error = NULL WHERE number = m.number;
  RETURN reembed.state_json(resume.id);
END $$;

CREATE FUNCTION reembed.fail(id text, error text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(fail.id);
BEGIN
  PERFORM reembed.enter_state(m, 'fail', reembed.next_state(m, 'fail'), jsonb_build_object('error', fail.error));
  UPDATE reembed.migration SET error = fail.error, error_count = error_count + 1 WHERE number = m.number;
  RETURN reembed.state_json(fail.id);
END $$;

-- The vectors that were paid for stay in the side table: a later migration to the same model takes them up again.
CREATE FUNCTION reembed.cancel(id text, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(cancel.id);
BEGIN
  IF m.flipped_at IS NOT NULL AND m.source_space IS NULL THEN
    PERFORM reembed.refuse(m.state, 'cancelled', 'queries already go to the target and there is no source to go back to');
  END IF;
  PERFORM reembed.enter_state(m, 'cancel', reembed.next_state(m, 'cancel'), jsonb_build_object('reason', cancel.reason));
  UPDATE reembed.migration SET reason = cancel.reason WHERE number = m.number;
  IF m.flipped_at IS NOT NULL THEN
    PERFORM reembed.route_to(m, m.source_space, 'unflip');
  END IF;
  -- what its chunks counted moves into its row; who still works on one is fenced
  WITH d AS (
    DELETE FROM reembed.chunk k WHERE k.migration = m.number RETURNING k.docs, k.done, k.truncated)
  UPDATE reembed.migration g SET finished = g.finished + s.done, remaining = g.remaining + s.docs - s.done, truncated = g.truncated + s.truncated
  FROM (SELECT coalesce(sum(docs), 0) AS docs, coalesce(sum(done), 0) AS done, coalesce(sum(truncated), 0) AS truncated FROM d) s
  WHERE g.number = m.number;
  UPDATE reembed.space SET kept = false WHERE space_id = m.target_space;
  PERFORM reembed.install_capture(m.collection);
  RETURN reembed.state_json(cancel.id);
END $$;

-- Called by a worker after a clean sweep.
CREATE FUNCTION reembed.complete(id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(complete.id);
BEGIN
  PERFORM reembed.next_state(m, 'complete');
  IF m.flipped_at IS NULL THEN
    PERFORM reembed.refuse(m.state, 'completed', 'queries have not been cut over');
  END IF;
  IF NOT m.counted OR NOT m.cut_done OR NOT m.sweep_clean OR
     EXISTS (SELECT 1 FROM reembed.chunk k WHERE k.migration = m.number AND k.state < 2) THEN
    PERFORM reembed.refuse(m.state, 'completed', 'the exact sweep has not found every document current');
  END IF;
  IF EXISTS (SELECT 1 FROM reembed.failure f WHERE f.migration = m.number AND f.space_id = m.target_space AND f.retrying) THEN
    PERFORM reembed.refuse(m.state, 'completed', 'documents are being tried again');
  END IF;
  PERFORM reembed.fold_chunks(m.number);
  PERFORM reembed.open_window(m, 'complete');
  RETURN reembed.state_json(complete.id);
END $$;

CREATE FUNCTION reembed.open_window(m reembed.migration, p_operation text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE secs double precision := coalesce((m.config#>>'{backfill,rollback_window_secs}')::float8, 86400);
BEGIN
  PERFORM reembed.enter_state(m, p_operation, 'completed', jsonb_build_object('rollback_window_secs', secs));
  UPDATE reembed.migration SET stage = NULL, reason = NULL, completed_at = clock_timestamp(),
         window_ends_at = clock_timestamp() + make_interval(secs => secs) WHERE number = m.number;
END $$;

-- Finished chunks are counted into the migration's row and taken away, so that every view stays cheap. One folder at
-- a time (SKIP LOCKED); a writer whose chunk is gone finds no fence row and drops its work.
CREATE FUNCTION reembed.fold_chunks(p_number bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  WITH m AS MATERIALIZED (
    SELECT number FROM reembed.migration WHERE number = p_number FOR NO KEY UPDATE SKIP LOCKED),
  d AS (
    DELETE FROM reembed.chunk k USING m WHERE k.migration = m.number AND k.state = 2 RETURNING k.done, k.truncated)
  UPDATE reembed.migration g SET finished = g.finished + s.done, truncated = g.truncated + s.truncated
  FROM m, (SELECT coalesce(sum(done), 0) AS done, coalesce(sum(truncated), 0) AS truncated, count(*) AS n FROM d) s
  WHERE g.number = m.number AND s.n > 0
$$;
