SELECT coalesce(max(version), 0) AS version FROM reembed.schema_version
