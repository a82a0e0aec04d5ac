-- Whether the expressions of the file can be computed at all.
SELECT count({content}) AS texts FROM (SELECT * FROM {docs} LIMIT 100) AS {alias} WHERE {filter}
