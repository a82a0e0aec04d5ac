-- target.placement "column": the new vectors get a column of the documents table and, when queries go over, the name of
-- the old one, so that an application's SQL stays as it is. docs/placement.md tells the whole.
--
-- The side table stays what it is with every placement: read tokens, hashes, sweeps and gates are about it. The column is
-- a copy of it, made by SQL alone. Three facts keep the copy right:
--   1. A trigger on the side table, made before the copy begins, logs the id of every row that is written there.
--   2. One process at a time copies, first all of the table in the order of the keys, then what is logged. It holds the
--      drainer's lease of the column's space, and every statement of it checks that lease (fence).
--   3. Whoever exchanges the names takes away the leases of those that write a column by its name.

CREATE TABLE reembed.placement (
  migration bigint PRIMARY KEY REFERENCES reembed.migration (number) ON DELETE CASCADE,
  column_space bigint NOT NULL REFERENCES reembed.space,
  log_table text NOT NULL,              -- SQL as it stands
  name text NOT NULL,                   -- quoted: the name that applications know, of the column that queries go to
  source_name text NOT NULL,            -- quoted: of the old column while queries go to the new one
  target_name text NOT NULL,            -- quoted: of the new column while queries go to the old one
  cursor text,                          -- last id that was copied; NULL: none yet
  copied bigint NOT NULL DEFAULT 0,
  copy_done boolean NOT NULL DEFAULT false,
  checked boolean NOT NULL DEFAULT false,       -- compared with the side table, every row, and found equal
  was_not_null boolean NOT NULL DEFAULT false   -- NOT NULL was taken from the old column
) WITH (fillfactor = 50);

-- --- what stands in the way ---

-- Whatever hangs on a column and would stay with it when its name goes to another. The name is the object's, `fix` what
-- to do about it.
CREATE FUNCTION reembed.bound_to_column(p_docs oid, p_column name, p_view text) RETURNS TABLE (kind text, name text, fix text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH att AS (
    SELECT a.attrelid, a.attnum, a.attname FROM pg_attribute a WHERE a.attrelid = p_docs AND a.attname = p_column AND NOT a.attisdropped),
  dep AS (
    SELECT DISTINCT d.classid, d.objid, d.objsubid FROM att JOIN pg_depend d
      ON d.refclassid = 'pg_class'::regclass AND d.refobjid = att.attrelid AND d.refobjsubid = att.attnum AND d.deptype <> 'i'),
  plain AS (     -- a vector index on the column alone: the new column gets one of its own
    SELECT i.indexrelid FROM att JOIN pg_index i ON i.indrelid = att.attrelid JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am am ON am.oid = x.relam
    WHERE i.indnatts = 1 AND i.indkey[0] = att.attnum AND i.indpred IS NULL AND am.amname IN ('hnsw', 'ivfflat'))
  SELECT CASE k.relkind WHEN 'm' THEN 'materialized view' WHEN 'v' THEN 'view' ELSE 'rule' END,
         CASE WHEN k.relkind IN ('v', 'm') THEN k.oid::regclass::text ELSE w.rulename END,
         'it would go on showing the old column: drop it, and make it again after the cutover'
    FROM dep JOIN pg_rewrite w ON dep.classid = 'pg_rewrite'::regclass AND w.oid = dep.objid JOIN pg_class k ON k.oid = w.ev_class
    WHERE k.oid IS DISTINCT FROM to_regclass(p_view)
  UNION ALL
  SELECT 'index', x.oid::regclass::text, 'only an hnsw or ivfflat index on the column alone is made anew: drop it'
    FROM dep JOIN pg_class x ON dep.classid = 'pg_class'::regclass AND x.oid = dep.objid AND x.relkind IN ('i', 'I')
    WHERE x.oid NOT IN (SELECT indexrelid FROM plain)
  UNION ALL
  SELECT 'generated column', a.attname, 'it would go on being computed from the old column: drop it'
    FROM dep JOIN pg_attrdef f ON dep.classid = 'pg_attrdef'::regclass AND f.oid = dep.objid
    JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum JOIN att ON a.attnum <> att.attnum
  UNION ALL
  SELECT 'constraint', c.conname, 'it would go on checking the old column: drop it, and add one for the new vectors after the cutover'
    FROM dep JOIN pg_constraint c ON dep.classid = 'pg_constraint'::regclass AND c.oid = dep.objid WHERE c.contype <> 'n'
  UNION ALL
  SELECT 'trigger', t.tgname, 'it would go on watching the old column: drop it, or let it fire on every UPDATE'
    FROM dep JOIN pg_trigger t ON dep.classid = 'pg_trigger'::regclass AND t.oid = dep.objid
  UNION ALL
  SELECT 'policy', p.polname, 'it would go on looking at the old column: drop it'
    FROM dep JOIN pg_policy p ON dep.classid = 'pg_policy'::regclass AND p.oid = dep.objid
  UNION ALL
  SELECT 'publication', b.pubname, 'it names the column: take it out of the column list and of WHERE'
    FROM dep JOIN pg_publication_rel r ON dep.classid = 'pg_publication_rel'::regclass AND r.oid = dep.objid JOIN pg_publication b ON b.oid = r.prpubid
  UNION ALL
  SELECT 'function', p.oid::regprocedure::text, 'its body is bound to the old column: drop it, and make it again after the cutover'
    FROM dep JOIN pg_proc p ON dep.classid = 'pg_proc'::regclass AND p.oid = dep.objid
  UNION ALL
  -- a table that is published as a whole: its subscribers would have to know a column that appears by itself
  SELECT 'publication', b.pubname, 'it publishes every column: a subscriber that lacks the new one would stop; name the columns in it'
    FROM pg_publication b JOIN pg_class k ON k.oid = p_docs
    WHERE b.puballtables OR EXISTS (SELECT 1 FROM pg_publication_rel r WHERE r.prpubid = b.oid AND r.prrelid = p_docs AND r.prattrs IS NULL)
       OR EXISTS (SELECT 1 FROM pg_publication_namespace n WHERE n.pnpubid = b.oid AND n.pnnspid = k.relnamespace)
$$;

-- Why a column of these documents can't be placed at all; NULL: it can.
CREATE FUNCTION reembed.placement_refusal(p_docs oid, p_column name, p_view text, OUT text text, OUT hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k record;
  bound record;
BEGIN
  SELECT c.relkind, c.relowner::regrole AS owner, c.reloftype <> 0 AS typed, c.oid::regclass AS name,
         EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = c.oid) AS child,
         pg_has_role(current_user, c.relowner, 'USAGE') AS owned,
         (SELECT a.attgenerated <> '' FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = p_column) AS generated
    INTO k FROM pg_class c WHERE c.oid = p_docs;
  IF k.relkind = 'p' OR k.child OR k.typed THEN
    text := format('target.placement: %s is %s', k.name, CASE WHEN k.relkind = 'p' THEN 'partitioned, no index can be built concurrently on it'
      WHEN k.child THEN 'a child of another table' ELSE 'a typed table' END);
    hint := 'use placement "side"';
  ELSIF NOT k.owned THEN
    text := format('target.placement: role %s does not own %s, so it can''t add a column to it', current_user, k.name);
    hint := format('GRANT %s TO %s, or use placement "side"', k.owner, quote_ident(current_user));
  ELSIF k.generated THEN
    text := format('target.placement: column %I of %s is generated', p_column, k.name);
    hint := 'use placement "side"';
  ELSE
    SELECT string_agg(format('%s %s', b.kind, b.name), ', ' ORDER BY b.kind, b.name) AS what, string_agg(DISTINCT format('%s: %s', b.kind, b.fix), '; ') AS fix
      INTO bound FROM reembed.bound_to_column(p_docs, p_column, p_view) b;
    IF bound.what IS NOT NULL THEN
      text := format('target.placement: these are bound to column %I of %s and can''t follow its name: %s', p_column, k.name, bound.what);
      hint := format('%s; or use placement "side"', bound.fix);
    END IF;
  END IF;
END $$;

CREATE FUNCTION reembed.refuse_placement(p_docs oid, p_column name, p_view text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE r record;
BEGIN
  SELECT * INTO r FROM reembed.placement_refusal(p_docs, p_column, p_view);
  IF r.text IS NOT NULL THEN PERFORM reembed.wrong_configuration(r.text, r.hint); END IF;
END $$;

-- --- beginning ---

CREATE FUNCTION reembed.unquoted(p_identifier text) RETURNS name
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT (parse_ident(p_identifier))[1]::name $$;

-- A name for a column beside another, after the model whose vectors it holds.
CREATE FUNCTION reembed.column_name_for(p_docs oid, p_column name, p_model text, p_taken name DEFAULT NULL) RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT v.name::name FROM generate_series(1, 1000) n,
    LATERAL (SELECT reembed.object_name(p_column::text, '__' || left(trim(BOTH '_' FROM regexp_replace(lower(p_model), '[^a-z0-9]+', '_', 'g')), 24)
                    || CASE WHEN n = 1 THEN '' ELSE '_' || n END) AS name) v
  WHERE v.name <> coalesce(p_taken, '') AND NOT EXISTS (
    SELECT 1 FROM pg_attribute a WHERE a.attrelid = p_docs AND a.attname = v.name AND NOT a.attisdropped)
  ORDER BY n LIMIT 1
$$;

-- After create_migration, in its transaction: the column's space and names for a migration whose target is to be placed.
-- Writes nothing to the documents. Called again for a migration that has them, it only looks whether what was bound to
-- the column since stands in the way.
CREATE FUNCTION reembed.place(p_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration;
  c reembed.collection;
  source reembed.space;
  target reembed.space;
  p reembed.placement;
  view_name text;
  known name;
  old_name name;
  new_name name;
  id bigint;
BEGIN
  SELECT * INTO STRICT m FROM reembed.migration WHERE migration_id = p_id;
  IF coalesce(m.config#>>'{target,placement}', 'side') <> 'column' THEN RETURN; END IF;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  view_name := format('reembed_data.%I', reembed.object_name(m.collection, '_current'));
  SELECT * INTO p FROM reembed.placement WHERE migration = m.number;
  IF FOUND THEN
    IF m.state IN ('planned', 'in_progress', 'failed') AND m.flipped_at IS NULL THEN
      PERFORM reembed.refuse_placement(c.docs, reembed.unquoted(p.name), view_name);
    END IF;
    RETURN;
  END IF;
  IF m.state <> 'planned' THEN RETURN; END IF;       -- over: nothing is placed any more

  SELECT * INTO source FROM reembed.space WHERE space_id = m.source_space;
  SELECT * INTO STRICT target FROM reembed.space WHERE space_id = m.target_space;
  IF source.space_id IS NULL OR source.side OR to_regclass(source.table_name) IS DISTINCT FROM c.docs THEN
    PERFORM reembed.wrong_configuration('target.placement: "column" needs a source that is a column of the documents table',
      'use placement "side"; an application that reads reembed_data.<collection>_current needs no change either');
  END IF;
  IF m.config#>>'{target,table}' IS NOT NULL THEN
    PERFORM reembed.wrong_configuration('target.table: with placement "column" the vectors go to the documents table', 'leave target.table out');
  END IF;
  known := reembed.unquoted(source.vector_column);
  PERFORM reembed.refuse_placement(c.docs, known, view_name);
  new_name := reembed.column_name_for(c.docs, known, target.model);
  old_name := reembed.column_name_for(c.docs, known, coalesce(source.model, 'old'), new_name);
  -- of an earlier attempt that was thrown away
  DELETE FROM reembed.space WHERE table_name = c.docs_table AND vector_column = quote_ident(new_name)
     AND NOT EXISTS (SELECT 1 FROM reembed.placement o WHERE o.column_space = space_id);
  INSERT INTO reembed.space (collection, model, dimensions, vector_type, metric, table_name, id_column, vector_column, side, kept, index_method)
  VALUES (m.collection, target.model, target.dimensions, target.vector_type, target.metric, c.docs_table, c.id_column, quote_ident(new_name), false, true, target.index_method)
  RETURNING space_id INTO id;
  INSERT INTO reembed.drain (space_id) VALUES (id);
  INSERT INTO reembed.placement (migration, column_space, log_table, name, source_name, target_name)
  VALUES (m.number, id, format('reembed_data.%I', reembed.object_name(m.collection, '_column_' || m.number)), quote_ident(known), quote_ident(old_name), quote_ident(new_name));
  UPDATE reembed.space SET index_name = NULL WHERE space_id = m.target_space;   -- the index will be the column's
END $$;

-- An exclusive lock that holds nobody up: it is asked for again and again, 50 ms at a time, with pauses in which those who
-- queued up behind it go on. `p_relations` in the order in which readers of the stable view take them. All locks or none,
-- in one go: a lock held while another is waited for would be a deadlock with those who need both. `p_writers_of`: a table
-- of which only the writers are kept out.
CREATE FUNCTION reembed.lock_briefly(p_relations text, p_writers_of text DEFAULT NULL, p_patience interval DEFAULT '1 second') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  waits constant text := current_setting('lock_timeout');
  until constant timestamptz := clock_timestamp() + p_patience;
BEGIN
  PERFORM set_config('lock_timeout', '50ms', true);
  LOOP
    BEGIN
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', p_relations);
      IF p_writers_of IS NOT NULL THEN EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', p_writers_of); END IF;
      EXIT;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
      IF clock_timestamp() >= until THEN
        PERFORM set_config('lock_timeout', waits, true);
        RAISE EXCEPTION 'no exclusive lock on % could be had for a moment: other transactions have it in use all the time', concat_ws(', ', p_relations, p_writers_of)
          USING ERRCODE = 'lock_not_available', HINT = 'look for long transactions in pg_stat_activity; then try again';
      END IF;
      PERFORM pg_sleep(0.05 + random() * 0.1);
    END;
  END LOOP;
  PERFORM set_config('lock_timeout', waits, true);
END $$;

-- What the name of a column stands for beyond its vectors: rights of its own, and the comment.
CREATE FUNCTION reembed.carry_column(p_docs oid, p_from name, p_to name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  r record;
  note text;
BEGIN
  FOR r IN
    SELECT format('REVOKE ALL (%I) ON %s FROM %s', p_to, p_docs::regclass, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END) AS sql, 1 AS place
      FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = p_docs AND t.attname = p_to
    UNION
    SELECT format('GRANT %s (%I) ON %s TO %s%s', a.privilege_type, p_to, p_docs::regclass, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), 2
      FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = p_docs AND t.attname = p_from
    ORDER BY place, sql LOOP
    EXECUTE r.sql;
  END LOOP;
  SELECT col_description(p_docs, a.attnum) INTO note FROM pg_attribute a WHERE a.attrelid = p_docs AND a.attname = p_from;
  EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', p_docs::regclass, p_to, note);
END $$;

-- The functions of change capture name every column where some are virtual: they are made anew when names change. No
-- lock is asked for.
CREATE FUNCTION reembed.renew_capture(p_collection text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE reembed.collection c SET captured = c.captured || -1::bigint WHERE c.collection = p_collection AND cardinality(c.captured) > 0
     AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.docs AND a.attgenerated = 'v' AND NOT a.attisdropped);
  IF FOUND THEN PERFORM reembed.install_capture(p_collection); END IF;
END $$;

-- The log and the triggers that fill it; from here on no write to the side table is missed.
CREATE FUNCTION reembed.log_side_table(m reembed.migration, p reembed.placement) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c reembed.collection;
  target reembed.space;
BEGIN
  IF to_regclass(p.log_table) IS NOT NULL THEN RETURN; END IF;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  SELECT * INTO STRICT target FROM reembed.space WHERE space_id = m.target_space;
  EXECUTE format('CREATE TABLE %s (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc_id %s%s NOT NULL, at timestamptz NOT NULL DEFAULT now()) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)',
    p.log_table, c.id_type, c.id_collation);
  -- Also what got a newer token only: its document may be another row than before, without the vector that the old row had.
  EXECUTE format($make$CREATE FUNCTION %1$s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  INSERT INTO %1$s (doc_id) SELECT n.doc_id FROM new_rows n;
  RETURN NULL;
END $body$ $make$, p.log_table);
  EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', p.log_table);
  EXECUTE format('CREATE TRIGGER reembed_column_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %s()', target.table_name, p.log_table);
  EXECUTE format('CREATE TRIGGER reembed_column_update AFTER UPDATE ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION %s()', target.table_name, p.log_table);
END $$;

-- The column itself, empty: the catalog changes, no row does. True: it is there; false: the log is made first, in a
-- transaction of its own, so that the lock on the documents is held for this alone.
CREATE FUNCTION reembed.add_column(p_id text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration;
  p reembed.placement;
  c reembed.collection;
  s reembed.space;
  old pg_attribute;
  storage text;
BEGIN
  SELECT * INTO STRICT m FROM reembed.migration WHERE migration_id = p_id;     -- not locked: heartbeats go on while it waits
  SELECT * INTO STRICT p FROM reembed.placement WHERE migration = m.number;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  SELECT * INTO STRICT s FROM reembed.space WHERE space_id = p.column_space;
  IF to_regclass(p.log_table) IS NULL THEN
    PERFORM reembed.log_side_table(m, p);
    RETURN false;
  END IF;
  IF EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.docs AND quote_ident(a.attname) = s.vector_column AND NOT a.attisdropped) THEN RETURN true; END IF;
  PERFORM reembed.refuse_placement(c.docs, reembed.unquoted(p.name), format('reembed_data.%I', reembed.object_name(m.collection, '_current')));
  SELECT * INTO STRICT old FROM pg_attribute a WHERE a.attrelid = c.docs AND quote_ident(a.attname) = p.name;
  storage := CASE old.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END;
  PERFORM reembed.lock_briefly(c.docs::regclass::text);
  IF EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.docs AND quote_ident(a.attname) = s.vector_column AND NOT a.attisdropped)
     OR NOT EXISTS (SELECT 1 FROM reembed.placement x WHERE x.migration = m.number) THEN RETURN true; END IF;   -- another was faster, or it was cancelled
  EXECUTE format('ALTER TABLE %s ADD COLUMN %s %s.%s(%s), ALTER COLUMN %2$s SET STORAGE %6$s', c.docs::regclass, s.vector_column, reembed.vector_schema(), s.vector_type, s.dimensions, storage);
  IF (to_jsonb(old)->>'attstattarget')::int >= 0 THEN
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %s SET STATISTICS %s', c.docs::regclass, s.vector_column, to_jsonb(old)->>'attstattarget');
  END IF;
  PERFORM reembed.carry_column(c.docs, old.attname, reembed.unquoted(s.vector_column));
  PERFORM reembed.renew_capture(m.collection);
  PERFORM reembed.record_event(m.migration_id, 'column', jsonb_build_object('added', format('%s.%s', c.docs_table, s.vector_column)));
  RETURN true;
END $$;

-- --- while it is filled ---

CREATE FUNCTION reembed.column_checked(p_id text, p_worker uuid, p_index text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE m reembed.migration := reembed.lock_migration(p_id);
BEGIN
  IF m.finisher IS DISTINCT FROM p_worker THEN RETURN false; END IF;
  UPDATE reembed.placement SET checked = true WHERE migration = m.number AND copy_done AND NOT checked;
  IF FOUND THEN
    UPDATE reembed.space SET index_name = p_index WHERE space_id = (SELECT column_space FROM reembed.placement WHERE migration = m.number);
    PERFORM reembed.record_event(p_id, 'column', (SELECT jsonb_build_object('copied', copied, 'column', target_name) FROM reembed.placement WHERE migration = m.number));
  END IF;
  RETURN true;
END $$;

-- Waiting changes of a space, and the age of the oldest; counting stops at the limit, so that a view stays cheap. What has
-- reached the side table of a placed column and not yet the column waits as well, once the column has been filled.
CREATE OR REPLACE FUNCTION reembed.pending_changes(p_collection text, p_space bigint, OUT pending bigint, OUT lag_secs double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  log text;
  column_log text;
  more bigint;
  lag double precision;
BEGIN
  SELECT changes_table INTO log FROM reembed.collection WHERE collection = p_collection;
  IF log IS NULL OR p_space IS NULL THEN pending := 0; lag_secs := 0; RETURN; END IF;
  EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM %s WHERE space_id = $1 LIMIT 100000) x', log) INTO pending USING p_space;
  EXECUTE format('SELECT coalesce(extract(epoch FROM clock_timestamp() - at), 0) FROM %s WHERE space_id = $1 ORDER BY seq LIMIT 1', log)
    INTO lag_secs USING p_space;
  SELECT p.log_table INTO column_log FROM reembed.placement p JOIN reembed.migration m ON m.number = p.migration
   WHERE m.target_space = p_space AND p.copy_done AND to_regclass(p.log_table) IS NOT NULL;
  IF FOUND THEN
    EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM %s LIMIT 100000) x', column_log) INTO more;
    EXECUTE format('SELECT extract(epoch FROM clock_timestamp() - at) FROM %s ORDER BY seq LIMIT 1', column_log) INTO lag;
    pending := pending + more;
    lag_secs := greatest(lag_secs, lag);
  END IF;
  lag_secs := greatest(coalesce(lag_secs, 0), 0);
END $$;

-- --- the exchange of the names ---

-- One transaction, the caller's. Under the lock only the catalog changes: some milliseconds.
CREATE FUNCTION reembed.swap_columns(m reembed.migration, p reembed.placement, p_forward boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c reembed.collection;
  entering reembed.space;
  leaving reembed.space;
  spare text;              -- what the leaving column is called from now on
  not_null boolean;
BEGIN
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  SELECT * INTO STRICT entering FROM reembed.space WHERE space_id = CASE WHEN p_forward THEN p.column_space ELSE m.source_space END;
  SELECT * INTO STRICT leaving FROM reembed.space WHERE space_id = CASE WHEN p_forward THEN m.source_space ELSE p.column_space END;
  IF entering.vector_column = p.name THEN RETURN; END IF;
  IF p_forward AND NOT (p.copy_done AND p.checked) THEN
    PERFORM reembed.refuse(m.state, 'flipped', format('column %s of %s is not filled yet; reembed run goes on with it, reembed status %s shows how far it is',
      p.target_name, c.docs_table, m.migration_id));
  END IF;
  IF p_forward THEN
    PERFORM reembed.refuse_placement(c.docs, reembed.unquoted(p.name), format('reembed_data.%I', reembed.object_name(m.collection, '_current')));
  END IF;
  spare := CASE WHEN p_forward THEN p.source_name ELSE p.target_name END;
  PERFORM reembed.lock_briefly(format('reembed_data.%I, %s', reembed.object_name(m.collection, '_current'), c.docs::regclass));
  -- who writes one of them by name holds a lease: fenced, he looks for the names again
  UPDATE reembed.drain SET owner = NULL, lease_until = NULL, epoch = epoch + 1 WHERE space_id IN (entering.space_id, leaving.space_id);
  EXECUTE format('ALTER TABLE %s RENAME COLUMN %s TO %s', c.docs::regclass, leaving.vector_column, spare);
  EXECUTE format('ALTER TABLE %s RENAME COLUMN %s TO %s', c.docs::regclass, entering.vector_column, p.name);
  IF p_forward THEN        -- the application's next insert will not give the old column a vector
    SELECT a.attnotnull INTO STRICT not_null FROM pg_attribute a WHERE a.attrelid = c.docs AND quote_ident(a.attname) = spare;
    IF not_null THEN
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL', c.docs::regclass, spare);
      UPDATE reembed.placement SET was_not_null = true WHERE migration = m.number;
    END IF;
  END IF;
  PERFORM reembed.carry_column(c.docs, reembed.unquoted(spare), reembed.unquoted(p.name));
  UPDATE reembed.space SET vector_column = spare WHERE space_id = leaving.space_id;
  UPDATE reembed.space SET vector_column = p.name WHERE space_id = entering.space_id;
  PERFORM reembed.renew_capture(m.collection);
END $$;

CREATE OR REPLACE FUNCTION reembed.route_to(m reembed.migration, p_space bigint, p_event text, p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  forward constant boolean := p_space = m.target_space;
  missing constant bigint := CASE WHEN forward THEN reembed.source_missing(m.migration_id, 2000000) END;
  waits constant text := current_setting('lock_timeout');
  p reembed.placement;
  routed bigint := p_space;
  flipped timestamptz;
BEGIN
  PERFORM set_config('lock_timeout', reembed.lock_timeout(m), true);
  SELECT * INTO p FROM reembed.placement WHERE migration = m.number;
  IF FOUND THEN
    PERFORM 1 FROM reembed.collection WHERE collection = m.collection FOR UPDATE;   -- before the documents, as install_capture does
    PERFORM reembed.swap_columns(m, p, forward);
    IF forward THEN routed := p.column_space; END IF;
  END IF;
  IF forward THEN flipped := clock_timestamp(); END IF;
  UPDATE reembed.collection SET query_space = routed, version = version + 1, flipped_at = flipped
   WHERE collection = m.collection;
  UPDATE reembed.migration SET flipped_at = flipped, updated_at = clock_timestamp()
   WHERE number = m.number;
  PERFORM reembed.point_view(m.collection);
  PERFORM set_config('lock_timeout', waits, true);       -- the rest of the transaction is the caller's
  PERFORM reembed.record_event(m.migration_id, p_event, jsonb_build_object(
    'query_model', (SELECT model FROM reembed.space WHERE space_id = p_space),
    'version', (SELECT version FROM reembed.collection WHERE collection = m.collection))
    || CASE WHEN forward THEN jsonb_build_object('source_missing', missing) ELSE '{}' END || coalesce(p_detail, '{}'));
END $$;

CREATE OR REPLACE FUNCTION reembed.route_query(collection text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE c reembed.collection;
BEGIN
  SELECT * INTO c FROM reembed.collection x WHERE x.collection = route_query.collection;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown collection %', quote_literal(route_query.collection) USING ERRCODE = 'RE002'; END IF;
  RETURN CASE WHEN EXISTS (SELECT 1 FROM (SELECT m.number, m.target_space FROM reembed.migration m WHERE m.collection = c.collection ORDER BY m.number DESC LIMIT 1) g
                           LEFT JOIN reembed.placement p ON p.migration = g.number WHERE c.query_space IN (g.target_space, p.column_space))
              THEN 'target' ELSE 'legacy' END;
END $$;

-- --- the end ---

-- Takes away what keeps a column in step with its side table.
CREATE FUNCTION reembed.drop_side_log(p reembed.placement, p_side text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF to_regclass(p.log_table) IS NULL THEN RETURN; END IF;
  IF to_regclass(p_side) IS NOT NULL THEN
    EXECUTE format('DROP TRIGGER IF EXISTS reembed_column_insert ON %s', p_side);
    EXECUTE format('DROP TRIGGER IF EXISTS reembed_column_update ON %s', p_side);
  END IF;
  EXECUTE format('DROP FUNCTION IF EXISTS %s()', p.log_table);
  EXECUTE format('DROP TABLE %s', p.log_table);
END $$;

CREATE FUNCTION reembed.drop_column(p_docs oid, p_column text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = p_docs AND quote_ident(a.attname) = p_column AND NOT a.attisdropped) THEN RETURN; END IF;
  PERFORM reembed.lock_briefly(p_docs::regclass::text);
  EXECUTE format('ALTER TABLE %s DROP COLUMN %s', p_docs::regclass, p_column);
END $$;

-- All that an end of a placement changes, locked at once: the side table, the stable view, the documents.
CREATE FUNCTION reembed.lock_placement(m reembed.migration) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c reembed.collection;
  relations text;
BEGIN
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection FOR UPDATE;
  SELECT string_agg(k.oid::regclass::text, ', ' ORDER BY v.place) INTO relations
    FROM (VALUES (1, (SELECT to_regclass(s.table_name) FROM reembed.space s WHERE s.space_id = m.target_space)),
                 (2, to_regclass(format('reembed_data.%I', reembed.object_name(m.collection, '_current')))), (3, c.docs::regclass)) v(place, relation)
    JOIN pg_class k ON k.oid = v.relation;
  IF relations IS NOT NULL THEN PERFORM reembed.lock_briefly(relations); END IF;
END $$;

-- Of a migration whose queries go to the source: the new column goes, and all that kept it. Returns its name.
CREATE FUNCTION reembed.unplace(m reembed.migration) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c reembed.collection;
  p reembed.placement;
  side text;
BEGIN
  SELECT * INTO p FROM reembed.placement WHERE migration = m.number;
  IF NOT FOUND THEN RETURN NULL; END IF;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  side := (SELECT s.table_name FROM reembed.space s WHERE s.space_id = m.target_space);
  PERFORM reembed.lock_placement(m);
  PERFORM reembed.drop_column(c.docs, p.target_name);
  PERFORM reembed.drop_side_log(p, side);
  DELETE FROM reembed.placement WHERE migration = m.number;
  DELETE FROM reembed.space WHERE space_id = p.column_space;
  PERFORM reembed.renew_capture(m.collection);
  RETURN format('%s.%s', c.docs_table, p.target_name);
END $$;

-- Of a finalized migration whose queries go to the new column: the column is on its own from now on, a column of the
-- documents like any other. It gets what the side table holds; changes that wait for the side table are its own from now
-- on. Writers are kept out until the end of the transaction: what they write afterwards must be recorded for the column,
-- so whoever calls this brings the capture in line next.
CREATE FUNCTION reembed.settle_placement(m reembed.migration) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c reembed.collection;
  p reembed.placement;
  side reembed.space;
  placed text;
  waits constant text := current_setting('lock_timeout');
BEGIN
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection FOR UPDATE;
  SELECT * INTO p FROM reembed.placement WHERE migration = m.number;
  IF NOT FOUND OR m.state <> 'completed' OR m.finalized_at IS NULL THEN RETURN; END IF;
  SELECT * INTO STRICT side FROM reembed.space WHERE space_id = m.target_space;
  SELECT vector_column INTO STRICT placed FROM reembed.space WHERE space_id = p.column_space;
  PERFORM reembed.lock_briefly(side.table_name, c.docs::regclass::text);
  IF to_regclass(p.log_table) IS NOT NULL THEN
    PERFORM set_config('lock_timeout', '50ms', true);      -- rows that are locked for an update to come: another time
    EXECUTE format('UPDATE %1$s AS %2$s SET %4$s = v.embedding FROM (SELECT l.doc_id, s.embedding FROM (SELECT DISTINCT doc_id FROM %5$s) l LEFT JOIN %6$s s ON s.doc_id = l.doc_id) v
      WHERE %2$s.%3$s = v.doc_id AND NOT (%2$s.%4$s IS NULL AND v.embedding IS NULL) AND (%2$s.%4$s OPERATOR(%7$s.=) v.embedding) IS NOT TRUE',
      c.docs_table, c.docs_alias, c.id_column, placed, p.log_table, side.table_name, reembed.vector_schema());
    PERFORM set_config('lock_timeout', waits, true);
  END IF;
  EXECUTE format('UPDATE %s SET space_id = $1 WHERE space_id = $2', c.changes_table) USING p.column_space, side.space_id;
  PERFORM reembed.drop_side_log(p, side.table_name);
  UPDATE reembed.space s SET canary = side.canary WHERE s.space_id = p.column_space;
  UPDATE reembed.migration SET target_space = p.column_space WHERE target_space = side.space_id;
  UPDATE reembed.migration SET source_space = p.column_space WHERE source_space = side.space_id;
  DELETE FROM reembed.placement WHERE migration = m.number;
  DELETE FROM reembed.space WHERE space_id = side.space_id;
  EXECUTE format('DROP TABLE %s', side.table_name);
END $$;

-- Before the capture of the next migration of a collection is installed, with it in one transaction.
CREATE FUNCTION reembed.settle_former(p_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE former reembed.migration;
BEGIN
  FOR former IN SELECT o.* FROM reembed.migration m JOIN reembed.migration o ON o.collection = m.collection AND o.number < m.number
                JOIN reembed.placement p ON p.migration = o.number WHERE m.migration_id = p_id AND m.state NOT IN ('planned', 'cancelled') LOOP
    PERFORM reembed.settle_placement(former);
  END LOOP;
END $$;

-- Spaces whose changes must be recorded now. Derived, never stored by hand.
CREATE OR REPLACE FUNCTION reembed.spaces_to_capture(p_collection text) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(DISTINCT s.space_id ORDER BY s.space_id), '{}')
  FROM reembed.collection c
  LEFT JOIN reembed.migration m ON m.collection = c.collection AND m.finalized_at IS NULL
       AND m.state IN ('in_progress', 'paused', 'failed', 'completed', 'rolled_back')
  JOIN reembed.space s ON s.collection = c.collection
  WHERE c.collection = p_collection
    AND (s.space_id = m.target_space
         OR (s.kept AND s.space_id = m.source_space AND (m.state <> 'completed' OR clock_timestamp() < m.window_ends_at))
         -- between migrations: the active space, when it is a side table that nobody else could keep current, or a column
         -- that is filled from one
         OR (s.side AND s.kept AND NOT c.detached AND (s.space_id = c.query_space OR EXISTS (
               SELECT 1 FROM reembed.placement p JOIN reembed.migration o ON o.number = p.migration
               WHERE p.column_space = c.query_space AND o.target_space = s.space_id))))
$$;

-- The vectors that were paid for stay in the side table: a later migration to the same model takes them up again.
CREATE OR REPLACE FUNCTION reembed.cancel(id text, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(cancel.id);
  gone text;
BEGIN
  IF m.flipped_at IS NOT NULL AND m.source_space IS NULL THEN
    PERFORM reembed.refuse(m.state, 'cancelled', 'queries already go to the target and there is no source to go back to');
  END IF;
  PERFORM reembed.enter_state(m, 'cancel', reembed.next_state(m, 'cancel'), jsonb_build_object('reason', cancel.reason));
  UPDATE reembed.migration SET reason = cancel.reason WHERE number = m.number;
  -- what its chunks counted moves into its row; who still works on one is fenced. Before the flip back, whose lock is short
  WITH d AS (
    DELETE FROM reembed.chunk k WHERE k.migration = m.number RETURNING k.docs, k.done, k.truncated)
  UPDATE reembed.migration g SET finished = g.finished + s.done, remaining = g.remaining + s.docs - s.done, truncated = g.truncated + s.truncated
  FROM (SELECT coalesce(sum(docs), 0) AS docs, coalesce(sum(done), 0) AS done, coalesce(sum(truncated), 0) AS truncated FROM d) s
  WHERE g.number = m.number;
  IF EXISTS (SELECT 1 FROM reembed.placement p WHERE p.migration = m.number) THEN PERFORM reembed.lock_placement(m); END IF;
  IF m.flipped_at IS NOT NULL THEN
    PERFORM reembed.route_to(m, m.source_space, 'unflip');
  END IF;
  gone := reembed.unplace(m);
  IF gone IS NOT NULL THEN PERFORM reembed.record_event(m.migration_id, 'column', jsonb_build_object('dropped', gone)); END IF;
  UPDATE reembed.space SET kept = false WHERE space_id = m.target_space;
  PERFORM reembed.install_capture(m.collection);
  RETURN reembed.state_json(cancel.id);
END $$;

-- What finalize would drop, by name; NULL: nothing.
CREATE FUNCTION reembed.finalize_drops(id text, drop_source boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration;
  s reembed.space;
  placed text;
BEGIN
  SELECT * INTO m FROM reembed.migration WHERE migration_id = finalize_drops.id;
  SELECT * INTO s FROM reembed.space WHERE space_id = CASE WHEN m.state = 'rolled_back' THEN m.target_space
    WHEN m.state = 'completed' AND finalize_drops.drop_source THEN m.source_space END;
  IF NOT FOUND THEN RETURN NULL; END IF;
  SELECT format('column %s of %s and ', p.target_name, c.table_name) INTO placed FROM reembed.placement p JOIN reembed.space c ON c.space_id = p.column_space
   WHERE p.migration = m.number AND m.state = 'rolled_back';
  RETURN concat(placed, CASE WHEN s.side THEN format('table %s', s.table_name) ELSE format('column %s of %s', s.vector_column, s.table_name) END);
END $$;

-- Ends the window. Of a rolled back migration: drops the target. What is to be kept current afterwards is derived from
-- the states, so capture follows by itself.
CREATE OR REPLACE FUNCTION reembed.finalize(id text, now boolean DEFAULT false, drop_source boolean DEFAULT false, detach boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(finalize.id);
  s reembed.space;
  waits constant text := current_setting('lock_timeout');
  drops text;
BEGIN
  PERFORM reembed.next_state(m, 'finalize');
  IF m.state = 'completed' AND m.finalized_at IS NULL AND clock_timestamp() < m.window_ends_at AND NOT finalize.now THEN
    PERFORM reembed.refuse(m.state, 'finalized', format('the rollback window is open until %s; to end it at once: reembed finalize %s --now',
      to_char(m.window_ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), m.migration_id));
  END IF;
  drops := reembed.finalize_drops(finalize.id, finalize.drop_source);
  PERFORM set_config('lock_timeout', reembed.lock_timeout(m), true);
  IF m.finalized_at IS NULL THEN
    UPDATE reembed.migration SET finalized_at = clock_timestamp(), window_ends_at = least(window_ends_at, clock_timestamp()),
           updated_at = clock_timestamp() WHERE number = m.number RETURNING finalized_at INTO m.finalized_at;
  END IF;
  IF finalize.detach THEN
    UPDATE reembed.collection SET detached = true WHERE collection = m.collection;
    PERFORM reembed.settle_placement(m);       -- nobody would keep its side table any more
  END IF;
  IF m.state = 'rolled_back' AND m.target_space IS NOT NULL THEN
    PERFORM reembed.unplace(m);
    SELECT * INTO s FROM reembed.space WHERE space_id = m.target_space;
    UPDATE reembed.migration SET target_space = NULL WHERE target_space = m.target_space;
    DELETE FROM reembed.space WHERE space_id = s.space_id;
    PERFORM reembed.install_capture(m.collection);
    EXECUTE format('DROP TABLE IF EXISTS %s', s.table_name);
  END IF;
  IF m.state = 'completed' AND finalize.drop_source AND m.source_space IS NOT NULL THEN
    SELECT * INTO s FROM reembed.space WHERE space_id = m.source_space;
    UPDATE reembed.migration SET source_space = NULL WHERE source_space = s.space_id;
    UPDATE reembed.migration SET target_space = NULL WHERE target_space = s.space_id;
    DELETE FROM reembed.space WHERE space_id = s.space_id;
    PERFORM reembed.install_capture(m.collection);
    IF s.side THEN EXECUTE format('DROP TABLE IF EXISTS %s', s.table_name);
    ELSIF to_regclass(s.table_name) IS NOT NULL THEN
      PERFORM reembed.drop_column(to_regclass(s.table_name), s.vector_column);
      PERFORM reembed.renew_capture(m.collection);
    END IF;
  END IF;
  PERFORM reembed.install_capture(m.collection);
  PERFORM set_config('lock_timeout', waits, true);
  PERFORM reembed.record_event(m.migration_id, 'finalize', jsonb_build_object('now', finalize.now, 'drop_source', finalize.drop_source,
    'dropped', drops, 'detach', finalize.detach));
  RETURN reembed.state_json(finalize.id);
END $$;

-- reader: may read the views and search. operator: may also pause, resume, cut over, roll back, retry, skip.
CREATE OR REPLACE FUNCTION reembed.grant_role(p_role text, p_kind text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE r record;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = p_role) THEN
    PERFORM reembed.wrong_configuration(format('there is no role %s', quote_ident(p_role)), format('CREATE ROLE %I', p_role));
  END IF;
  IF p_kind = 'operator' THEN PERFORM reembed.grant_role(p_role, 'reader'); END IF;
  INSERT INTO reembed.grantee VALUES (p_role, p_kind) ON CONFLICT DO NOTHING;
  IF p_kind = 'reader' THEN
    EXECUTE format('GRANT USAGE ON SCHEMA reembed, reembed_data TO %I', p_role);
    EXECUTE format('GRANT SELECT ON reembed.routing, reembed.progress, reembed.gates, reembed.failures, reembed.events, reembed.workers, reembed.schema_version, reembed.collection, reembed.space, reembed.migration, reembed.placement TO %I', p_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION reembed.state_json(text), reembed.routing_json(text), reembed.route_query(text), reembed.route_request(text, boolean), reembed.pending_changes(text, bigint), reembed.metric_operator(text), reembed.source_missing(text, bigint), reembed.source_lost(text, bigint), reembed.finalize_drops(text, boolean) TO %I', p_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', (SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc
      WHERE proname IN ('search', 'search_fused') AND pronamespace = 'reembed'::regnamespace), p_role);
    FOR r IN SELECT s.table_name AS name FROM reembed.space s WHERE s.side AND to_regclass(s.table_name) IS NOT NULL
             UNION ALL SELECT format('reembed_data.%I', reembed.object_name(c.collection, '_current')) FROM reembed.collection c
               WHERE to_regclass(format('reembed_data.%I', reembed.object_name(c.collection, '_current'))) IS NOT NULL LOOP
      EXECUTE format('GRANT SELECT ON %s TO %I', r.name, p_role);
    END LOOP;
  ELSE
    EXECUTE format('GRANT EXECUTE ON FUNCTION reembed.pause(text, text), reembed.resume(text), reembed.cancel(text, text), reembed.cutover(text, boolean), reembed.rollback(text, text, boolean), reembed.finalize(text, boolean, boolean, boolean), reembed.retry(text, text[]), reembed.skip(text, text[], text) TO %I', p_role);
  END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA reembed FROM PUBLIC;
REVOKE ALL ON reembed.placement FROM PUBLIC;
SELECT reembed.grant_role(g.role, g.kind) FROM reembed.grantee g JOIN pg_roles r ON r.rolname = g.role;
