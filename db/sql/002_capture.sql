-- Change capture: triggers on the documents table write the ids of changed documents into an append-only change log,
-- one row for each space that must hear of it. An application never waits for a worker and cannot deadlock with one.

-- A name below 64 bytes for an object of a collection.
CREATE FUNCTION reembed.object_name(collection text, suffix text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN octet_length(collection || suffix) <= 63 THEN collection || suffix
              ELSE left(collection, greatest(1, 40 - octet_length(suffix))) || '_' || left(md5(collection), 8) || suffix END
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
-- Partitioned tables: row triggers, since statement triggers don't fire for writes aimed at a partition. No UPDATE OF
-- lists: the application's own BEFORE triggers change content too. Content is compared, so unrelated updates queue
-- nothing. The FULL JOIN is on purpose: a changed key gives both ids, and it can only be hashed or merged (plpgsql
-- keeps the plan of its first call; an inner join would become a nested loop and a later bulk update quadratic).
CREATE FUNCTION reembed.install_capture(p_collection text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $capture$
DECLARE
  c reembed.collection;
  want bigint[];
  partitioned boolean;
  base text;
  spaces text;
  qualified text;
  prelude constant text := 'LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS ';
  child oid;
BEGIN
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = p_collection FOR UPDATE;
  want := reembed.spaces_to_capture(p_collection);
  IF want = c.captured THEN RETURN false; END IF;

  base := reembed.object_name(p_collection, '');
  SELECT relkind = 'p' INTO partitioned FROM pg_class WHERE oid = c.docs;
  IF NOT FOUND THEN        -- the documents table is gone: nothing left to capture
    UPDATE reembed.collection SET captured = '{}' WHERE collection = p_collection;
    RETURN true;
  END IF;
  qualified := c.docs::regclass::text;
  IF NOT want <@ c.captured THEN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', qualified);
  END IF;

  IF want = '{}' THEN      -- silence the functions first; the triggers go when their lock can be had
    spaces := '(SELECT NULL::bigint AS space_id WHERE false) s';
  ELSE
    spaces := format('unnest(%L::bigint[]) AS s(space_id)', want);
  END IF;

  IF partitioned THEN
    EXECUTE format('CREATE OR REPLACE FUNCTION reembed_data.%I() RETURNS trigger ' || prelude || '%L',
      reembed.object_name(base, '_capture'), format($body$
#variable_conflict use_column
DECLARE reembed_before text; reembed_after text; reembed_was_in boolean := false; reembed_is_in boolean := false;
BEGIN
  IF TG_OP <> 'INSERT' THEN
    SELECT (%2$s), (%3$s) INTO reembed_before, reembed_was_in FROM (SELECT OLD.*) AS %4$s;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    SELECT (%2$s), (%3$s) INTO reembed_after, reembed_is_in FROM (SELECT NEW.*) AS %4$s;
  END IF;
  reembed_was_in := coalesce(reembed_was_in, false);
  reembed_is_in := coalesce(reembed_is_in, false);
  IF TG_OP = 'UPDATE' AND OLD.%5$s = NEW.%5$s THEN
    IF reembed_was_in = reembed_is_in AND (NOT reembed_is_in OR reembed_before IS NOT DISTINCT FROM reembed_after) THEN RETURN NULL; END IF;
    INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, NEW.%5$s FROM %6$s;
    RETURN NULL;
  END IF;
  IF reembed_was_in THEN INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, OLD.%5$s FROM %6$s; END IF;
  IF reembed_is_in THEN INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, NEW.%5$s FROM %6$s; END IF;
  RETURN NULL;
END $body$, c.changes_table, c.content, c.filter, c.docs_alias, c.id_column, spaces));
  ELSE
    EXECUTE format('CREATE OR REPLACE FUNCTION reembed_data.%I() RETURNS trigger ' || prelude || '%L',
      reembed.object_name(base, '_capture_insert'), format($body$
BEGIN
  INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, n.id FROM (SELECT %5$s AS id FROM new_rows AS %4$s WHERE %3$s) n, %6$s;
  RETURN NULL;
END $body$, c.changes_table, c.content, c.filter, c.docs_alias, c.id_column, spaces));
    EXECUTE format('CREATE OR REPLACE FUNCTION reembed_data.%I() RETURNS trigger ' || prelude || '%L',
      reembed.object_name(base, '_capture_delete'), format($body$
BEGIN
  INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, o.id FROM (SELECT %5$s AS id FROM old_rows AS %4$s WHERE %3$s) o, %6$s;
  RETURN NULL;
END $body$, c.changes_table, c.content, c.filter, c.docs_alias, c.id_column, spaces));
    EXECUTE format('CREATE OR REPLACE FUNCTION reembed_data.%I() RETURNS trigger ' || prelude || '%L',
      reembed.object_name(base, '_capture_update'), format($body$
BEGIN
  INSERT INTO %1$s (space_id, doc_id)
  SELECT s.space_id, coalesce(n.id, o.id)
  FROM (SELECT %5$s AS id, (%2$s) AS content, coalesce((%3$s), false) AS is_in FROM new_rows AS %4$s) n
  FULL JOIN (SELECT %5$s AS id, (%2$s) AS content, coalesce((%3$s), false) AS is_in FROM old_rows AS %4$s) o
    ON n.id = o.id, %6$s
  WHERE (n.is_in OR o.is_in)
    AND (n.is_in IS DISTINCT FROM o.is_in OR n.content IS DISTINCT FROM o.content);
  RETURN NULL;
END $body$, c.changes_table, c.content, c.filter, c.docs_alias, c.id_column, spaces));
  END IF;
  EXECUTE format('CREATE OR REPLACE FUNCTION reembed_data.%I() RETURNS trigger ' || prelude || '%L',
    reembed.object_name(base, '_capture_truncate'), format($body$
BEGIN
  INSERT INTO %1$s (space_id, doc_id) SELECT s.space_id, NULL FROM %2$s;
  RETURN NULL;
END $body$, c.changes_table, spaces));

  IF NOT want <@ c.captured THEN
    PERFORM reembed.drop_capture_triggers(c.docs);
    IF partitioned THEN
      EXECUTE format('CREATE TRIGGER reembed_capture AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION reembed_data.%I()',
        qualified, reembed.object_name(base, '_capture'));
      -- a TRUNCATE aimed at a partition fires the partition's triggers only
      FOR child IN SELECT relid FROM pg_partition_tree(c.docs) LOOP
        EXECUTE format('CREATE TRIGGER reembed_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION reembed_data.%I()',
          child::regclass, reembed.object_name(base, '_capture_truncate'));
      END LOOP;
    ELSE
      EXECUTE format('CREATE TRIGGER reembed_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION reembed_data.%I()',
        qualified, reembed.object_name(base, '_capture_insert'));
      EXECUTE format('CREATE TRIGGER reembed_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION reembed_data.%I()',
        qualified, reembed.object_name(base, '_capture_update'));
      EXECUTE format('CREATE TRIGGER reembed_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION reembed_data.%I()',
        qualified, reembed.object_name(base, '_capture_delete'));
      EXECUTE format('CREATE TRIGGER reembed_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION reembed_data.%I()',
        qualified, reembed.object_name(base, '_capture_truncate'));
    END IF;
    PERFORM reembed.fire_always(c.docs);
  ELSIF want = '{}' THEN
    BEGIN
      PERFORM set_config('lock_timeout', '200ms', true);
      PERFORM reembed.drop_capture_triggers(c.docs);
      EXECUTE (SELECT coalesce(string_agg(format('DROP FUNCTION %s', p.oid::regprocedure), '; '), 'SELECT 1')
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE n.nspname = 'reembed_data' AND p.prorettype = 'trigger'::regtype
                 AND p.proname = ANY (ARRAY[reembed.object_name(base, '_capture'), reembed.object_name(base, '_capture_insert'),
                       reembed.object_name(base, '_capture_update'), reembed.object_name(base, '_capture_delete'),
                       reembed.object_name(base, '_capture_truncate')]));
    EXCEPTION WHEN lock_not_available OR query_canceled THEN
      NULL;                -- what stays behind records nothing and goes with the next change of capture
    END;
  END IF;

  -- what was recorded for a space that nobody keeps any more will never be read
  EXECUTE format('DELETE FROM %s WHERE NOT space_id = ANY ($1)', c.changes_table) USING want;
  UPDATE reembed.collection SET captured = want WHERE collection = p_collection;
  RETURN true;
END $capture$;

CREATE FUNCTION reembed.drop_capture_triggers(p_docs oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE t record;
BEGIN
  FOR t IN SELECT tg.tgname, tg.tgrelid FROM pg_trigger tg JOIN pg_proc p ON p.oid = tg.tgfoid
           JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = 'reembed_data' AND tg.tgname LIKE 'reembed\_%' AND tg.tgparentid = 0 AND NOT tg.tgisinternal
             AND (tg.tgrelid = p_docs OR tg.tgrelid IN (SELECT relid FROM pg_partition_tree(p_docs))) LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass);
  END LOOP;
END $$;

-- Also under session_replication_role = replica (logical replication, restores). Needs ownership; a role that may only
-- create triggers goes without, and the event says so.
CREATE FUNCTION reembed.fire_always(p_docs oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE t record;
BEGIN
  FOR t IN SELECT tg.tgname, tg.tgrelid FROM pg_trigger tg
           WHERE tg.tgname LIKE 'reembed\_%' AND NOT tg.tgisinternal AND tg.tgparentid = 0
             AND (tg.tgrelid = p_docs OR tg.tgrelid IN (SELECT relid FROM pg_partition_tree(p_docs))) LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.tgrelid::regclass, t.tgname);
  END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
  PERFORM reembed.record_event('', 'triggers_not_always', jsonb_build_object('table', p_docs::regclass::text));
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
