SELECT reembed.resume($1) AS json
