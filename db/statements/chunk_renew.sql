-- While a chunk's documents are being embedded. No row: fenced.  $1 number  $2 no  $3 owner  $4 epoch  $5 lease in ms
UPDATE reembed.chunk SET lease_until = clock_timestamp() + $5 * interval '1 millisecond'
WHERE migration = $1 AND no = $2 AND owner = $3 AND epoch = $4 AND state = 1 RETURNING 1
