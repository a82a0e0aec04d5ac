-- One drainer a space. No row: another has it.  $1 space  $2 lease in milliseconds
UPDATE reembed.drain SET owner = gen_random_uuid(), epoch = epoch + 1, lease_until = clock_timestamp() + $2 * interval '1 millisecond'
WHERE space_id = (SELECT space_id FROM reembed.drain WHERE space_id = $1
                  AND (owner IS NULL OR lease_until < clock_timestamp()) FOR NO KEY UPDATE SKIP LOCKED)
RETURNING owner, epoch
