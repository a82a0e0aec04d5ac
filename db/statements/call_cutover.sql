SELECT reembed.cutover($1, $2) AS json
