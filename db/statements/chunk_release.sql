-- At shutdown, so that others need not wait for the lease to run out.  $1 number  $2 no  $3 owner  $4 epoch
UPDATE reembed.chunk SET state = 0, owner = NULL, lease_until = NULL, attempts = attempts - 1
WHERE migration = $1 AND no = $2 AND owner = $3 AND epoch = $4 AND state = 1 RETURNING 1
