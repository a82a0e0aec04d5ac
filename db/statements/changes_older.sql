-- Whether a change is still waiting that was there at some earlier moment.  $1 space  $2 highest number of that moment
SELECT EXISTS (SELECT 1 FROM {changes} WHERE space_id = $1 AND seq <= $2) AS waiting
