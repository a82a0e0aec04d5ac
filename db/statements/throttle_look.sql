-- What the backfill is held back by, in one look; what no limit is set for is not looked at and is null.
-- $1: time zone of the active hours. $2, $3, $4: look at the replicas, the WAL, the locks.
-- hidden: replicas whose figures this role may not see (grant pg_monitor). waiting: other sessions of this database that
-- wait for a lock; pg_locks shows them to every role.
SELECT CASE WHEN $1::text IS NOT NULL THEN extract(hour FROM c.at AT TIME ZONE $1) * 60 + extract(minute FROM c.at AT TIME ZONE $1) END::int AS minute,
       r.lag, r.hidden,
       CASE WHEN $3::bool THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0') END::bigint AS wal,
       (extract(epoch FROM c.at) * 1e6)::bigint AS at_us,
       CASE WHEN $4::bool THEN (
         SELECT count(DISTINCT l.pid) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE NOT l.granted AND a.datname = current_database() AND a.application_name NOT LIKE 'reembed%') END AS waiting
FROM (SELECT clock_timestamp() AS at) c
CROSS JOIN LATERAL (
  SELECT coalesce(max(extract(epoch FROM s.replay_lag)), 0)::float8 AS lag, count(*) FILTER (WHERE s.state IS NULL) AS hidden
  FROM pg_catalog.pg_stat_replication s WHERE $2::bool) r
