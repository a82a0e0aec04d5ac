-- Whether a write whose answer was lost took place is decided by this row and by nothing else.  $1 migration number  $2 no
SELECT owner, epoch, state, cursor::{id_type} AS cursor FROM reembed.chunk WHERE migration = $1 AND no = $2
