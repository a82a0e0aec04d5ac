-- Exact, one way: documents of lo < id <= hi whose vector is not current. What nobody has noted yet goes into the change
-- log, so the drainer settles it. Also counts, so that one walk measures the coverage.
--   eligible = current + missing + stale + excused + failed;  queued: of the missing and stale, with those noted now
-- $1 lo (NULL: from the start)  $2 hi (NULL: to the end)  $3 space  $4 migration number  $5 note, or only count
WITH d AS MATERIALIZED (
  SELECT w.id, t.content_hash = w.h AS current, t.content_hash IS NULL AS missing, f.kind
  FROM (SELECT {id} AS id, md5(coalesce({content}, ''))::uuid AS h FROM {docs} AS {alias}
        WHERE ($1::{id_type} IS NULL OR {id} > $1::{id_type}) AND ($2::{id_type} IS NULL OR {id} <= $2::{id_type}) AND {filter}) w
  LEFT JOIN {target} t ON t.doc_id = w.id AND ($1::{id_type} IS NULL OR t.doc_id > $1::{id_type}) AND ($2::{id_type} IS NULL OR t.doc_id <= $2::{id_type})
  LEFT JOIN reembed.failure f ON f.migration = $4 AND f.space_id = $3 AND f.doc_id = w.id::text AND NOT f.retrying
        AND (f.content_hash IS NULL OR f.content_hash = w.h)),
wrong AS MATERIALIZED (SELECT d.id, d.missing FROM d WHERE d.current IS NOT TRUE AND d.kind IS NULL),
noted AS (
  INSERT INTO {changes} (space_id, doc_id)
  SELECT $3, x.id FROM wrong x WHERE $5 AND NOT EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $3 AND c.doc_id = x.id)
  RETURNING 1)
SELECT count(*) AS eligible, count(*) FILTER (WHERE current) AS current,
       count(*) FILTER (WHERE current IS NOT TRUE AND kind = 'skipped') AS excused,
       count(*) FILTER (WHERE current IS NOT TRUE AND kind = 'failed') AS failed,
       (SELECT count(*) FILTER (WHERE missing) FROM wrong) AS missing,
       (SELECT count(*) FILTER (WHERE NOT missing) FROM wrong) AS stale,
       (SELECT count(*) FROM noted) AS noted,
       (SELECT count(*) FROM wrong x WHERE EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $3 AND c.doc_id = x.id))
         + (SELECT count(*) FROM noted) AS queued
FROM d
