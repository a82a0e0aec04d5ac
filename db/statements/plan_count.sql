SELECT count(*) AS documents FROM {docs} AS {alias} WHERE {filter}
