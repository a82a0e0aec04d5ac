-- $1 space  $2 owner  $3 epoch
UPDATE reembed.drain SET owner = NULL, lease_until = NULL WHERE space_id = $1 AND owner = $2 AND epoch = $3 RETURNING 1
