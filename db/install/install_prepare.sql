-- CREATE SCHEMA IF NOT EXISTS would ask for the right to create one also where it is there.
DO $$
BEGIN
  IF pg_catalog.to_regnamespace('reembed') IS NULL THEN
    CREATE SCHEMA reembed;
  END IF;
END $$;
CREATE TABLE IF NOT EXISTS reembed.schema_version (
  version int PRIMARY KEY,
  name text NOT NULL,
  installed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
