-- $1: the id. NULL where there is no such migration, an empty array where nothing failed.
SELECT CASE WHEN EXISTS (SELECT 1 FROM reembed.progress WHERE migration_id = $1) THEN
         (SELECT coalesce(json_agg(row_to_json(f)), '[]')
            FROM (SELECT doc_id, kind, reason, detail, attempts, http_status, first_at, last_at, model,
                         extract(epoch FROM clock_timestamp() - last_at) AS last_ago
                  FROM reembed.failures WHERE migration_id = $1 ORDER BY kind, last_at DESC, doc_id) f)
       END AS json
