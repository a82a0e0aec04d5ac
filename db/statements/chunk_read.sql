-- A window of at most $3 documents after $1 (NULL: from the start) up to $2. The window is cut before the comparison, so
-- the caller knows cursor and count exactly. work: 0 already current, 1 to be embedded, 2 known to have no vector.
-- Both look-ups are behind a question that is asked once: in a first backfill there is nothing to be found. It is asked in
-- the order of the index (EXISTS would forget the order): a planner that hopes to find one soon scans the whole table,
-- again for each window.
-- $4: characters of the content to read at most; the hash is over all of it.  $5 migration number, $6 space
SELECT w.id, w.h AS content_hash,
       CASE WHEN t.content_hash = w.h THEN 0 WHEN f.known THEN 2 ELSE 1 END AS work,
       CASE WHEN t.content_hash = w.h OR f.known THEN NULL WHEN octet_length(w.body) > $4 THEN left(w.body, $4) ELSE w.body END AS body,
       coalesce(octet_length(w.body) > $4 AND char_length(w.body) > $4, false) AS cut
FROM (SELECT {id} AS id, {content} AS body, md5(coalesce({content}, ''))::uuid AS h FROM {docs} AS {alias}
      WHERE ($1::{id_type} IS NULL OR {id} > $1::{id_type}) AND {id} <= $2::{id_type} AND {filter} ORDER BY {alias}.{id} LIMIT $3) w
LEFT JOIN LATERAL (SELECT content_hash FROM {target} WHERE doc_id = w.id
                     AND (SELECT true FROM {target} reembed_t WHERE ($1::{id_type} IS NULL OR reembed_t.doc_id > $1::{id_type})
                            AND reembed_t.doc_id <= $2::{id_type} ORDER BY reembed_t.doc_id LIMIT 1) OFFSET 0) t ON true
LEFT JOIN LATERAL (SELECT true AS known FROM reembed.failure x WHERE x.migration = $5 AND x.space_id = $6 AND x.doc_id = w.id::text
                     AND NOT x.retrying AND (x.content_hash IS NULL OR x.content_hash = w.h)
                     AND (SELECT true FROM reembed.failure y WHERE y.migration = $5 AND y.space_id = $6 ORDER BY y.doc_id LIMIT 1) OFFSET 0) f ON true
ORDER BY w.id
