SELECT reembed.finalize($1, $2, $3, $4) AS json
