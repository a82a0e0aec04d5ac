-- Search where the new vectors are placed in a column of the documents: there, and by whatever name it has now.

-- The space that stands for the target of a migration in searches. A side table whose vectors are in a column by now has
-- no index of its own.
CREATE FUNCTION reembed.searched_target(m reembed.migration) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((SELECT p.column_space FROM reembed.placement p WHERE p.migration = m.number AND p.checked), m.target_space)
$$;

-- The name that a column has now, after it had p_column in the snapshot that the caller reads by, and keeps until the end of
-- the transaction. A statement that began before a cutover or rollback and searches after it would else look into the other
-- column: names are looked up in the present catalog, whatever the snapshot.
CREATE FUNCTION reembed.column_name_now(p_table text, p_column text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  relation constant oid := to_regclass(p_table);
  number smallint;
BEGIN
  SELECT a.attnum INTO number FROM pg_attribute a WHERE a.attrelid = relation AND quote_ident(a.attname) = p_column AND NOT a.attisdropped;
  EXECUTE format('SELECT FROM %s LIMIT 0', p_table);       -- takes the lock that an exchange of names waits for
  RETURN quote_ident((pg_identify_object_as_address('pg_class'::regclass, relation, number)).object_names[3]);
END $$;

-- See 008_fused.sql.
DO $install$
BEGIN
  EXECUTE format($create$
CREATE OR REPLACE FUNCTION reembed.search_fused(collection text, source_query %1$s.vector, target_query %1$s.vector, k int DEFAULT 10)
RETURNS TABLE (doc_id text, score double precision, model text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $search$
DECLARE
  m reembed.migration;
  source reembed.space;
  target reembed.space;
  s record;
  covered text := 'false';
  near text := 'SELECT NULL::text AS id, NULL::bigint AS place, NULL::boolean AS covered WHERE false';
  hits text := 'SELECT NULL::text AS id, NULL::bigint AS place WHERE false';
  depth constant int := greatest(search_fused.k, 60);   -- enough of the source's order to tell the share of covered ones
  loaded constant int := coalesce(%1$s.vector_dims(source_query), %1$s.vector_dims(target_query));  -- the extension, with its settings
  reach constant text := current_setting('hnsw.ef_search', true);
  further constant text := current_setting('hnsw.iterative_scan', true);     -- pgvector 0.8
BEGIN
  SELECT * INTO m FROM reembed.migration x WHERE x.collection = search_fused.collection AND x.state <> 'planned' ORDER BY x.number DESC LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'collection %% has no migration that was started', quote_literal(search_fused.collection) USING ERRCODE = 'RE002',
      HINT = 'reembed.search searches the space that queries go to';
  END IF;
  SELECT * INTO target FROM reembed.space x WHERE x.space_id = reembed.searched_target(m) AND target_query IS NOT NULL;
  SELECT * INTO source FROM reembed.space x WHERE x.space_id = m.source_space AND source_query IS NOT NULL;
  IF NOT source.side THEN source.vector_column := reembed.column_name_now(source.table_name, source.vector_column); END IF;
  IF NOT target.side THEN target.vector_column := reembed.column_name_now(target.table_name, target.vector_column); END IF;
  FOR s IN SELECT * FROM (VALUES ('source', source.dimensions, source.model, %1$s.vector_dims(source_query)),
                                 ('target', target.dimensions, target.model, %1$s.vector_dims(target_query))) v(side, wanted, model, given)
           WHERE given <> wanted LOOP
    RAISE EXCEPTION 'the %% query has %% dimensions, %% has %%', s.side, s.given, s.model, s.wanted USING ERRCODE = 'RE010',
      HINT = format('embed it with %%s', s.model);
  END LOOP;
  IF target.space_id IS NOT NULL THEN
    hits := format('SELECT t.%%1$s::text AS id, row_number() OVER (ORDER BY t.distance) AS place FROM
      (SELECT x.%%1$s, x.%%2$s OPERATOR(%1$s.%%4$s) $2::%1$s.%%5$s AS distance FROM %%3$s x WHERE x.%%2$s IS NOT NULL ORDER BY 2 LIMIT $3) t',
      target.id_column, target.vector_column, target.table_name, reembed.metric_operator(target.metric), target.vector_type);
    covered := format('EXISTS (SELECT 1 FROM %%s y WHERE y.%%s = t.id AND y.%%s IS NOT NULL)', target.table_name, target.id_column, target.vector_column);
  END IF;
  IF source.space_id IS NOT NULL THEN
    near := format('SELECT t.id::text, row_number() OVER (ORDER BY t.distance) AS place, %%6$s AS covered FROM
      (SELECT x.%%1$s AS id, x.%%2$s OPERATOR(%1$s.%%4$s) $1::%1$s.%%5$s AS distance FROM %%3$s x WHERE x.%%2$s IS NOT NULL ORDER BY 2 LIMIT $4) t',
      source.id_column, source.vector_column, source.table_name, reembed.metric_operator(source.metric), source.vector_type, covered);
  END IF;
  -- an HNSW scan returns at most ef_search rows, and goes on behind them only when it is told to
  IF depth > reach::int THEN PERFORM set_config('hnsw.ef_search', least(depth, 1000)::text, true); END IF;
  IF further IS NOT NULL THEN PERFORM set_config('hnsw.iterative_scan', 'strict_order', true); END IF;
  RETURN QUERY EXECUTE format('WITH near AS MATERIALIZED (%%s), hits AS MATERIALIZED (%%s),
      density AS (SELECT coalesce(greatest(count(*) FILTER (WHERE near.covered), 1)::float8 / nullif(count(*), 0), 1) AS share FROM near)
    SELECT f.id, f.score, f.model FROM (
      SELECT near.id, 1 / (60 + near.place)::float8 AS score, %%L::text AS model, near.place FROM near WHERE NOT near.covered
      UNION ALL
      SELECT hits.id, 1 / (61 + (hits.place - 1) / density.share), %%L, 0 FROM hits, density) f
    ORDER BY f.score DESC, f.place, f.id LIMIT $3', near, hits, source.model, target.model)
    USING source_query, target_query, k, depth;
  IF depth > reach::int THEN PERFORM set_config('hnsw.ef_search', reach, true); END IF;
  IF further IS NOT NULL THEN PERFORM set_config('hnsw.iterative_scan', further, true); END IF;
END $search$ $create$, reembed.vector_schema());
END $install$;

-- See 010_prewarm.sql.
-- With pg_prewarm where the extension is installed in this database, else by searching: two hundred searches from all
-- over the space touch the pages that most others pass through. NULL: there is no index. Takes no lock that anybody
-- waits for; no more than half of the buffers is filled.
CREATE OR REPLACE FUNCTION reembed.prewarm(p_id text, OUT method text, OUT pages bigint)
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
  SELECT * INTO s FROM reembed.space WHERE space_id = reembed.searched_target(m);
  index := to_regclass((SELECT x.index_name FROM reembed.space x WHERE x.space_id = m.target_space));
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

REVOKE ALL ON FUNCTION reembed.searched_target(reembed.migration), reembed.column_name_now(text, text) FROM PUBLIC;
