-- pgvector may live in any schema, on the search path or not. Before 0.7 there is no halfvec.
SELECT e.extversion AS version, n.nspname AS schema, v.oid AS vector, v.typarray AS vector_array,
       h.oid AS halfvec, h.typarray AS halfvec_array
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
JOIN pg_catalog.pg_type v ON v.typnamespace = n.oid AND v.typname = 'vector'
LEFT JOIN pg_catalog.pg_type h ON h.typnamespace = n.oid AND h.typname = 'halfvec'
WHERE e.extname = 'vector'
