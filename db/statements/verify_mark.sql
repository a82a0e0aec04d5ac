-- Vectors that were found wrong: no longer of their content, and noted in the change log, so that a worker makes them
-- anew. Until then they stay where they are: a search finds the document, as badly as before. Not of documents that were
-- written meanwhile.  $1 space  $2 ids  $3 content hashes as they were
WITH marked AS (
  UPDATE {target} t SET content_hash = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
  FROM unnest($2::{id_type}[], $3::uuid[]) AS u(id, h)
  WHERE t.doc_id = u.id AND t.content_hash = u.h RETURNING t.doc_id),
noted AS (
  INSERT INTO {changes} (space_id, doc_id) SELECT $1, m.doc_id FROM marked m
  WHERE NOT EXISTS (SELECT 1 FROM {changes} c WHERE c.space_id = $1 AND c.doc_id = m.doc_id) RETURNING 1)
SELECT (SELECT count(*) FROM marked) AS marked, (SELECT count(*) FROM noted) AS noted
