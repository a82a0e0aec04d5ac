SELECT json_agg(migration_id ORDER BY created_at DESC) AS json FROM reembed.progress
