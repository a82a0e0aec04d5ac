-- A TRUNCATE marker, first step: take every lease away. This waits for writes in flight.  $1 migration number
UPDATE reembed.chunk SET state = 0, owner = NULL, lease_until = NULL WHERE migration = $1 AND state = 1
