-- Keeps the canary's vector with the space when it is begun, and compares it on every later start: another model behind
-- the same name is noticed before anything is stored.  $1 space  $2 the canary's vector now
WITH kept AS (
  UPDATE reembed.space SET canary = coalesce(canary, ($2::{vector_type})::real[]) WHERE space_id = $1 RETURNING canary)
SELECT CASE WHEN cardinality(canary) <> {vector_schema}.vector_dims($2::{vector_type}) THEN -1
            ELSE 1 - (canary::{vector_type} OPERATOR({vector_schema}.<=>) $2::{vector_type}) END AS cosine
FROM kept
