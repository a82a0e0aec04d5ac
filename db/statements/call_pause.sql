SELECT reembed.pause($1, $2) AS json
