SELECT reembed.retry($1, $2) AS json
