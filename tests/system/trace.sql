-- A journal of all writes to target tables, chunks and drainers' leases, kept by triggers of the tests alone. Installed
-- before the program makes its schema: an event trigger puts the triggers on tables as they are created.
-- Numbers rise in the order of commits for one row, since they are drawn while its lock is held.
CREATE SCHEMA trace;

CREATE TABLE trace.vector (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  who text NOT NULL DEFAULT current_setting('application_name'),
  doc text NOT NULL,
  token_before bigint,                  -- NULL: there was no row
  token bigint,                         -- NULL: the row was deleted
  was_vector boolean NOT NULL,
  is_vector boolean NOT NULL
);
CREATE TABLE trace.chunk (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  who text NOT NULL DEFAULT current_setting('application_name'),
  no bigint NOT NULL,
  state_before smallint, state smallint,
  epoch_before bigint, epoch bigint,
  cursor_before text, cursor text,
  done_before int, done int,
  lease_before timestamptz
);
CREATE TABLE trace.drain (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  who text NOT NULL DEFAULT current_setting('application_name'),
  space_id bigint NOT NULL,
  owner_before uuid, owner uuid,
  epoch_before bigint, epoch bigint,
  lease_before timestamptz
);
CREATE TABLE trace.route (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  space_before bigint, space bigint,
  version bigint
);

CREATE FUNCTION trace.note_vector() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO trace.vector (doc, token, was_vector, is_vector)
    VALUES (NEW.doc_id::text, NEW.read_token, false, NEW.embedding IS NOT NULL);
  ELSIF TG_OP = 'UPDATE' THEN
    INSERT INTO trace.vector (doc, token_before, token, was_vector, is_vector)
    VALUES (NEW.doc_id::text, OLD.read_token, NEW.read_token, OLD.embedding IS NOT NULL, NEW.embedding IS NOT NULL);
  ELSE
    INSERT INTO trace.vector (doc, token_before, was_vector, is_vector)
    VALUES (OLD.doc_id::text, OLD.read_token, OLD.embedding IS NOT NULL, false);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION trace.note_chunk() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO trace.chunk (no, state_before, state, epoch_before, epoch, cursor_before, cursor, done_before, done, lease_before)
  VALUES (NEW.no, OLD.state, NEW.state, OLD.epoch, NEW.epoch, OLD.cursor, NEW.cursor, OLD.done, NEW.done, OLD.lease_until);
  RETURN NULL;
END $$;

CREATE FUNCTION trace.note_drain() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO trace.drain (space_id, owner_before, owner, epoch_before, epoch, lease_before)
  VALUES (NEW.space_id, OLD.owner, NEW.owner, OLD.epoch, NEW.epoch, OLD.lease_until);
  RETURN NULL;
END $$;

CREATE FUNCTION trace.note_route() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF NEW.query_space IS DISTINCT FROM OLD.query_space THEN
    INSERT INTO trace.route (space_before, space, version) VALUES (OLD.query_space, NEW.query_space, NEW.version);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION trace.attach() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE made record;
BEGIN
  FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP
    IF made.object_identity = 'reembed.chunk' THEN
      CREATE OR REPLACE TRIGGER trace AFTER UPDATE ON reembed.chunk FOR EACH ROW EXECUTE FUNCTION trace.note_chunk();
    ELSIF made.object_identity = 'reembed.drain' THEN
      CREATE OR REPLACE TRIGGER trace AFTER UPDATE ON reembed.drain FOR EACH ROW EXECUTE FUNCTION trace.note_drain();
    ELSIF made.object_identity = 'reembed.collection' THEN
      CREATE OR REPLACE TRIGGER trace AFTER UPDATE ON reembed.collection FOR EACH ROW EXECUTE FUNCTION trace.note_route();
    ELSIF made.schema_name = 'reembed_data'
          AND EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = made.objid AND attname = 'read_token') THEN
      EXECUTE format('CREATE OR REPLACE TRIGGER trace AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION trace.note_vector()',
                     made.objid::regclass);
    END IF;
  END LOOP;
END $$;
CREATE EVENT TRIGGER trace_attach ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION trace.attach();
