-- No row: nothing to claim now. The database's clock only. The epoch doubles as the read token of the lease: it is drawn
-- here, before the snapshot of every read made under the lease.
-- $1 migration number, $2 lease in milliseconds
UPDATE reembed.chunk SET state = 1, owner = gen_random_uuid(), epoch = nextval('reembed.token_seq'),
       attempts = attempts + 1, lease_until = clock_timestamp() + $2 * interval '1 millisecond'
WHERE (migration, no) = (
  SELECT migration, no FROM reembed.chunk
  WHERE migration = $1 AND state < 2 AND (state = 0 OR lease_until < clock_timestamp())
  ORDER BY no LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING no, hi::{id_type} AS hi, cursor::{id_type} AS cursor, owner, epoch, docs, done, attempts
