-- Exact, both ways in one walk: documents of lo < id <= hi whose vector is not current, and vectors without a document.
-- What nobody has noted yet goes into the change log, so the drainer settles it. Also counts, so that the same walk
-- measures the coverage.
--   eligible = current + missing + stale + excused + failed
--   noted: put into the change log now, of missing, stale and orphaned;  queued: with those that were in it already
-- $1 lo (NULL: from the start)  $2 hi (NULL: to the end)  $3 space  $4 migration number  $5 note, or only count
WITH walk AS MATERIALIZED (
  SELECT count(d.id) AS eligible, count(*) FILTER (WHERE d.h = t.content_hash) AS current,
         array_agg(d.id) FILTER (WHERE d.h IS DISTINCT FROM t.content_hash AND d.id IS NOT NULL) AS ids,
         array_agg(d.h) FILTER (WHERE d.h IS DISTINCT FROM t.content_hash AND d.id IS NOT NULL) AS hashes,
         array_agg(t.content_hash IS NULL) FILTER (WHERE d.h IS DISTINCT FROM t.content_hash AND d.id IS NOT NULL) AS missing,
         array_agg(t.doc_id) FILTER (WHERE d.id IS NULL AND t.content_hash IS NOT NULL) AS orphans
  FROM (SELECT {id} AS id, md5(coalesce({content}, ''))::uuid AS h FROM {docs} AS {alias}
        WHERE ($1::{id_type} IS NULL OR {id} > $1::{id_type}) AND ($2::{id_type} IS NULL OR {id} <= $2::{id_type}) AND {filter}) d
  FULL JOIN (SELECT reembed_t.doc_id, reembed_t.content_hash FROM {target} reembed_t
        WHERE ($1::{id_type} IS NULL OR reembed_t.doc_id > $1::{id_type}) AND ($2::{id_type} IS NULL OR reembed_t.doc_id <= $2::{id_type})) t
    ON t.doc_id = d.id),
behind AS MATERIALIZED (
  SELECT u.id, u.missing, f.kind
  FROM walk, unnest(walk.ids, walk.hashes, walk.missing) AS u(id, h, missing)
  LEFT JOIN reembed.failure f ON f.migration = $4 AND f.space_id = $3 AND f.doc_id = u.id::text AND NOT f.retrying
        AND (f.content_hash IS NULL OR f.content_hash = u.h)),
wrong AS MATERIALIZED (
  SELECT id FROM behind WHERE kind IS NULL UNION ALL SELECT o.id FROM walk, unnest(walk.orphans) AS o(id)),
noted AS (
  INSERT INTO {changes} (space_id, doc_id)
  SELECT $3, x.id FROM wrong x WHERE $5 AND NOT EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $3 AND c.doc_id = x.id)
  RETURNING 1)
SELECT walk.eligible, walk.current,
       (SELECT count(*) FROM behind WHERE kind = 'skipped') AS excused,
       (SELECT count(*) FROM behind WHERE kind = 'failed') AS failed,
       (SELECT count(*) FROM behind WHERE kind IS NULL AND missing) AS missing,
       (SELECT count(*) FROM behind WHERE kind IS NULL AND NOT missing) AS stale,
       coalesce(cardinality(walk.orphans), 0)::bigint AS orphaned,
       (SELECT count(*) FROM noted) AS noted,
       (SELECT count(*) FROM wrong x WHERE EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $3 AND c.doc_id = x.id))
         + (SELECT count(*) FROM noted) AS queued
FROM walk
