-- No row: fenced.  $1 space  $2 owner  $3 epoch  $4 lease in milliseconds
UPDATE reembed.drain SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1
