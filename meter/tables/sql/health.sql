-- name: settings
SELECT current_setting('server_version') AS version,
    current_setting('max_connections')::int AS connections,
    current_setting('data_checksums') = 'on' AS has_checksums;

-- name: standbys
-- Without pg_read_all_stats a login sees rows, and hardly anything in them. A standby's own standbys
-- follow what it has received.
SELECT coalesce(nullif(application_name, ''), 'without a name') AS name, sync_state AS kind,
    pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
        replay_lsn
    )::bigint AS behind
FROM pg_stat_replication ORDER BY 1;

-- name: idle_slots
SELECT slot_name::text FROM pg_replication_slots WHERE NOT active AND NOT temporary ORDER BY 1;
