-- The new index in memory before queries go to it: the first ones would read it page by page from the disk otherwise.

-- With pg_prewarm where the extension is installed in this database, else by searching: two hundred searches from all
-- over the space touch the pages that most others pass through. NULL: there is no index. Takes no lock that anybody
-- waits for; no more than half of the buffers is filled.
CREATE FUNCTION reembed.prewarm(p_id text, OUT method text, OUT pages bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m reembed.migration;
  s reembed.space;
  index oid;
  began constant timestamptz := clock_timestamp();
  most constant bigint := (SELECT setting::bigint / 2 FROM pg_settings WHERE name = 'shared_buffers');
  blocks bigint;
  extension text;
  v text;
BEGIN
  SELECT * INTO m FROM reembed.migration WHERE migration_id = p_id;
  SELECT * INTO s FROM reembed.space WHERE space_id = m.target_space;
  index := to_regclass(s.index_name);
  IF index IS NULL OR m.flipped_at IS NOT NULL THEN RETURN; END IF;
  blocks := pg_relation_size(index) / current_setting('block_size')::bigint;
  pages := 0;
  SELECT quote_ident(n.nspname) INTO extension FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_prewarm';
  IF extension IS NOT NULL AND blocks > 0 THEN
    BEGIN
      EXECUTE format('SELECT %s.pg_prewarm($1::regclass, ''buffer'', ''main'', 0, $2)', extension) INTO pages USING index, least(blocks, most) - 1;
      method := 'pg_prewarm';
    EXCEPTION WHEN insufficient_privilege THEN
      extension := NULL;
    END;
  END IF;
  IF extension IS NULL THEN
    method := 'searches';
    PERFORM set_config('enable_seqscan', 'off', true);
    EXECUTE format('SELECT %s.vector_dims(%s::%s.%s) FROM %s WHERE %s IS NOT NULL LIMIT 1', reembed.vector_schema(), s.vector_column,
      reembed.vector_schema(), s.vector_type, s.table_name, s.vector_column);   -- the extension, with its settings
    PERFORM set_config('hnsw.ef_search', '200', true);
    FOR v IN EXECUTE format('SELECT %1$s::text FROM %2$s TABLESAMPLE SYSTEM (%3$s) WHERE %1$s IS NOT NULL LIMIT 200', s.vector_column, s.table_name,
        (SELECT least(100, greatest(0.01, 40000 / greatest(reltuples, 1)))::numeric(6, 3) FROM pg_class WHERE oid = to_regclass(s.table_name))) LOOP
      EXIT WHEN clock_timestamp() > began + interval '5 seconds';
      EXECUTE format('SELECT count(*) FROM (SELECT %s FROM %s ORDER BY %s OPERATOR(%s.%s) %L::%s.%s LIMIT 100) x', s.id_column, s.table_name,
        s.vector_column, reembed.vector_schema(), reembed.metric_operator(s.metric), v, reembed.vector_schema(), s.vector_type);
      pages := pages + 1;
    END LOOP;
  END IF;
  PERFORM reembed.record_event(p_id, 'prewarm', jsonb_build_object('method', method,
    CASE method WHEN 'searches' THEN 'searches' ELSE 'pages' END, pages, 'index_pages', blocks,
    'seconds', round(extract(epoch FROM clock_timestamp() - began), 3)));
END $$;
REVOKE ALL ON FUNCTION reembed.prewarm(text) FROM PUBLIC;
