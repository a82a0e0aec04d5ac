-- The server as the role sees it.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_number,
       current_database()::text AS database, current_user::text AS role,
       (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AS superuser,
       has_database_privilege(current_database(), 'CREATE') AS may_create, pg_is_in_recovery() AS standby,
       (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname = 'vector') AS vector,
       (SELECT a.default_version FROM pg_catalog.pg_available_extensions a WHERE a.name = 'vector') AS vector_available,
       to_regnamespace('reembed') IS NOT NULL AS installed,
       (SELECT setting::float8 * 8192 FROM pg_catalog.pg_settings WHERE name = 'shared_buffers') AS shared_buffers,
       (SELECT setting::float8 * 8192 FROM pg_catalog.pg_settings WHERE name = 'effective_cache_size') AS cache,
       (SELECT setting::float8 * 1024 FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem') AS maintenance_work_mem
