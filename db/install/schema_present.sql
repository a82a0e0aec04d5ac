SELECT pg_catalog.to_regclass('reembed.schema_version') IS NOT NULL AS present
