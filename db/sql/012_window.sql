-- The way back where the application keeps the source itself: what a rollback would lose.

-- Documents that should have a vector and have none in the source. NULL: workers keep the source current, there is none,
-- this role may not look, the source's ids are of another type, or there are more than p_most documents by the server's
-- estimate and it is no moment to walk over them.
CREATE FUNCTION reembed.source_missing(p_id text, p_most bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c reembed.collection;
  s reembed.space;
  n bigint;
BEGIN
  SELECT k.* INTO c FROM reembed.migration m JOIN reembed.collection k USING (collection) WHERE m.migration_id = p_id;
  SELECT x.* INTO s FROM reembed.migration m JOIN reembed.space x ON x.space_id = m.source_space
   WHERE m.migration_id = p_id AND NOT x.kept AND NOT x.side;
  IF NOT FOUND OR (SELECT k.reltuples > p_most FROM pg_class k WHERE k.oid = c.docs) THEN RETURN NULL; END IF;
  IF to_regclass(s.table_name) = c.docs THEN
    EXECUTE format('SELECT count(*) FROM %1$s AS %2$s WHERE %3$s AND %2$s.%4$s IS NULL',
      c.docs_table, c.docs_alias, c.filter, s.vector_column) INTO n;
  ELSE
    EXECUTE format('SELECT count(*) FROM %1$s AS %2$s WHERE %3$s AND NOT EXISTS (SELECT 1 FROM %4$s reembed_s WHERE reembed_s.%5$s = %2$s.%6$s AND reembed_s.%7$s IS NOT NULL)',
      c.docs_table, c.docs_alias, c.filter, s.table_name, s.id_column, c.id_column, s.vector_column) INTO n;
  END IF;
  RETURN n;
EXCEPTION WHEN insufficient_privilege OR undefined_table OR undefined_column OR undefined_function THEN
  RETURN NULL;
END $$;

-- Those of them that had one when queries went over, or came later: what a rollback would make unfindable. The flip noted
-- how many there were then; where it did not, all count. NULL: not known.
CREATE FUNCTION reembed.source_lost(p_id text, p_most bigint DEFAULT NULL) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT greatest(reembed.source_missing(p_id, p_most) - coalesce((e.detail->>'source_missing')::bigint, 0), 0)
  FROM reembed.event e WHERE e.migration_id = p_id AND e.event = 'cutover' ORDER BY e.number DESC LIMIT 1
$$;

CREATE OR REPLACE FUNCTION reembed.rollback(id text, reason text DEFAULT NULL, force boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(rollback.id);
  to_state text := reembed.next_state(m, 'rollback');
  lost bigint;
BEGIN
  IF m.flipped_at IS NULL THEN
    PERFORM reembed.refuse(m.state, 'rolled_back', 'queries have not been cut over, they still go to the source');
  END IF;
  IF m.source_space IS NULL THEN
    PERFORM reembed.refuse(m.state, 'rolled_back', 'the collection had no vectors before; there is no source to go back to');
  END IF;
  IF m.finalized_at IS NOT NULL OR (m.state = 'completed' AND clock_timestamp() >= m.window_ends_at) THEN
    PERFORM reembed.refuse(m.state, 'rolled_back', format('the rollback window ended at %s; the source is no longer kept current',
      to_char(coalesce(m.finalized_at, m.window_ends_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')));
  END IF;
  lost := reembed.source_lost(rollback.id, CASE WHEN rollback.force THEN 2000000 END);    -- who forces it wants it now
  IF lost > 0 AND NOT rollback.force THEN
    PERFORM reembed.refuse(m.state, 'rolled_back', format(
      '%s documents that were written since queries went over have no vector in the source (%s), which the application keeps itself: no search would find them; let it fill them in, or go back nevertheless: reembed rollback %s --force',
      lost, (SELECT s.table_name || '.' || s.vector_column FROM reembed.space s WHERE s.space_id = m.source_space), m.migration_id));
  END IF;
  PERFORM reembed.route_to(m, m.source_space, 'rollback', jsonb_build_object('reason', rollback.reason, 'lost', lost));
  PERFORM reembed.enter_state(m, 'rollback', to_state, jsonb_build_object('reason', rollback.reason));
  UPDATE reembed.migration SET hold_flip = (m.state <> 'completed'), measured_at = NULL,
         completed_at = CASE WHEN m.state = 'completed' THEN completed_at END,
         window_ends_at = CASE WHEN m.state = 'completed' THEN clock_timestamp() END,
         reason = coalesce(rollback.reason, 'rolled back') WHERE number = m.number;
  RETURN reembed.state_json(rollback.id);
END $$;

-- One moment for both: the window is as long as it is said to be.
CREATE OR REPLACE FUNCTION reembed.open_window(m reembed.migration, p_operation text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  secs constant double precision := coalesce((m.config#>>'{backfill,rollback_window_secs}')::float8, 86400);
  moment timestamptz;
BEGIN
  PERFORM reembed.enter_state(m, p_operation, 'completed', jsonb_build_object('rollback_window_secs', secs));
  moment := clock_timestamp();
  UPDATE reembed.migration SET stage = NULL, reason = NULL, completed_at = moment, window_ends_at = moment + make_interval(secs => secs)
   WHERE number = m.number;
END $$;

REVOKE ALL ON FUNCTION reembed.source_missing(text, bigint), reembed.source_lost(text, bigint) FROM PUBLIC;
