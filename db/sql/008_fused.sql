-- Search while coverage is partial: both spaces at once, with one function for all collections and one for each, whose
-- ids have the type of the documents' own.

-- The target answers for the documents that it covers, the source for the rest. Distances of two models can't be
-- compared, and ranks can't be as they stand: the third best of a tenth of the documents is the thirtieth of all or so.
-- So both are brought to one scale before they are fused by reciprocal rank. The source holds all documents, its ranks
-- stay as they are; the n-th hit of the target is given the rank 1 + (n - 1) / d, where d is the share of covered
-- documents among those that the source finds nearest to this very query. At coverage 0 that is the source's order, at
-- coverage 1 the target's.
-- The newest migration says which spaces are meant. A query that is NULL leaves its side out.
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
  SELECT * INTO target FROM reembed.space x WHERE x.space_id = m.target_space AND target_query IS NOT NULL;
  SELECT * INTO source FROM reembed.space x WHERE x.space_id = m.source_space AND source_query IS NOT NULL;
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

  -- reembed_data.<collection>_fused: the same for one collection, with ids that can be joined with the documents as they
  -- are, whose plans then use the documents' key.
  EXECUTE format($create$
CREATE FUNCTION reembed.make_fused_function(p_collection text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $make$
DECLARE
  name text := format('reembed_data.%%I', reembed.object_name(p_collection, '_fused'));
  arguments constant text := '(%1$s.vector, %1$s.vector, int)';
  kind text;
  g record;
BEGIN
  SELECT c.id_type INTO STRICT kind FROM reembed.collection c WHERE c.collection = p_collection;
  EXECUTE format('DROP FUNCTION IF EXISTS %%s%%s', name, arguments);          -- the type of the ids may be another one
  EXECUTE format('CREATE FUNCTION %%1$s(source_query %1$s.vector, target_query %1$s.vector, k int DEFAULT 10)
    RETURNS TABLE (doc_id %%2$s, score double precision, model text)
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS
    $f$ SELECT f.doc_id::%%2$s, f.score, f.model FROM reembed.search_fused(%%3$L, source_query, target_query, k) f $f$', name, kind, p_collection);
  EXECUTE format('REVOKE ALL ON FUNCTION %%s%%s FROM PUBLIC', name, arguments);
  FOR g IN SELECT role FROM reembed.grantee WHERE grantee.kind = 'reader' LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %%s%%s TO %%I', name, arguments, g.role);
  END LOOP;
END $make$ $create$, reembed.vector_schema());
END $install$;

CREATE FUNCTION reembed.collection_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM reembed.make_fused_function(NEW.collection);
  RETURN NULL;
END $$;
CREATE TRIGGER collection_inserted AFTER INSERT ON reembed.collection FOR EACH ROW EXECUTE FUNCTION reembed.collection_changed();
CREATE TRIGGER collection_retyped AFTER UPDATE OF id_type ON reembed.collection FOR EACH ROW
  WHEN (OLD.id_type IS DISTINCT FROM NEW.id_type) EXECUTE FUNCTION reembed.collection_changed();

-- Readers that come later are given what was made before.
CREATE FUNCTION reembed.reader_granted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE f record;
BEGIN
  FOR f IN SELECT p.oid::regprocedure AS name FROM reembed.collection c
           JOIN pg_proc p ON p.proname = reembed.object_name(c.collection, '_fused') AND p.pronamespace = 'reembed_data'::regnamespace LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', f.name, NEW.role);
  END LOOP;
  RETURN NULL;
END $$;
CREATE TRIGGER reader_granted AFTER INSERT ON reembed.grantee FOR EACH ROW WHEN (NEW.kind = 'reader') EXECUTE FUNCTION reembed.reader_granted();

SELECT reembed.make_fused_function(collection) FROM reembed.collection;

REVOKE ALL ON FUNCTION reembed.make_fused_function(text), reembed.collection_changed(), reembed.reader_granted() FROM PUBLIC;
