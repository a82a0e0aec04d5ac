SELECT to_json(reembed.grant_role($1, $2)::text) AS json
