-- What the database has of pgvector, and what its server could install.
SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector') AS installed,
       (SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'vector') AS available
