-- The canary's vector against the one kept with the space; nothing is kept. No row: none is kept yet.
-- $1 space  $2 the canary's vector now
SELECT CASE WHEN cardinality(s.canary) <> {vector_schema}.vector_dims($2::{vector_schema}.vector) THEN -1
            ELSE 1 - (s.canary::{vector_schema}.vector OPERATOR({vector_schema}.<=>) $2::{vector_schema}.vector) END AS cosine
FROM reembed.space s WHERE s.space_id = $1 AND s.canary IS NOT NULL
