SELECT reembed.skip($1, $2, $3) AS json
