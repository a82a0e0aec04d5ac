SELECT to_json(reembed.finalize_drops($1, $2)) AS json
