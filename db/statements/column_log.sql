-- Whether something is logged that was logged at some earlier moment, and the highest number now.  $1 that moment's number
SELECT coalesce(max(seq), 0) AS highest, coalesce(bool_or(seq <= $1), false) AS waiting FROM {log}
