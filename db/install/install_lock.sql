-- Installing processes go one after the other. The number is only there to be the same in all of them.
SELECT pg_catalog.pg_advisory_xact_lock(8243102114919);
