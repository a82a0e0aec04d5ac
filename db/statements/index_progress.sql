-- The share of a running build, noted for display.  $1 migration number
UPDATE reembed.migration m SET index_done = p.share
FROM (SELECT CASE WHEN g.blocks_total > 0 AND g.tuples_total > 0 THEN greatest(g.blocks_done::float8 / g.blocks_total, g.tuples_done::float8 / g.tuples_total)
                  WHEN g.blocks_total > 0 THEN g.blocks_done::float8 / g.blocks_total ELSE 0 END AS share
      FROM reembed.migration x LEFT JOIN reembed.placement p ON p.migration = x.number
      JOIN reembed.space s ON s.space_id = coalesce(p.column_space, x.target_space)
      JOIN pg_catalog.pg_stat_progress_create_index g ON g.relid = pg_catalog.to_regclass(s.table_name) AND g.datname = pg_catalog.current_database()
      WHERE x.number = $1 LIMIT 1) p
WHERE m.number = $1
