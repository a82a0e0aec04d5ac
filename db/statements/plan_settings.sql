-- What the server gives to the build of an index, for the role that will build it.
SELECT (SELECT setting::float8 * 1024 FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem') AS maintenance_work_mem,
       least(current_setting('max_parallel_maintenance_workers')::int, current_setting('max_parallel_workers')::int,
             current_setting('max_worker_processes')::int) AS parallel_workers
