-- Waiting changes. The sub-select runs once, inside the statement, hence after its snapshot: a read that missed a change
-- has a smaller token than the drain that settles it. $2: a floor that only saves scanning dead index entries; it must go
-- back to 0 every few passes, since a smaller number can become visible later.
-- $1 space  $2 floor  $3 at most
SELECT seq, doc_id::{id_type} AS doc_id, (SELECT nextval('reembed.token_seq')) AS token FROM {changes} WHERE space_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
