-- Tombstones older than every lease. By state, not by the clock: an owner whose lease has run out may still write until
-- somebody claims the chunk.  $1 migration number  $2 space  $3 owner  $4 epoch  $5 at most
WITH fence AS MATERIALIZED (SELECT 1 FROM reembed.drain WHERE space_id = $2 AND owner = $3 AND epoch = $4 FOR NO KEY UPDATE),
low AS MATERIALIZED (SELECT coalesce(min(epoch), 9223372036854775807) AS m FROM reembed.chunk WHERE migration = $1 AND state = 1),
old AS MATERIALIZED (
  SELECT t.doc_id FROM fence, low, {target} t WHERE t.content_hash IS NULL AND t.read_token < low.m
  LIMIT $5 FOR UPDATE OF t SKIP LOCKED)
DELETE FROM {target} t USING old WHERE t.doc_id = old.doc_id AND t.content_hash IS NULL
