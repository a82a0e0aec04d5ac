-- No row: nothing to claim now. The database's clock only. The epoch doubles as the read token of the lease: it is drawn
-- here, before the snapshot of every read made under the lease. Nothing is claimed while the migration is not in progress,
-- whoever has not heard of a pause yet.
-- $1 migration number, $2 lease in milliseconds
UPDATE reembed.chunk SET state = 1, owner = gen_random_uuid(), epoch = nextval('reembed.token_seq'),
       attempts = attempts + 1, lease_until = clock_timestamp() + $2 * interval '1 millisecond'
WHERE (migration, no) = (
  SELECT migration, no FROM reembed.chunk
  WHERE migration = $1 AND state < 2 AND (state = 0 OR lease_until < clock_timestamp())
    AND (SELECT g.state = 'in_progress' FROM reembed.migration g WHERE g.number = $1)
  ORDER BY no LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING no, hi::{id_type} AS hi, cursor::{id_type} AS cursor, owner, epoch, docs, done, attempts
