-- The worst lag of the replicas. hidden: replicas whose figures this role may not see (grant pg_monitor).
SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 AS lag, count(*) FILTER (WHERE state IS NULL) AS hidden
FROM pg_catalog.pg_stat_replication
