-- Vectors that a former migration to the same model left behind: they are paid for already.
SELECT count(*) AS vectors FROM {target} WHERE content_hash IS NOT NULL
