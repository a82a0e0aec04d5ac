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
  given constant int := %1$s.vector_dims(query);
BEGIN
  SELECT s.* INTO r FROM reembed.collection c JOIN reembed.space s ON s.space_id = c.query_space WHERE c.collection = search.collection;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'collection %% has no vectors to search', quote_literal(search.collection) USING ERRCODE = 'RE002';
  END IF;
  IF r.dimensions IS NOT NULL AND given <> r.dimensions THEN
    RAISE EXCEPTION 'the query has %% dimensions, collection %% is searched with the %% of %%', given, search.collection, r.dimensions, r.model
      USING ERRCODE = 'RE010', HINT = format('embed the query with %%s, the model that reembed.routing names', r.model);
  END IF;
  -- an HNSW scan returns at most ef_search rows; the setting ends with this call
  IF k > coalesce(nullif(current_setting('hnsw.ef_search', true), '')::int, 40) THEN
    PERFORM set_config('hnsw.ef_search', least(k, 1000)::text, true);
  END IF;
  RETURN QUERY EXECUTE format(
    'SELECT v.doc_id::text, (v.embedding OPERATOR(%1$s.%%1$s) $1::%1$s.%%2$s)::float8, v.model FROM reembed_data.%%3$I v ORDER BY v.embedding OPERATOR(%1$s.%%1$s) $1::%1$s.%%2$s LIMIT $2',
    reembed.metric_operator(r.metric), r.vector_type, reembed.object_name(search.collection, '_current'))
    USING query, k;
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
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', (SELECT oid::regprocedure FROM pg_proc WHERE proname = 'search' AND pronamespace = 'reembed'::regnamespace), p_role);
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
