-- What a column in the documents table would cost and touch.  $1 documents table
SELECT pg_catalog.pg_relation_size(k.oid)::float8 AS main_bytes,
       coalesce((SELECT sum(pg_catalog.pg_relation_size(i.indexrelid)) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
         JOIN pg_catalog.pg_am am ON am.oid = x.relam WHERE i.indrelid = k.oid AND am.amname IN ('hnsw', 'ivfflat')), 0)::float8 AS vector_index_bytes,
       (SELECT count(*) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
         JOIN pg_catalog.pg_am am ON am.oid = x.relam WHERE i.indrelid = k.oid AND am.amname NOT IN ('hnsw', 'ivfflat'))::float8 AS other_indexes,
       (SELECT string_agg(g.tgname, ', ' ORDER BY g.tgname) FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
         WHERE g.tgrelid = k.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 16 > 0 AND f.pronamespace <> 'reembed_data'::regnamespace) AS triggers
FROM pg_catalog.pg_class k WHERE k.oid = to_regclass($1)
