-- $1 space
SELECT coalesce(max(seq), 0) AS highest FROM {changes} WHERE space_id = $1
