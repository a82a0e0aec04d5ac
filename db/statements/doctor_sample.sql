-- What a column holds, in a bounded number of rows. Nothing of a text leaves the server.  $1 rows at most
WITH s AS MATERIALIZED (
  SELECT {vector} AS v, {content} AS body, {updated} > {embedded} AS stale FROM {from} WHERE {filter} LIMIT $1),
m AS MATERIALIZED (
  SELECT v IS NULL AS none, CASE WHEN {has_content} THEN coalesce(btrim(body, E' \t\r\n') = '', true) END AS blank, stale,
         {vector_schema}.vector_dims(v) AS dimensions, {vector_schema}.vector_norm(v::{vector_schema}.vector) AS norm,
         md5({vector_schema}.{send}(v)) AS vector,
         -- the beginning, as a model that knows no capitals reads it: a longer text is cut, and its end changes nothing
         md5(lower(regexp_replace(left(btrim(body, E' \t\r\n'), 100), '\s+', ' ', 'g'))) AS text FROM s)
SELECT count(*) AS rows, count(*) FILTER (WHERE NOT none) AS vectors,
       count(*) FILTER (WHERE none AND blank IS NOT TRUE) AS without_vector,
       count(*) FILTER (WHERE NOT none AND blank) AS without_text,
       count(*) FILTER (WHERE NOT none AND stale) AS stale, count(stale) AS dated,
       count(DISTINCT dimensions) AS sizes, (SELECT string_agg(d.dimensions || ' (' || d.n || ')', ', ' ORDER BY d.n DESC)
         FROM (SELECT dimensions, count(*) AS n FROM m WHERE NOT none GROUP BY 1 ORDER BY 2 DESC LIMIT 5) d) AS size_list,
       count(*) FILTER (WHERE norm = 0) AS zero, count(*) FILTER (WHERE norm IN ('NaN', 'Infinity')) AS not_finite,
       count(*) FILTER (WHERE norm > 0.99 AND norm < 1.01) AS unit,
       count(*) FILTER (WHERE norm > 0 AND norm < 'Infinity') AS finite,
       coalesce(min(norm) FILTER (WHERE norm > 0 AND norm < 'Infinity'), 0)::float8 AS smallest,
       coalesce(max(norm) FILTER (WHERE norm > 0 AND norm < 'Infinity'), 0)::float8 AS largest,
       (SELECT coalesce(sum(g.n), 0)::bigint FROM (SELECT count(*) AS n FROM m WHERE norm > 0 AND {has_content} GROUP BY vector
           HAVING count(*) > 1 AND count(DISTINCT text) > 1) g) AS shared,
       (SELECT coalesce(max(g.n), 0)::bigint FROM (SELECT count(*) AS n FROM m WHERE norm > 0 GROUP BY vector) g) AS most_shared
FROM m
