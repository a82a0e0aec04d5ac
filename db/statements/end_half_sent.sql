-- Ends backends of ours that stand in the middle of a transaction, with locks on our tables, and wait for their client for
-- longer than a statement may take: it was stopped, or its network broke, between a statement and the Sync behind it. No
-- timeout of the server's counts that time (before Postgres 17 there is none that could), and the rows stay locked.
-- `active` and yet reading: only the middle of a pipeline or of a COPY looks like that, never a person's open transaction.
-- $1 statement timeout in milliseconds
SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) AS ended FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
  AND a.state = 'active' AND a.wait_event = 'ClientRead' AND a.xact_start < clock_timestamp() - $1 * interval '1 millisecond'
  AND EXISTS (SELECT 1 FROM pg_locks l JOIN pg_class k ON k.oid = l.relation
              WHERE l.pid = a.pid AND l.granted AND l.mode <> 'AccessShareLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND k.relnamespace IN (to_regnamespace('reembed'), to_regnamespace('reembed_data')))
