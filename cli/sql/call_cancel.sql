SELECT reembed.cancel($1, $2) AS json
