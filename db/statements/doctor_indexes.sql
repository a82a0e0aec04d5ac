-- Vector indexes of a column, those of partitions added up under their parent's.  $1 table's oid  $2 column, not quoted
SELECT x.oid::regclass::text AS name, m.amname::text AS method, o.opcname::text AS opclass,
       CASE WHEN o.opcname LIKE '%\_ip\_ops' THEN 'inner product' WHEN o.opcname LIKE '%\_l2\_ops' THEN 'l2' WHEN o.opcname LIKE '%\_cosine\_ops' THEN 'cosine' ELSE o.opcname::text END AS metric,
       i.indisvalid AND i.indisready AS valid, i.indpred IS NOT NULL AS partial,
       EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = x.oid) AS building,
       (SELECT coalesce(sum(pg_relation_size(p.oid)), 0)::float8 FROM pg_catalog.pg_class p WHERE p.relkind = 'i' AND (p.oid = x.oid
           OR p.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(x.oid) WHERE x.relkind = 'I'))) AS bytes,
       coalesce((SELECT split_part(option, '=', 2)::int FROM unnest(x.reloptions) option WHERE option LIKE 'lists=%'), 0) AS lists
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam
JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
WHERE i.indrelid = $1::oid AND m.amname IN ('hnsw', 'ivfflat')
  AND (EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = $2)
       OR i.indkey[0] = 0 AND pg_get_indexdef(i.indexrelid) LIKE '%' || quote_ident($2) || '%')
ORDER BY 1
