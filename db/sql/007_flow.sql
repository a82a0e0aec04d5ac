-- Flow control of a whole migration: what one process learns of the provider's limits holds for all of them at once.

CREATE TABLE reembed.flow (
  migration bigint PRIMARY KEY,        -- migration.number
  blocked_until timestamptz,           -- the server asked for quiet (Retry-After, rate limit headers)
  blocked_reason text,
  requests double precision,           -- buckets: may be spent now; refilled by the clock up to a few seconds' worth
  tokens double precision,
  filled_at timestamptz
) WITH (fillfactor = 50);
REVOKE ALL ON reembed.flow FROM PUBLIC;

ALTER TABLE reembed.worker ADD COLUMN reserved bigint NOT NULL DEFAULT 0; -- tokens of requests under way, estimated

-- May a request with about p_tokens tokens be sent now? granted, or the time to wait and why. reason 'budget': the
-- budget is spent but for what is under way; that does not pass by waiting. Called before every request.
-- p_spent, p_requests, p_reserved: what this worker has spent in all, and has under way without the new request.
CREATE FUNCTION reembed.take_permit(p_id text, p_worker uuid, p_tokens bigint, p_spent bigint, p_requests bigint, p_reserved bigint,
    OUT granted boolean, OUT wait_ms bigint, OUT reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m record;
  f reembed.flow;
  spent record;
  price double precision;
  rpm double precision;
  tpm double precision;
  t timestamptz := clock_timestamp();
BEGIN
  granted := false;
  SELECT number, config->'limits' AS limits INTO STRICT m FROM reembed.migration WHERE migration_id = p_id;
  rpm := (m.limits->>'requests_per_minute')::float8;
  tpm := (m.limits->>'tokens_per_minute')::float8;
  price := (m.limits->>'price_per_million_tokens')::float8;

  SELECT * INTO f FROM reembed.flow WHERE migration = m.number;
  IF f.blocked_until > t THEN
    wait_ms := ceil(extract(epoch FROM f.blocked_until - t) * 1000);
    reason := f.blocked_reason;
    RETURN;
  END IF;

  IF m.limits->>'max_tokens' IS NOT NULL OR m.limits->>'max_cost' IS NOT NULL THEN
    -- one process at a time between looking and reserving
    PERFORM pg_advisory_xact_lock(hashtextextended('reembed.budget ' || p_id, 0));
    SELECT coalesce(sum(CASE WHEN w.worker_id = p_worker THEN p_spent ELSE w.tokens END), 0) AS tokens,
           coalesce(sum(CASE WHEN w.worker_id = p_worker THEN p_reserved
                             WHEN w.stopped_at IS NULL AND w.heartbeat_at > t - interval '1 minute' THEN w.reserved ELSE 0 END), 0) AS reserved
      INTO spent FROM reembed.worker w WHERE w.migration_id = p_id;
    IF spent.tokens + spent.reserved + p_tokens > (m.limits->>'max_tokens')::float8
       OR (spent.tokens + spent.reserved + p_tokens) * price / 1e6 > (m.limits->>'max_cost')::float8 THEN
      reason := 'budget';
      -- while requests are under way their estimates may turn out to have been too high
      wait_ms := CASE WHEN spent.reserved > 0 THEN 50 ELSE 0 END;
      RETURN;
    END IF;
    UPDATE reembed.worker SET tokens = p_spent, requests = p_requests, reserved = p_reserved + p_tokens WHERE worker_id = p_worker;
  END IF;

  IF rpm IS NOT NULL OR tpm IS NOT NULL THEN
    -- small buckets and 2 % less than allowed: no minute, wherever it begins, holds more than the limit
    rpm := rpm * 0.98;
    tpm := tpm * 0.98;
    INSERT INTO reembed.flow AS b (migration, requests, tokens, filled_at) VALUES (m.number, 1, greatest(p_tokens, tpm / 100), t)
    ON CONFLICT (migration) DO UPDATE SET filled_at = clock_timestamp(),
       requests = least(greatest(1, rpm / 300), coalesce(b.requests, 1) + coalesce(extract(epoch FROM clock_timestamp() - b.filled_at), 0) * rpm / 60),
       tokens = least(greatest(p_tokens, tpm / 100), coalesce(b.tokens, p_tokens) + coalesce(extract(epoch FROM clock_timestamp() - b.filled_at), 0) * tpm / 60)
    RETURNING * INTO f;
    IF f.requests < 1 THEN
      reason := format('%s requests a minute are allowed', m.limits->>'requests_per_minute');
      wait_ms := ceil((1 - f.requests) * 60000 / rpm);
      RETURN;
    END IF;
    IF f.tokens < p_tokens THEN
      reason := format('%s tokens a minute are allowed', m.limits->>'tokens_per_minute');
      wait_ms := ceil((p_tokens - f.tokens) * 60000 / tpm);
      RETURN;
    END IF;
    UPDATE reembed.flow SET requests = requests - 1, tokens = tokens - p_tokens WHERE migration = m.number;
  END IF;
  granted := true;
  wait_ms := 0;
END $$;

-- The server asked for quiet: nobody sends anything before it is over.
CREATE FUNCTION reembed.block_provider(p_id text, p_ms bigint, p_reason text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO reembed.flow AS f (migration, blocked_until, blocked_reason)
  SELECT number, clock_timestamp() + p_ms * interval '1 millisecond', p_reason FROM reembed.migration WHERE migration_id = p_id
  ON CONFLICT (migration) DO UPDATE SET blocked_until = greatest(f.blocked_until, excluded.blocked_until), blocked_reason = excluded.blocked_reason
$$;

REVOKE ALL ON FUNCTION reembed.take_permit(text, uuid, bigint, bigint, bigint, bigint), reembed.block_provider(text, bigint, text) FROM PUBLIC;
