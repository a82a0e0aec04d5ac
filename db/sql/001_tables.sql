-- The control plane: every fact that must survive a process stands in one of these tables, and nowhere else.
-- Per collection there is also one change log and per space one side table, both in schema reembed_data, since their
-- document ids have the type of the documents' own id column. Here ids are text: they are only stored and shown.

CREATE SCHEMA IF NOT EXISTS reembed_data;

-- Read tokens. CACHE 1: the order of tokens must be the order in time. Never reset.
CREATE SEQUENCE reembed.token_seq AS bigint CACHE 1 NO CYCLE;

CREATE TABLE reembed.collection (
  collection text PRIMARY KEY,
  docs oid NOT NULL,                    -- the documents table; an oid, so that a rename does not lose it
  docs_table text NOT NULL,             -- SQL as it stands: schema-qualified, quoted where needed
  docs_alias text NOT NULL,             -- quoted; expressions may name the table by it
  id_column text NOT NULL,              -- quoted
  id_type text NOT NULL,                -- smallint, integer, bigint, uuid, text or character varying
  id_collation text NOT NULL,           -- ' COLLATE ...' or empty: the side tables must sort as the documents do
  content text NOT NULL,                -- SQL expression over the row
  filter text NOT NULL,                 -- SQL condition over the row; 'true' when all documents are meant
  changes_table text NOT NULL,          -- the change log in reembed_data
  captured bigint[] NOT NULL DEFAULT '{}', -- spaces whose changes the triggers record now
  detached boolean NOT NULL DEFAULT false, -- a person ended change capture with finalize --detach
  query_space bigint,                   -- the routed space; NULL: the collection has no vectors yet
  version bigint NOT NULL DEFAULT 1,    -- rises with each change of routing
  flipped_at timestamptz
) WITH (fillfactor = 50);

CREATE TABLE reembed.space (
  space_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  collection text NOT NULL REFERENCES reembed.collection,
  model text NOT NULL,
  dimensions int,                       -- NULL: a source whose column has no fixed size
  vector_type text NOT NULL CHECK (vector_type IN ('vector', 'halfvec')),
  metric text NOT NULL CHECK (metric IN ('cosine', 'inner_product', 'l2')),
  table_name text NOT NULL,             -- SQL as it stands
  id_column text NOT NULL,              -- quoted
  vector_column text NOT NULL,          -- quoted
  side boolean NOT NULL,                -- a side table of ours, with read tokens and content hashes
  kept boolean NOT NULL,                -- workers keep it current: its provider is known
  index_name text,                      -- of ours, schema-qualified; NULL: none wanted or not ours
  index_method text NOT NULL DEFAULT 'none',
  canary real[],                        -- the canary text's vector when the space was begun
  UNIQUE (table_name, vector_column)
);

-- The lease of a space's drainer, and what it has done. A hot row of its own.
CREATE TABLE reembed.drain (
  space_id bigint PRIMARY KEY REFERENCES reembed.space ON DELETE CASCADE,
  owner uuid,
  epoch bigint NOT NULL DEFAULT 0,
  lease_until timestamptz,
  drained bigint NOT NULL DEFAULT 0,    -- documents settled, ever
  truncated bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE reembed.migration (
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  migration_id text PRIMARY KEY,
  collection text NOT NULL REFERENCES reembed.collection,
  source_space bigint REFERENCES reembed.space,
  target_space bigint REFERENCES reembed.space,  -- NULL once its side table was dropped
  source_model text,
  target_model text NOT NULL,
  config jsonb NOT NULL,                -- as given, without addresses, paths and keys
  state text NOT NULL DEFAULT 'planned'
    CHECK (state IN ('planned', 'in_progress', 'paused', 'failed', 'completed', 'cancelled', 'rolled_back')),
  stage text CHECK (stage IN ('capture', 'backfill', 'index', 'verify')),
  reason text,                          -- of a pause, cancel or rollback
  error text,                           -- of a failure
  error_count bigint NOT NULL DEFAULT 0,
  flipped_at timestamptz,               -- kept once set; NULL again only by rollback
  hold_flip boolean NOT NULL DEFAULT false, -- rolled back before completion: nothing flips by itself any more
  -- population and cutting: total = remaining + sum(chunk.docs) + finished - gone
  counted boolean NOT NULL DEFAULT false,
  bound text,                           -- highest id when capture began; NULL: the table was empty
  cut_upto text,                        -- chunks are cut up to here; NULL: none yet
  next_no bigint NOT NULL DEFAULT 1,
  cut_done boolean NOT NULL DEFAULT false,
  remaining bigint NOT NULL DEFAULT 0,  -- documents not cut into chunks yet, as counted when capture began
  finished bigint NOT NULL DEFAULT 0,   -- documents of finished chunks (the chunk rows themselves are folded away)
  gone bigint NOT NULL DEFAULT 0,       -- failed or skipped documents that were deleted after they had been read
  truncated bigint NOT NULL DEFAULT 0,  -- of finished chunks
  changes_before bigint NOT NULL DEFAULT 0, -- drain.drained when this migration began
  -- exact coverage as last measured by a walk over both tables
  eligible bigint, current bigint, excused bigint, measured_at timestamptz,
  sweep_clean boolean NOT NULL DEFAULT false,   -- the last exact sweep found nothing to repair
  index_done double precision,          -- share of the running index build, for display
  finisher uuid,                        -- the worker that builds the index, flips and sweeps
  finisher_until timestamptz,
  active_ms bigint NOT NULL DEFAULT 0,  -- time in progress with a process alive
  beat_at timestamptz,                  -- last heartbeat of any worker
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  completed_at timestamptz,
  window_ends_at timestamptz,
  finalized_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- At most one unfinished migration a collection. A completed one whose window is over is finalized when the next is
-- created; a rolled back one only by a person.
CREATE UNIQUE INDEX migration_unfinished ON reembed.migration (collection)
  WHERE state <> 'cancelled' AND finalized_at IS NULL;

CREATE TABLE reembed.chunk (
  migration bigint NOT NULL,            -- migration.number
  no bigint NOT NULL,
  lo text, hi text NOT NULL,            -- covers lo < id <= hi; lo NULL: from the start
  cursor text,                          -- last id whose result is committed; starts as lo
  docs int NOT NULL,                    -- documents: counted when cut, exact once finished
  state smallint NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),  -- open, leased, finished
  owner uuid, epoch bigint NOT NULL DEFAULT 0,                   -- epoch: also the read token of the lease
  lease_until timestamptz, attempts int NOT NULL DEFAULT 0,
  done int NOT NULL DEFAULT 0,          -- documents up to cursor, whatever became of them
  truncated int NOT NULL DEFAULT 0,
  PRIMARY KEY (migration, no)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
CREATE INDEX chunk_open ON reembed.chunk (migration, no) WHERE state < 2;

-- Documents that have no vector for a reason. `seen`: counted among the read documents of the backfill; `ahead`:
-- skipped by a person before the backfill came by. A document inserted later is neither.
CREATE TABLE reembed.failure (
  migration bigint NOT NULL,
  space_id bigint NOT NULL,
  doc_id text NOT NULL,
  content_hash uuid,                    -- NULL: whatever the content (skipped by a person)
  kind text NOT NULL CHECK (kind IN ('skipped', 'failed')),
  reason text NOT NULL CHECK (reason IN ('content_too_large', 'invalid_encoding', 'content_deleted',
    'permanent_api_error', 'manual_skip', 'empty_content', 'invalid_vector')),
  detail text,
  attempts int NOT NULL DEFAULT 1,
  http_status int,
  seen boolean NOT NULL DEFAULT false,
  ahead boolean NOT NULL DEFAULT false,
  retrying boolean NOT NULL DEFAULT false, -- asked to be tried again; the change log has it
  first_at timestamptz NOT NULL DEFAULT now(),
  last_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (migration, space_id, doc_id)
);
CREATE INDEX failure_ahead ON reembed.failure (migration, space_id) WHERE ahead;

CREATE TABLE reembed.event (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  migration_id text NOT NULL,
  event text NOT NULL,
  actor text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX event_migration ON reembed.event (migration_id, number);

CREATE TABLE reembed.worker (
  worker_id uuid PRIMARY KEY,
  migration_id text NOT NULL,
  host text NOT NULL,
  pid int NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  stopped_at timestamptz,               -- it said good-bye
  in_flight bigint NOT NULL DEFAULT 0,
  processed bigint NOT NULL DEFAULT 0,
  tokens bigint NOT NULL DEFAULT 0,     -- really sent, also for requests that failed
  requests bigint NOT NULL DEFAULT 0,
  note text                             -- why it waits, shown by status
) WITH (fillfactor = 50);
CREATE INDEX worker_migration ON reembed.worker (migration_id);

-- Which operation leads from which state to which; everything else is refused. One reader: reembed.next_state.
CREATE TABLE reembed.transition (
  from_state text NOT NULL,
  operation text NOT NULL,
  to_state text NOT NULL,
  PRIMARY KEY (from_state, operation)
);
INSERT INTO reembed.transition VALUES
  ('planned', 'start', 'in_progress'),
  ('in_progress', 'pause', 'paused'),
  ('in_progress', 'fail', 'failed'),
  ('paused', 'resume', 'in_progress'),
  ('failed', 'resume', 'in_progress'),
  ('planned', 'cancel', 'cancelled'),
  ('in_progress', 'cancel', 'cancelled'),
  ('paused', 'cancel', 'cancelled'),
  ('failed', 'cancel', 'cancelled'),
  ('in_progress', 'complete', 'completed'),
  ('in_progress', 'cutover', 'in_progress'),
  ('paused', 'cutover', 'paused'),
  ('rolled_back', 'cutover', 'completed'),
  ('in_progress', 'rollback', 'paused'),
  ('paused', 'rollback', 'paused'),
  ('failed', 'rollback', 'failed'),
  ('completed', 'rollback', 'rolled_back'),
  ('completed', 'finalize', 'completed'),
  ('rolled_back', 'finalize', 'rolled_back');

-- Roles that init --reader and --operator named, so that objects made later are granted to them too.
CREATE TABLE reembed.grantee (
  role name NOT NULL,
  kind text NOT NULL CHECK (kind IN ('reader', 'operator')),
  PRIMARY KEY (role, kind)
);
