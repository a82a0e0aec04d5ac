SELECT reembed.rollback($1, $2, $3) AS json
