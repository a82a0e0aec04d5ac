-- What a migration was expected to take, kept when it begins, and beside it what it took, when it is completed.

-- Once a migration. The server's place in its WAL is noted with it: what others write meanwhile is counted too.
CREATE FUNCTION reembed.record_forecast(p_id text, p_forecast jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT 1 FROM reembed.migration WHERE migration_id = p_id FOR NO KEY UPDATE;    -- one process at a time
  SELECT reembed.record_event(p_id, 'forecast', p_forecast || jsonb_build_object('wal_lsn', pg_current_wal_lsn()))
  WHERE NOT EXISTS (SELECT 1 FROM reembed.event WHERE migration_id = p_id AND event = 'forecast')
$$;

-- What a migration has taken until now, by the names of the forecast.
CREATE FUNCTION reembed.taken(p_id text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_build_object('documents', p.processed, 'tokens', p.tokens, 'requests', p.requests, 'cost', p.cost,
    'seconds', extract(epoch FROM coalesce(m.completed_at, clock_timestamp()) - m.started_at)::float8,
    'table_bytes', pg_table_size(to_regclass(s.table_name))
      + (SELECT coalesce(sum(pg_relation_size(i.indexrelid)), 0) FROM pg_index i
         WHERE i.indrelid = to_regclass(s.table_name) AND i.indexrelid IS DISTINCT FROM to_regclass(s.index_name)),
    'index_bytes', CASE WHEN s.index_name IS NOT NULL THEN pg_relation_size(to_regclass(s.index_name)) ELSE 0 END,
    'index_seconds', (SELECT sum((e.detail->>'seconds')::float8) FROM reembed.event e WHERE e.migration_id = p_id AND e.event = 'indexed'),
    'wal_bytes', (SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), (e.detail->>'wal_lsn')::pg_lsn) FROM reembed.event e
                  WHERE e.migration_id = p_id AND e.event = 'forecast' AND NOT pg_is_in_recovery()))
  FROM reembed.progress p JOIN reembed.migration m USING (migration_id) LEFT JOIN reembed.space s ON s.space_id = m.target_space
  WHERE p.migration_id = p_id
$$;

-- Of a completed migration, as soon as every worker that is alive has reported since. True: there is nothing to wait for.
CREATE FUNCTION reembed.record_outcome(p_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration;
  f jsonb;
BEGIN
  SELECT * INTO STRICT m FROM reembed.migration WHERE migration_id = p_id FOR NO KEY UPDATE;
  SELECT detail INTO f FROM reembed.event WHERE migration_id = p_id AND event = 'forecast' ORDER BY number LIMIT 1;
  IF f IS NULL OR m.completed_at IS NULL OR EXISTS (SELECT 1 FROM reembed.event WHERE migration_id = p_id AND event = 'outcome') THEN
    RETURN true;
  END IF;
  IF EXISTS (SELECT 1 FROM reembed.workers w WHERE w.migration_id = p_id AND w.alive AND w.heartbeat_at < m.completed_at) THEN
    RETURN false;
  END IF;
  PERFORM reembed.record_event(p_id, 'outcome', jsonb_build_object('forecast', f - 'wal_lsn', 'actual', reembed.taken(p_id)));
  RETURN true;
END $$;

REVOKE ALL ON FUNCTION reembed.record_forecast(text, jsonb), reembed.taken(text), reembed.record_outcome(text) FROM PUBLIC;
