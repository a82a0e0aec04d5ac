-- Cutover, rollback, finalize, dead letters: the operations that people and workers share.

-- One exact walk over both tables, or over the window lo < id <= hi of them: documents that should have a vector, that
-- have a current one, and that were skipped for their present content.
CREATE FUNCTION reembed.measure(p_id text, p_lo text DEFAULT NULL, p_hi text DEFAULT NULL,
    OUT eligible bigint, OUT current bigint, OUT excused bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration;
  c reembed.collection;
  s reembed.space;
BEGIN
  SELECT * INTO STRICT m FROM reembed.migration WHERE migration_id = p_id;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  SELECT * INTO STRICT s FROM reembed.space WHERE space_id = m.target_space;
  EXECUTE format($q$
    SELECT count(*), count(*) FILTER (WHERE t.content_hash = d.h),
           count(*) FILTER (WHERE t.content_hash IS DISTINCT FROM d.h AND f.kind = 'skipped')
    FROM (SELECT %2$s AS id, md5(coalesce(%4$s, ''))::uuid AS h FROM %1$s AS %3$s
          WHERE %5$s AND ($1 IS NULL OR %2$s > $1::%6$s) AND ($2 IS NULL OR %2$s <= $2::%6$s)) d
    LEFT JOIN %7$s t ON t.doc_id = d.id
    LEFT JOIN reembed.failure f ON f.migration = $3 AND f.space_id = $4 AND f.doc_id = d.id::text AND NOT f.retrying
          AND (f.content_hash IS NULL OR f.content_hash = d.h)$q$,
    c.docs_table, c.id_column, c.docs_alias, c.content, c.filter, c.id_type, s.table_name)
  INTO eligible, current, excused USING p_lo, p_hi, m.number, m.target_space;
END $$;

CREATE FUNCTION reembed.record_coverage(p_id text, p_eligible bigint, p_current bigint, p_excused bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE reembed.migration SET eligible = p_eligible, current = p_current, excused = p_excused, measured_at = clock_timestamp()
  WHERE migration_id = p_id
$$;

CREATE FUNCTION reembed.gates_json(p_id text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_agg(to_jsonb(g) - 'migration_id') FROM reembed.gates g WHERE g.migration_id = p_id
$$;

-- Flips now. Without `force` every gate but the approval must hold (calling this is the approval), with the coverage
-- measured exactly unless a worker has done so within the last minute.
CREATE FUNCTION reembed.cutover(id text, force boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(cutover.id);
  to_state text := reembed.next_state(m, 'cutover');
  x record;
  blocked text;
BEGIN
  IF m.flipped_at IS NOT NULL THEN RETURN reembed.state_json(cutover.id); END IF;     -- it happens once
  IF m.finalized_at IS NOT NULL OR m.target_space IS NULL THEN
    PERFORM reembed.refuse(m.state, 'flipped', 'it was rolled back and finalized, its target is gone; begin a new migration under another id');
  END IF;
  IF NOT m.counted THEN
    PERFORM reembed.refuse(m.state, 'flipped', 'the documents have not been counted yet');
  END IF;
  IF NOT force THEN
    IF m.measured_at IS NULL OR m.measured_at < clock_timestamp() - interval '1 minute' THEN
      SELECT * INTO x FROM reembed.measure(cutover.id);
      PERFORM reembed.record_coverage(cutover.id, x.eligible, x.current, x.excused);
    END IF;
    SELECT string_agg(format('%s (%s)', g.gate, g.text), '; ') INTO blocked
      FROM reembed.gates g WHERE g.migration_id = cutover.id AND NOT g.holds AND g.gate <> 'approval';
    IF blocked IS NOT NULL THEN
      RAISE EXCEPTION 'cutover of % is held back by: %', cutover.id, blocked USING ERRCODE = 'RE003',
        HINT = format('wait for the gates, or flip anyway: reembed cutover %s --force', cutover.id);
    END IF;
  END IF;
  PERFORM reembed.route_to(m, m.target_space, 'cutover', jsonb_build_object('forced', force, 'gates', reembed.gates_json(cutover.id)));
  UPDATE reembed.migration SET hold_flip = false WHERE number = m.number;
  IF m.state = 'rolled_back' THEN
    PERFORM reembed.open_window(m, 'complete');
    PERFORM reembed.install_capture(m.collection);
  ELSE
    PERFORM reembed.enter_state(m, 'flip', to_state);
  END IF;
  RETURN reembed.state_json(cutover.id);
END $$;

-- The automatic flip: the same, but the approval gate counts too. Returns true when queries go to the target; a gate
-- that does not hold is no error here.
CREATE FUNCTION reembed.try_cutover(p_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(p_id);
  x record;
BEGIN
  IF m.flipped_at IS NOT NULL THEN RETURN true; END IF;
  IF m.state <> 'in_progress' OR NOT m.counted OR EXISTS (SELECT 1 FROM reembed.gates g WHERE g.migration_id = p_id AND NOT g.holds) THEN
    RETURN false;
  END IF;
  IF m.measured_at IS NULL OR m.measured_at < clock_timestamp() - interval '1 minute' THEN
    SELECT * INTO x FROM reembed.measure(p_id);
    PERFORM reembed.record_coverage(p_id, x.eligible, x.current, x.excused);
    IF EXISTS (SELECT 1 FROM reembed.gates g WHERE g.migration_id = p_id AND NOT g.holds) THEN RETURN false; END IF;
  END IF;
  PERFORM reembed.cutover(p_id, false);
  RETURN true;
END $$;

CREATE FUNCTION reembed.rollback(id text, reason text DEFAULT NULL, force boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(rollback.id);
  to_state text := reembed.next_state(m, 'rollback');
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
  PERFORM reembed.route_to(m, m.source_space, 'rollback', jsonb_build_object('reason', rollback.reason));
  PERFORM reembed.enter_state(m, 'rollback', to_state, jsonb_build_object('reason', rollback.reason));
  UPDATE reembed.migration SET hold_flip = (m.state <> 'completed'), measured_at = NULL,
         completed_at = CASE WHEN m.state = 'completed' THEN completed_at END,
         window_ends_at = CASE WHEN m.state = 'completed' THEN clock_timestamp() END,
         reason = coalesce(rollback.reason, 'rolled back') WHERE number = m.number;
  RETURN reembed.state_json(rollback.id);
END $$;

-- Ends the window. Of a rolled back migration: drops the target. What is to be kept current afterwards is derived from
-- the states, so capture follows by itself.
CREATE FUNCTION reembed.finalize(id text, now boolean DEFAULT false, drop_source boolean DEFAULT false, detach boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(finalize.id);
  s reembed.space;
  waits constant text := current_setting('lock_timeout');
BEGIN
  PERFORM reembed.next_state(m, 'finalize');
  IF m.state = 'completed' AND m.finalized_at IS NULL AND clock_timestamp() < m.window_ends_at AND NOT finalize.now THEN
    PERFORM reembed.refuse(m.state, 'finalized', format('the rollback window is open until %s; to end it at once: reembed finalize %s --now',
      to_char(m.window_ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), m.migration_id));
  END IF;
  PERFORM set_config('lock_timeout', reembed.lock_timeout(m), true);
  IF m.finalized_at IS NULL THEN
    UPDATE reembed.migration SET finalized_at = clock_timestamp(), window_ends_at = least(window_ends_at, clock_timestamp()),
           updated_at = clock_timestamp() WHERE number = m.number;
  END IF;
  IF m.state = 'rolled_back' AND m.target_space IS NOT NULL THEN
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
    ELSE EXECUTE format('ALTER TABLE %s DROP COLUMN IF EXISTS %s', s.table_name, s.vector_column);
    END IF;
  END IF;
  IF finalize.detach THEN
    UPDATE reembed.collection SET detached = true WHERE collection = m.collection;
  END IF;
  PERFORM reembed.install_capture(m.collection);
  PERFORM set_config('lock_timeout', waits, true);
  PERFORM reembed.record_event(m.migration_id, 'finalize', jsonb_build_object('now', finalize.now, 'drop_source', finalize.drop_source,
    'dropped', CASE WHEN s.table_name IS NULL THEN NULL WHEN s.side THEN s.table_name ELSE s.table_name || '.' || s.vector_column END, 'detach', finalize.detach));
  RETURN reembed.state_json(finalize.id);
END $$;

-- Failed and skipped documents are tried again: they go into the change log like an edit. No ids: all of them.
CREATE FUNCTION reembed.retry(id text, doc_ids text[] DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(retry.id);
  c reembed.collection;
  n bigint;
BEGIN
  IF m.state IN ('planned', 'cancelled') OR m.target_space IS NULL THEN
    PERFORM reembed.refuse(m.state, 'in_progress', 'there is nothing to retry in this state');
  END IF;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  EXECUTE format($q$
    WITH again AS (
      UPDATE reembed.failure f SET retrying = true
      WHERE f.migration = $1 AND NOT f.retrying AND f.space_id = ANY ($3) AND ($2 IS NULL OR cardinality($2) = 0 OR f.doc_id = ANY ($2))
      RETURNING f.space_id, f.doc_id)
    INSERT INTO %s (space_id, doc_id) SELECT space_id, doc_id::%s FROM again$q$, c.changes_table, c.id_type)
    USING m.number, retry.doc_ids, c.captured;
  GET DIAGNOSTICS n = ROW_COUNT;
  UPDATE reembed.migration SET sweep_clean = false, updated_at = clock_timestamp() WHERE number = m.number;
  PERFORM reembed.record_event(m.migration_id, 'retry', jsonb_build_object('documents', n));
  RETURN jsonb_build_object('documents', n, 'state', reembed.state_json(retry.id));
END $$;

-- Takes documents out by hand. A document that already has a current vector needs no skip and is left alone. One that
-- the backfill has still to meet counts as skipped at once (`ahead`); one that failed counts as skipped instead; for any
-- other the backfill's work is done, or it was inserted later and is none of its figures.
CREATE FUNCTION reembed.skip(id text, doc_ids text[], reason text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(skip.id);
  c reembed.collection;
  s reembed.space;
  n bigint;
BEGIN
  IF m.state IN ('planned', 'cancelled') OR m.target_space IS NULL THEN
    PERFORM reembed.refuse(m.state, 'in_progress', 'there is nothing to skip in this state');
  END IF;
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  SELECT * INTO STRICT s FROM reembed.space WHERE space_id = m.target_space;
  -- take the lease of every chunk that has such a document ahead of it: this waits for a write in flight, and what was
  -- read before is fenced, so that no document is counted twice
  EXECUTE format($q$
    UPDATE reembed.chunk k SET state = 0, owner = NULL, lease_until = NULL
    WHERE k.migration = $1 AND k.state = 1 AND EXISTS (
      SELECT 1 FROM unnest($2::%1$s[]) AS u(id) WHERE (k.cursor IS NULL OR u.id > k.cursor::%1$s%2$s) AND u.id <= k.hi::%1$s%2$s)$q$,
    c.id_type, c.id_collation)
    USING m.number, skip.doc_ids;
  EXECUTE format($q$
    INSERT INTO reembed.failure AS f (migration, space_id, doc_id, content_hash, kind, reason, detail, attempts, ahead)
    SELECT $1, $2, d.id::text, NULL, 'skipped', 'manual_skip', $4, 0,
           coalesce(NOT $7 AND d.id <= $5::%6$s AND ($6 IS NULL OR d.id > $6::%6$s), false)     -- not cut yet
           OR EXISTS (SELECT 1 FROM reembed.chunk k WHERE k.migration = $1 AND k.state < 2
                      AND (k.cursor IS NULL OR d.id > k.cursor::%6$s) AND d.id <= k.hi::%6$s)
    FROM (SELECT %2$s AS id, md5(coalesce(%4$s, ''))::uuid AS h FROM %1$s AS %3$s
          WHERE %3$s.%2$s = ANY ($3::%6$s[]) AND %5$s) d
    WHERE NOT EXISTS (SELECT 1 FROM %7$s t WHERE t.doc_id = d.id AND t.content_hash = d.h)
    ORDER BY d.id
    ON CONFLICT (migration, space_id, doc_id) DO UPDATE
       SET kind = 'skipped', reason = 'manual_skip', detail = excluded.detail, content_hash = NULL, retrying = false, last_at = now(),
           ahead = excluded.ahead AND NOT f.seen$q$,
    c.docs_table, c.id_column, c.docs_alias, c.content, c.filter, c.id_type, s.table_name)
    USING m.number, m.target_space, skip.doc_ids, skip.reason, m.bound, m.cut_upto, m.cut_done;
  GET DIAGNOSTICS n = ROW_COUNT;
  UPDATE reembed.migration SET updated_at = clock_timestamp() WHERE number = m.number;
  PERFORM reembed.record_event(m.migration_id, 'skip', jsonb_build_object('documents', n, 'reason', skip.reason));
  RETURN jsonb_build_object('documents', n, 'state', reembed.state_json(skip.id));
END $$;

-- `run --until`: a random share of the documents goes ahead of the backfill, by way of the change log, so that an early
-- look at both models is unbiased. By a hash of id and migration: a larger share later holds the smaller one.
CREATE FUNCTION reembed.sample_ahead(p_id text, p_share double precision) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration := reembed.lock_migration(p_id);
  c reembed.collection;
  s reembed.space;
  n bigint;
BEGIN
  SELECT * INTO STRICT c FROM reembed.collection WHERE collection = m.collection;
  SELECT * INTO STRICT s FROM reembed.space WHERE space_id = m.target_space;
  EXECUTE format($q$
    INSERT INTO %8$s (space_id, doc_id)
    SELECT $1, d.id FROM (SELECT %2$s AS id, md5(coalesce(%4$s, ''))::uuid AS h FROM %1$s AS %3$s
      WHERE %5$s AND ('x' || left(md5(%2$s::text || ' ' || $2), 8))::bit(32)::bigint < $3 * 4294967296) d
    WHERE NOT EXISTS (SELECT 1 FROM %7$s t WHERE t.doc_id = d.id AND t.content_hash = d.h)
      AND NOT EXISTS (SELECT 1 FROM %8$s k WHERE k.space_id = $1 AND k.doc_id = d.id)
    ORDER BY d.id$q$,
    c.docs_table, c.id_column, c.docs_alias, c.content, c.filter, c.id_type, s.table_name, c.changes_table)
  USING m.target_space, p_id, p_share;
  GET DIAGNOSTICS n = ROW_COUNT;
  PERFORM reembed.record_event(p_id, 'sample', jsonb_build_object('share', p_share, 'documents', n));
  RETURN n;
END $$;

-- One worker at a time builds the index, looks at the gates, sweeps and completes. Claims or renews; false: another has it.
CREATE FUNCTION reembed.claim_finish(p_id text, p_worker uuid, p_lease interval) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE reembed.migration SET finisher = p_worker, finisher_until = clock_timestamp() + p_lease
   WHERE migration_id = p_id AND (finisher IS NULL OR finisher = p_worker OR finisher_until < clock_timestamp());
  RETURN FOUND;
END $$;

-- What a whole exact sweep found: the figures of the coverage gate, and whether nothing was left to repair. Fenced by
-- the finisher's lease, so that a late sweep can't hide what was asked for since.
CREATE FUNCTION reembed.record_sweep(p_id text, p_worker uuid, p_eligible bigint, p_current bigint, p_excused bigint, p_clean boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE reembed.migration SET eligible = p_eligible, current = p_current, excused = p_excused, measured_at = clock_timestamp(),
         sweep_clean = p_clean
   WHERE migration_id = p_id AND finisher = p_worker;
  RETURN FOUND;
END $$;

CREATE FUNCTION reembed.enter_stage(p_id text, p_stage text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE reembed.migration SET stage = p_stage, updated_at = clock_timestamp()
   WHERE migration_id = p_id AND state = 'in_progress' AND stage IS DISTINCT FROM p_stage
$$;

CREATE FUNCTION reembed.index_ready(p_id text, p_index text, p_seconds double precision) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE reembed.space s SET index_name = p_index FROM reembed.migration m WHERE m.migration_id = p_id AND s.space_id = m.target_space;
  UPDATE reembed.migration SET index_done = NULL, updated_at = clock_timestamp() WHERE migration_id = p_id;
  SELECT reembed.record_event(p_id, 'indexed', jsonb_build_object('index', p_index, 'seconds', p_seconds));
$$;

-- A worker's sign of life; returns what it must know, so that pause and cancel are obeyed within a beat.
CREATE FUNCTION reembed.heartbeat(p_worker uuid, p_id text, p_host text, p_pid int, p_in_flight bigint, p_processed bigint,
    p_tokens bigint, p_requests bigint, p_note text, p_stopped boolean,
    OUT state text, OUT stage text, OUT flipped boolean, OUT finalized boolean, OUT window_open boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE t timestamptz := clock_timestamp();
BEGIN
  INSERT INTO reembed.worker AS w (worker_id, migration_id, host, pid, in_flight, processed, tokens, requests, note, stopped_at)
  VALUES (p_worker, p_id, p_host, p_pid, p_in_flight, p_processed, p_tokens, p_requests, p_note, CASE WHEN p_stopped THEN t END)
  ON CONFLICT (worker_id) DO UPDATE SET heartbeat_at = t, in_flight = p_in_flight, processed = p_processed,
     tokens = p_tokens, requests = p_requests, note = p_note, stopped_at = CASE WHEN p_stopped THEN t END;
  IF p_stopped THEN
    UPDATE reembed.migration SET finisher = NULL, finisher_until = NULL WHERE migration_id = p_id AND finisher = p_worker;
  END IF;
  -- active time: between two beats of whatever processes, in progress only; a gap is a time with nobody alive
  UPDATE reembed.migration m SET beat_at = t,
     active_ms = active_ms + CASE WHEN m.state = 'in_progress' AND m.beat_at > t - interval '5 seconds' AND m.beat_at < t
                                  THEN (extract(epoch FROM t - m.beat_at) * 1000)::bigint ELSE 0 END
   WHERE m.migration_id = p_id
  RETURNING m.state, m.stage, m.flipped_at IS NOT NULL, m.finalized_at IS NOT NULL, coalesce(t < m.window_ends_at, false)
       INTO state, stage, flipped, finalized, window_open;
END $$;
