-- For the transaction of one search.  $1 of the planner: must the index be used  $2 name of the index's setting  $3 its value (NULL: as it is)
SELECT CASE WHEN $1 THEN set_config('enable_seqscan', 'off', true) END,
       CASE WHEN $1 THEN set_config('enable_sort', 'off', true) END,
       CASE WHEN $3 IS NOT NULL THEN set_config($2, $3, true) END
