-- Search in the routed space, and the two usual sets of rights.

-- Through the stable view, so with its rights and its index. `distance` is the operator's value of the space's metric.
-- pgvector may live in any schema, hence the DO block around the definition.
DO $install$
BEGIN
  EXECUTE format($create$
CREATE FUNCTION reembed.search(collection text, query %1$s.vector, k int DEFAULT 10)
RETURNS TABLE (doc_id text, distance double precision, model text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $search$
DECLARE
  r record;
  given constant int := %1$s.vector_dims(query);         -- this also loads the extension, with its settings
  reach constant text := current_setting('hnsw.ef_search', true);
BEGIN
  SELECT s.* INTO r FROM reembed.collection c JOIN reembed.space s ON s.space_id = c.query_space WHERE c.collection = search.collection;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'collection %% has no vectors to search', quote_literal(search.collection) USING ERRCODE = 'RE002';
  END IF;
  IF r.dimensions IS NOT NULL AND given <> r.dimensions THEN
    RAISE EXCEPTION 'the query has %% dimensions, collection %% is searched with the %% of %%', given, search.collection, r.dimensions, r.model
      USING ERRCODE = 'RE010', HINT = format('embed the query with %%s, the model that reembed.routing names', r.model);
  END IF;
  -- an HNSW scan returns at most ef_search rows
  IF k > reach::int THEN
    PERFORM set_config('hnsw.ef_search', least(k, 1000)::text, true);
  END IF;
  RETURN QUERY EXECUTE format(
    'SELECT v.doc_id::text, (v.embedding OPERATOR(%1$s.%%1$s) $1::%1$s.%%2$s)::float8, v.model FROM reembed_data.%%3$I v ORDER BY v.embedding OPERATOR(%1$s.%%1$s) $1::%1$s.%%2$s LIMIT $2',
    reembed.metric_operator(r.metric), r.vector_type, reembed.object_name(search.collection, '_current'))
    USING query, k;
  IF k > reach::int THEN
    PERFORM set_config('hnsw.ef_search', reach, true);
  END IF;
END $search$ $create$, reembed.vector_schema());

  -- While coverage is partial: the target answers for the documents that it covers, the source for the rest, each in its
  -- own order; the two orders are fused by reciprocal rank, since distances of two models can't be compared. The newest
  -- migration says which spaces are meant. A query that is NULL leaves its side out.
  EXECUTE format($create$
CREATE FUNCTION reembed.search_fused(collection text, source_query %1$s.vector, target_query %1$s.vector, k int DEFAULT 10)
RETURNS TABLE (doc_id text, score double precision, model text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $search$
DECLARE
  m reembed.migration;
  source reembed.space;
  target reembed.space;
  s record;
  arms text[] := '{}';
  loaded constant int := coalesce(%1$s.vector_dims(source_query), %1$s.vector_dims(target_query));  -- the extension, with its settings
  reach constant text := current_setting('hnsw.ef_search', true);
  further constant text := current_setting('hnsw.iterative_scan', true);     -- pgvector 0.8
BEGIN
  SELECT * INTO m FROM reembed.migration x WHERE x.collection = search_fused.collection AND x.state <> 'planned' ORDER BY x.number DESC LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'collection %% has no migration that was started', quote_literal(search_fused.collection) USING ERRCODE = 'RE002',
      HINT = 'reembed.search searches the space that queries go to';
  END IF;
  SELECT * INTO target FROM reembed.space x WHERE x.space_id = m.target_space AND target_query IS NOT NULL;
  SELECT * INTO source FROM reembed.space x WHERE x.space_id = m.source_space AND source_query IS NOT NULL;
  FOR s IN SELECT * FROM (VALUES ('source', source.dimensions, source.model, %1$s.vector_dims(source_query)),
                                 ('target', target.dimensions, target.model, %1$s.vector_dims(target_query))) v(side, wanted, model, given)
           WHERE given <> wanted LOOP
    RAISE EXCEPTION 'the %% query has %% dimensions, %% has %%', s.side, s.given, s.model, s.wanted USING ERRCODE = 'RE010',
      HINT = format('embed it with %%s', s.model);
  END LOOP;
  -- an HNSW scan returns at most ef_search rows, and goes on behind them only when it is told to
  IF k > reach::int THEN PERFORM set_config('hnsw.ef_search', least(k, 1000)::text, true); END IF;
  IF further IS NOT NULL THEN PERFORM set_config('hnsw.iterative_scan', 'strict_order', true); END IF;
  IF target.space_id IS NOT NULL THEN
    arms := arms || format('(SELECT t.%%1$s::text AS doc_id, row_number() OVER (ORDER BY t.distance) AS rank, %%4$L::text AS model FROM
      (SELECT x.%%1$s, x.%%2$s OPERATOR(%1$s.%%5$s) $2::%1$s.%%6$s AS distance FROM %%3$s x WHERE x.%%2$s IS NOT NULL ORDER BY 2 LIMIT $3) t)',
      target.id_column, target.vector_column, target.table_name, target.model, reembed.metric_operator(target.metric), target.vector_type);
  END IF;
  IF source.space_id IS NOT NULL THEN
    arms := arms || format('(SELECT t.%%1$s::text AS doc_id, row_number() OVER (ORDER BY t.distance) AS rank, %%4$L::text AS model FROM
      (SELECT x.%%1$s, x.%%2$s OPERATOR(%1$s.%%5$s) $1::%1$s.%%6$s AS distance FROM %%3$s x WHERE x.%%2$s IS NOT NULL %%7$s ORDER BY 2 LIMIT $3) t)',
      source.id_column, source.vector_column, source.table_name, source.model, reembed.metric_operator(source.metric), source.vector_type,
      CASE WHEN target.space_id IS NULL THEN '' ELSE format('AND NOT EXISTS (SELECT 1 FROM %%s y WHERE y.%%s = x.%%s AND y.%%s IS NOT NULL)',
        target.table_name, target.id_column, source.id_column, target.vector_column) END);
  END IF;
  IF arms = '{}' THEN RETURN; END IF;
  RETURN QUERY EXECUTE format('SELECT f.doc_id, 1.0::float8 / (60 + f.rank), f.model FROM (%%s) f ORDER BY 2 DESC, f.rank LIMIT $3',
    array_to_string(arms, ' UNION ALL ')) USING source_query, target_query, k;
  IF k > reach::int THEN PERFORM set_config('hnsw.ef_search', reach, true); END IF;
  IF further IS NOT NULL THEN PERFORM set_config('hnsw.iterative_scan', further, true); END IF;
END $search$ $create$, reembed.vector_schema());
END $install$;

-- reader: may read the views and search. operator: may also pause, resume, cut over, roll back, retry, skip.
CREATE FUNCTION reembed.grant_role(p_role text, p_kind text) RETURNS void
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
    EXECUTE format('GRANT SELECT ON reembed.routing, reembed.progress, reembed.gates, reembed.failures, reembed.events, reembed.workers, reembed.schema_version, reembed.collection, reembed.space, reembed.migration TO %I', p_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION reembed.state_json(text), reembed.routing_json(text), reembed.route_query(text), reembed.route_request(text, boolean), reembed.pending_changes(text, bigint), reembed.metric_operator(text) TO %I', p_role);
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
REVOKE ALL ON ALL TABLES IN SCHEMA reembed FROM PUBLIC;
