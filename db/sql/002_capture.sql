-- Change capture: triggers on the documents table write the ids of changed documents into an append-only change log,
-- one row for each space that must hear of it. An application never waits for a worker and cannot deadlock with one.

-- A name of at most 63 bytes for an object of a collection. What is cut off is made up for by a hash, so that no two
-- names become one.
CREATE FUNCTION reembed.object_name(collection text, suffix text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN octet_length(collection || suffix) <= 63 THEN collection || suffix
              ELSE (SELECT left(collection, max(n)) FROM generate_series(0, 54 - octet_length(suffix)) n
                    WHERE octet_length(left(collection, n)) <= 54 - octet_length(suffix))
                   || '_' || left(md5(collection), 8) || suffix END
$$;

-- The trigger functions of a collection, all of them in reembed_data.
CREATE FUNCTION reembed.capture_functions(p_collection text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(reembed.object_name(p_collection, suffix))
  FROM unnest(ARRAY['_capture', '_capture_insert', '_capture_update', '_capture_delete', '_capture_truncate']) suffix
$$;

CREATE FUNCTION reembed.record_event(p_id text, p_event text, p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO reembed.event (migration_id, event, actor, detail)
  VALUES (p_id, p_event, session_user || coalesce(' (' || nullif(current_setting('application_name', true), '') || ')', ''),
          coalesce(p_detail, '{}'))
$$;

-- Spaces whose changes must be recorded now. Derived, never stored by hand.
CREATE FUNCTION reembed.spaces_to_capture(p_collection text) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(DISTINCT s.space_id ORDER BY s.space_id), '{}')
  FROM reembed.collection c
  LEFT JOIN reembed.migration m ON m.collection = c.collection AND m.finalized_at IS NULL
       AND m.state IN ('in_progress', 'paused', 'failed', 'completed', 'rolled_back')
  JOIN reembed.space s ON s.collection = c.collection
  WHERE c.collection = p_collection
    AND (s.space_id = m.target_space
         OR (s.kept AND s.space_id = m.source_space AND (m.state <> 'completed' OR clock_timestamp() < m.window_ends_at))
         -- between migrations: the active space, when it is a side table that nobody else could keep current
         OR (s.side AND s.kept AND s.space_id = c.query_space AND NOT c.detached))
$$;

-- Brings the triggers in line with spaces_to_capture. Adding a space takes SHARE ROW EXCLUSIVE on the documents: the
-- lock waits out every transaction that has written them, and that is the barrier after which no write is missed
-- (the caller sets lock_timeout and retries). Taking one away only replaces the functions.
--
-- Plain tables: statement triggers with transition tables, so that a statement of 1,000 rows costs one insert.
-- Partitioned tables, and tables that are partitions or children themselves: row triggers, since statement triggers
-- don't fire for writes that are aimed at another member of the family. No UPDATE OF lists: the application's own BEFORE
-- triggers change content too. Content is compared, so unrelated updates queue nothing. The FULL JOIN is on purpose: a
-- changed key gives both ids, and it can only be hashed or merged (plpgsql keeps the plan of its first call; an inner
-- join would become a nested loop and a later bulk update quadratic).
--
-- An application's write never fails because of us: where an expression can't be computed for a row (a division by zero,
-- a column that a later release dropped), the row counts as changed, and whoever reads it finds the error. Up to 10,000
-- ids are gathered before they are written, so that the block that catches errors writes nothing and thus takes no
-- transaction number of its own. A content that is just a column needs no such block, which costs more than the rest:
-- the only thing that can go wrong is that the column is gone or has another name, and then its name means that of the
-- row reembed_missing, to which the rows of the statement are LATERAL: a changed content, or, for the key, NULL, which
-- is the mark of a TRUNCATE: anything may have changed.
CREATE FUNCTION reembed.install_capture(p_collection text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $capture$
DECLARE
  c reembed.collection;
  want bigint[];
  by_row boolean;
  qualified text;
  spaces text;
  columns text;            -- of the documents, virtual ones computed: triggers are not given those; NULL: none are virtual
  before text;
  after text;
  plain text;              -- the column that is the content, when it is just that, of some type of text
  missing constant text := '(SELECT NULL::%s AS %s) AS reembed_missing';
  names constant text[] := reembed.capture_functions(p_collection);
  made text[] := '{}';     -- triggers, in format's %s on %s
  waits constant text := current_setting('lock_timeout');
  prelude constant text := 'CREATE OR REPLACE FUNCTION reembed_data.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L';
  t record;
BEGIN
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = p_collection FOR UPDATE;
  want := reembed.spaces_to_capture(p_collection);
  IF want = c.captured THEN RETURN false; END IF;

  SELECT relkind = 'p' OR EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = c.docs) INTO by_row FROM pg_class WHERE oid = c.docs;
  IF NOT FOUND THEN        -- the documents table is gone: nothing left to capture
    UPDATE reembed.collection SET captured = '{}' WHERE collection = p_collection;
    RETURN true;
  END IF;
  qualified := c.docs::regclass::text;
  IF NOT want <@ c.captured THEN
    BEGIN
      EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', qualified);
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;                -- the right to create triggers is not the right to lock; creating one takes the same lock
    END;
  END IF;

  SELECT CASE WHEN bool_or(a.attgenerated = 'v') THEN
           string_agg(CASE WHEN a.attgenerated = 'v' THEN format('(%s) AS %I', pg_get_expr(d.adbin, d.adrelid), a.attname)
                           ELSE quote_ident(a.attname) END, ', ' ORDER BY a.attnum) END INTO columns
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.docs AND a.attnum > 0 AND NOT a.attisdropped;
  IF by_row THEN
    before := CASE WHEN columns IS NULL THEN '(SELECT OLD.*)' ELSE format('(SELECT %s FROM (SELECT OLD.*) AS %s)', columns, c.docs_alias) END;
    after := CASE WHEN columns IS NULL THEN '(SELECT NEW.*)' ELSE format('(SELECT %s FROM (SELECT NEW.*) AS %s)', columns, c.docs_alias) END;
  ELSE
    before := CASE WHEN columns IS NULL THEN 'old_rows' ELSE format('(SELECT %s FROM old_rows AS %s)', columns, c.docs_alias) END;
    after := CASE WHEN columns IS NULL THEN 'new_rows' ELSE format('(SELECT %s FROM new_rows AS %s)', columns, c.docs_alias) END;
  END IF;
  SELECT quote_ident(a.attname) INTO plain FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
    WHERE a.attrelid = c.docs AND a.attnum > 0 AND NOT a.attisdropped AND y.typcategory = 'S' AND y.typtype = 'b'
      AND c.filter = 'true' AND c.content = format('(%I)::text', a.attname) AND quote_ident(a.attname) <> c.id_column
      AND columns IS NULL AND NOT by_row;
  IF want = '{}' THEN      -- silence the functions first; the triggers go when their lock can be had
    spaces := '(SELECT NULL::bigint AS space_id WHERE false) s';
  ELSE
    -- a list of one is a constant to the planner, a function never is
    spaces := (SELECT format('(VALUES %s) AS s(space_id)', string_agg(format('(%s::bigint)', space), ', ')) FROM unnest(want) space);
  END IF;

  IF by_row THEN
    EXECUTE format(prelude, names[1], format($body$
#variable_conflict use_column
DECLARE reembed_before text; reembed_after text; reembed_was_in boolean := false; reembed_is_in boolean := false;
BEGIN
  BEGIN
    IF TG_OP <> 'INSERT' THEN
      SELECT (%2$s), coalesce((%3$s), false) INTO reembed_before, reembed_was_in FROM %7$s AS %4$s;
    END IF;
    IF TG_OP <> 'DELETE' THEN
      SELECT (%2$s), coalesce((%3$s), false) INTO reembed_after, reembed_is_in FROM %8$s AS %4$s;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.%5$s = NEW.%5$s THEN
      IF reembed_was_in = reembed_is_in AND (NOT reembed_is_in OR reembed_before IS NOT DISTINCT FROM reembed_after) THEN RETURN NULL; END IF;
      reembed_was_in := false;
      reembed_is_in := true;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'reembed: the content of a document of %% can''t be computed: %%', TG_RELID::regclass, SQLERRM;
    reembed_was_in := TG_OP <> 'INSERT';
    reembed_is_in := TG_OP <> 'DELETE';
  END;
  IF reembed_was_in THEN INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, OLD.%5$s FROM %6$s; END IF;
  IF reembed_is_in THEN INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, NEW.%5$s FROM %6$s; END IF;
  RETURN NULL;
END $body$, c.changes_table, c.content, c.filter, c.docs_alias, c.id_column, spaces, before, after));
  ELSE
    FOR t IN SELECT * FROM (VALUES
        (names[2], format('SELECT r.id FROM %3$s, LATERAL (SELECT %1$s AS id FROM new_rows AS %2$s) r', c.id_column, c.docs_alias, format(missing, c.id_type, c.id_column)),
                   format('SELECT %1$s AS id FROM %3$s AS %2$s WHERE %4$s', c.id_column, c.docs_alias, after, c.filter)),
        (names[4], format('SELECT r.id FROM %3$s, LATERAL (SELECT %1$s AS id FROM old_rows AS %2$s) r', c.id_column, c.docs_alias, format(missing, c.id_type, c.id_column)),
                   format('SELECT %1$s AS id FROM %3$s AS %2$s WHERE %4$s', c.id_column, c.docs_alias, before, c.filter)),
        (names[3], CASE WHEN plain IS NULL THEN
                     format('SELECT r.id FROM %3$s, LATERAL (SELECT %1$s AS id FROM new_rows AS %2$s UNION SELECT %1$s FROM old_rows AS %2$s) r',
                       c.id_column, c.docs_alias, format(missing, c.id_type, c.id_column))
                   ELSE format($q$SELECT coalesce(n.id, o.id) AS id
         FROM (SELECT r.* FROM (SELECT NULL::%3$s AS %1$s, 'after'::text AS %4$s) AS reembed_missing,
                 LATERAL (SELECT %1$s AS id, %5$s AS content FROM new_rows AS %2$s) r) n
         FULL JOIN (SELECT r.* FROM (SELECT NULL::%3$s AS %1$s, 'before'::text AS %4$s) AS reembed_missing,
                 LATERAL (SELECT %1$s AS id, %5$s AS content FROM old_rows AS %2$s) r) o ON n.id = o.id
         WHERE n.id IS NULL OR o.id IS NULL OR n.content IS DISTINCT FROM o.content$q$,
                       c.id_column, c.docs_alias, c.id_type, plain, c.content) END,
                   format($q$SELECT coalesce(n.id, o.id) AS id
         FROM (SELECT %1$s AS id, (%5$s) AS content, coalesce((%4$s), false) AS is_in FROM %3$s AS %2$s) n
         FULL JOIN (SELECT %1$s AS id, (%5$s) AS content, coalesce((%4$s), false) AS is_in FROM %6$s AS %2$s) o ON n.id = o.id
         WHERE (n.is_in OR o.is_in) AND (n.is_in IS DISTINCT FROM o.is_in OR n.content IS DISTINCT FROM o.content)$q$,
           c.id_column, c.docs_alias, after, c.filter, c.content, before))) AS v(name, every, changed) LOOP
      EXECUTE format(prelude, t.name, CASE WHEN plain IS NOT NULL OR (t.name <> names[3] AND c.filter = 'true') THEN format($body$
#variable_conflict use_column
BEGIN
  INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, x.id FROM (%2$s) x, %3$s;
  RETURN NULL;
END $body$, c.changes_table, t.every, spaces)
      ELSE format($body$
#variable_conflict use_column
DECLARE reembed_ids %5$s[];
BEGIN
  BEGIN
    SELECT array_agg(x.id) INTO reembed_ids FROM (%4$s LIMIT 10001) x;
    IF cardinality(reembed_ids) > 10000 THEN
      INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, x.id FROM (%4$s) x, %3$s;
      RETURN NULL;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'reembed: the content of a document of %% can''t be computed: %%', TG_RELID::regclass, SQLERRM;
    INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, x.id FROM (%2$s) x, %3$s;
    RETURN NULL;
  END;
  IF reembed_ids IS NOT NULL THEN
    INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, x.id FROM unnest(reembed_ids) AS x(id), %3$s;
  END IF;
  RETURN NULL;
END $body$, c.changes_table, t.every, spaces, t.changed, c.id_type) END);
    END LOOP;
  END IF;
  EXECUTE format(prelude, names[5], format($body$
BEGIN
  INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, NULL FROM %2$s;
  RETURN NULL;
END $body$, c.changes_table, spaces));
  FOR t IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = 'reembed_data' AND p.proname = ANY (names) LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', t.name);
  END LOOP;

  IF NOT want <@ c.captured THEN
    FOR t IN
      SELECT 'insert' AS kind, qualified AS relation, 'INSERT' AS event, 'REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT' AS manner, names[2] AS function WHERE NOT by_row
      UNION ALL SELECT 'update', qualified, 'UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT', names[3] WHERE NOT by_row
      UNION ALL SELECT 'delete', qualified, 'DELETE', 'REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT', names[4] WHERE NOT by_row
      UNION ALL SELECT 'capture', qualified, 'INSERT OR UPDATE OR DELETE', 'FOR EACH ROW', names[1] WHERE by_row
      -- a TRUNCATE aimed at a partition fires the partition's triggers only
      UNION ALL SELECT 'truncate', r.relid::regclass::text, 'TRUNCATE', 'FOR EACH STATEMENT', names[5]
                FROM (SELECT c.docs AS relid UNION SELECT relid FROM pg_partition_tree(c.docs)) r LOOP
      EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s %s EXECUTE FUNCTION reembed_data.%I()',
        reembed.object_name('reembed_' || t.kind || '_' || p_collection, ''), t.event, t.relation, t.manner, t.function);
      made := made || format('%s on %s', reembed.object_name('reembed_' || t.kind || '_' || p_collection, ''), t.relation);
    END LOOP;
    PERFORM reembed.drop_capture_triggers(p_collection, made);   -- of another table, or of another kind of table
    PERFORM reembed.fire_always(p_collection);
  ELSIF want = '{}' THEN
    BEGIN
      PERFORM set_config('lock_timeout', '200ms', true);
      PERFORM reembed.drop_capture_triggers(p_collection);
      FOR t IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE n.nspname = 'reembed_data' AND p.proname = ANY (names) LOOP
        EXECUTE format('DROP FUNCTION %s', t.name);
      END LOOP;
      PERFORM set_config('lock_timeout', waits, true);
    EXCEPTION WHEN lock_not_available OR query_canceled OR insufficient_privilege THEN
      NULL;                -- what stays behind records nothing and goes with the next change of capture
    END;
  END IF;

  -- what was recorded for a space that nobody keeps any more will never be read
  EXECUTE format('DELETE FROM %s WHERE NOT space_id = ANY ($1)', c.changes_table) USING want;
  UPDATE reembed.collection SET captured = want WHERE collection = p_collection;
  RETURN true;
END $capture$;

-- The triggers of a collection, on whatever table, but for those in p_keep. Another collection may have the same table.
CREATE FUNCTION reembed.drop_capture_triggers(p_collection text, p_keep text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE t record;
BEGIN
  FOR t IN SELECT tg.tgname, tg.tgrelid FROM pg_trigger tg JOIN pg_proc p ON p.oid = tg.tgfoid
           JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = 'reembed_data' AND p.proname = ANY (reembed.capture_functions(p_collection))
             AND tg.tgparentid = 0 AND NOT tg.tgisinternal
             AND NOT format('%s on %s', tg.tgname, tg.tgrelid::regclass) = ANY (p_keep) LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass);
  END LOOP;
END $$;

-- Also under session_replication_role = replica (logical replication, restores). Needs ownership; a role that may only
-- create triggers goes without, and the event says so.
CREATE FUNCTION reembed.fire_always(p_collection text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE t record;
BEGIN
  FOR t IN SELECT tg.tgname, tg.tgrelid FROM pg_trigger tg JOIN pg_proc p ON p.oid = tg.tgfoid
           JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = 'reembed_data' AND p.proname = ANY (reembed.capture_functions(p_collection))
             AND tg.tgparentid = 0 AND NOT tg.tgisinternal LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.tgrelid::regclass, t.tgname);
  END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
  PERFORM reembed.record_event('', 'triggers_not_always', jsonb_build_object('collection', p_collection));
END $$;

-- Waiting changes of a space, and the age of the oldest; counting stops at the limit, so that a view stays cheap.
CREATE FUNCTION reembed.pending_changes(p_collection text, p_space bigint, OUT pending bigint, OUT lag_secs double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE log text;
BEGIN
  SELECT changes_table INTO log FROM reembed.collection WHERE collection = p_collection;
  IF log IS NULL OR p_space IS NULL THEN pending := 0; lag_secs := 0; RETURN; END IF;
  EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM %s WHERE space_id = $1 LIMIT 100000) x', log) INTO pending USING p_space;
  EXECUTE format('SELECT coalesce(extract(epoch FROM clock_timestamp() - at), 0) FROM %s WHERE space_id = $1 ORDER BY seq LIMIT 1', log)
    INTO lag_secs USING p_space;
  lag_secs := greatest(coalesce(lag_secs, 0), 0);
END $$;
