-- An HNSW scan looks at ef_search rows, so it must be at least as many as are wanted. Iterative scans (pgvector 0.8) go on
-- where that was not enough: marks of deleted documents, an IVFFlat list that holds too few. An older pgvector refuses
-- settings that it does not know.  $1 rows wanted, at most 1000
SELECT set_config('hnsw.ef_search', greatest($1, coalesce(nullif(current_setting('hnsw.ef_search', true), '')::int, 40))::text, true),
       CASE WHEN v.iterative THEN set_config('hnsw.iterative_scan', 'strict_order', true) END,
       CASE WHEN v.iterative THEN set_config('ivfflat.iterative_scan', 'relaxed_order', true) END
FROM (SELECT (string_to_array(extversion, '.'))[1]::int > 0 OR (string_to_array(extversion, '.'))[2]::int >= 8 AS iterative
      FROM pg_catalog.pg_extension WHERE extname = 'vector') v
