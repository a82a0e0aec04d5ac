-- What a worker has spent, and what is reserved for its requests under way, while it asks for no permit.
-- $1 worker  $2 tokens  $3 requests  $4 reserved
UPDATE reembed.worker SET tokens = $2, requests = $3, reserved = $4 WHERE worker_id = $1
