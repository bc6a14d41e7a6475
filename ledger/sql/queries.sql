-- name: exists
SELECT to_regclass('ledger.head') IS NOT NULL;

-- name: server_settings
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'server_encoding');

-- name: collation_versions
-- Of the database's own collation: when it was made, and now. A collation without one has none.
SELECT coalesce(datcollversion, '') AS made_with, coalesce(actual, '') AS now
FROM pg_database, pg_database_collation_actual_version(oid) AS actual
WHERE datname = current_database();

-- name: login
SELECT session_user::text;

-- name: missing_roles
-- Of a ledger whose tables the role $1 owns, which the role $2 serves, and the login $3 by it.
WITH named AS (
    SELECT to_regrole($1) AS owner, to_regrole($2) AS service, to_regrole(quote_ident($3)) AS serving,
        to_regrole(quote_ident(session_user)) AS setup,
        CASE WHEN current_setting('server_version_num')::int >= 160000
            THEN 'SET' ELSE 'MEMBER' END AS member
)
SELECT missing.what FROM named CROSS JOIN LATERAL (VALUES
    ('the role ' || $1, owner IS NULL),
    ('the role ' || $2, service IS NULL),
    ('the login ' || $3, serving IS NULL),
    (session_user || ' as a member of ' || $1, NOT pg_has_role(setup, owner, member)),
    (session_user || ' as a member of ' || $2, NOT pg_has_role(setup, service, member)),
    ($3 || ' as a member of ' || $2, NOT pg_has_role(serving, service, member)),
    ('CREATE on the database for ' || $1,
        NOT has_database_privilege(owner, current_database(), 'CREATE')),
    ('a REVOKE of CONNECT on the database from PUBLIC',
        has_database_privilege('public', current_database(), 'CONNECT'))
) AS missing (what, is_missing)
WHERE is_missing;

-- name: owns_by_itself
-- Whether the login has made itself a member of the owner's role.
SELECT EXISTS (
    SELECT FROM pg_auth_members
    WHERE roleid = to_regrole($1) AND member = to_regrole(quote_ident(session_user))
        AND grantor = member
);

-- name: leave_owner
REVOKE :"owner" FROM SESSION_USER;

-- name: login_strength
-- How a login could change what the service's role may not.
SELECT CASE
    WHEN rolsuper THEN 'superuser'
    WHEN pg_has_role(rolname, $1::text, CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN 'SET' ELSE 'MEMBER' END) THEN 'member of ' || $1
    ELSE ''
END FROM pg_roles WHERE rolname = session_user;

-- name: takes_writes
-- Off on a standby, and where the database or the role is set so.
SELECT current_setting('transaction_read_only') = 'off';

-- name: head
SELECT epoch, size, root, frontier, last_at FROM ledger.head;

-- name: epoch
SELECT epoch FROM ledger.head;

-- name: as_login_role
SET ROLE NONE;

-- name: end_other_writers
-- A writer that hangs within a commit would hold the row lock of the head for ever. The writers of
-- a database have one application name, if they have any; each gets 5,000 ms to end.
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE application_name = current_setting('application_name') AND application_name <> ''
    AND datname = current_database() AND pid <> pg_backend_pid();

-- name: as_usual_role
RESET ROLE;

-- name: end_lease
-- For a writer that waits for no turn.
UPDATE ledger.lease SET holder = '', address = '', expires = '-infinity';

-- name: has_lease
SELECT true FROM ledger.lease WHERE holder = $1 AND expires > clock_timestamp();

-- name: lock_lease
SELECT true FROM ledger.lease WHERE holder = $1 AND expires > clock_timestamp() FOR UPDATE;

-- name: lock_any_lease
SELECT true FROM ledger.lease FOR UPDATE;

-- name: take_over
-- Waits for the row lock of a commit that is still under way, then shuts its writer out.
WITH head AS (
    UPDATE ledger.head SET epoch = epoch + 1 RETURNING epoch, size, root, frontier, last_at
)
UPDATE ledger.lease SET epoch = head.epoch FROM head
RETURNING head.epoch, size, root, frontier, last_at;

-- name: take_over_from
WITH head AS (
    UPDATE ledger.head SET epoch = epoch + 1 WHERE epoch = $1
    RETURNING epoch, size, root, frontier, last_at
)
UPDATE ledger.lease SET epoch = head.epoch FROM head
RETURNING head.epoch, size, root, frontier, last_at;

-- name: confirm
-- Its commit waits for what comes before it in the log, wherever standbys are waited for.
UPDATE ledger.lease SET epoch = epoch;

-- name: take_lease
-- Of two at once, the second one waits for the first one's row lock and finds the lease taken.
UPDATE ledger.lease
SET holder = $1, address = $2, expires = clock_timestamp() + make_interval(secs => $3)
WHERE holder = $1 OR expires <= clock_timestamp()
RETURNING true;

-- name: renew_lease
-- The first one may be longer than those after it, while a state is loaded.
UPDATE ledger.lease
SET expires = CASE WHEN $3 THEN clock_timestamp() + make_interval(secs => $2)
    ELSE greatest(expires, clock_timestamp() + make_interval(secs => $2)) END
WHERE holder = $1
RETURNING true;

-- name: release_lease
UPDATE ledger.lease SET expires = '-infinity' WHERE holder = $1;

-- name: holder
-- Where the holder of the lease is reached, if it has not run out.
SELECT holder, address FROM ledger.lease WHERE expires > clock_timestamp() AND address <> '';

-- name: put_checkpoint
-- Nothing is stored for an epoch that is over. One that is stored already stays as it is.
WITH ours AS (SELECT epoch FROM ledger.lease WHERE epoch = $1 FOR SHARE)
INSERT INTO ledger.checkpoint (size, epoch, note, is_shown)
SELECT $2, epoch, $3, false FROM ours
ON CONFLICT (size) DO UPDATE SET epoch = EXCLUDED.epoch
RETURNING note;

-- name: show_checkpoint
WITH ours AS (SELECT epoch FROM ledger.lease WHERE epoch = $1 FOR SHARE), gone AS (
    DELETE FROM ledger.checkpoint USING ours WHERE size < $2
)
INSERT INTO ledger.checkpoint (size, epoch, note, is_shown)
SELECT $2, epoch, $3, true FROM ours
ON CONFLICT (size) DO UPDATE SET epoch = EXCLUDED.epoch, note = EXCLUDED.note, is_shown = true
RETURNING true;

-- name: shown_checkpoint
SELECT note FROM ledger.checkpoint WHERE is_shown ORDER BY size DESC LIMIT 1;

-- name: append
-- One statement for all: each one costs a group more than its rows do. Nothing is added where the
-- head is another writer's by now.
WITH moved AS (
    UPDATE ledger.head SET size = $3, root = $4, frontier = $5, last_at = $6
    WHERE epoch = $1 AND size = $2
    RETURNING 1
), segments AS (
    INSERT INTO ledger.segment (first, count, bundle, leaf_hashes, last_at, root)
    SELECT $2, $7::integer, $8::bytea, $9::bytea, $6, $4 FROM moved
), balances AS (
    INSERT INTO ledger.account (name, fen)
    SELECT name, changed.fen FROM unnest($10::text[], $11::text[]::numeric[]) AS changed (name, fen), moved
    ON CONFLICT (name) DO UPDATE SET fen = EXCLUDED.fen
)
SELECT count(*) FROM moved;

-- name: put_balances
INSERT INTO ledger.account (name, fen)
SELECT * FROM unnest($1::text[], $2::text[]::numeric[])
ON CONFLICT (name) DO UPDATE SET fen = EXCLUDED.fen;

-- name: clear_balances
DELETE FROM ledger.account;

-- name: balances
SELECT name, fen FROM ledger.account;

-- name: segments
-- All segments that hold entries of [$1, $2), in order.
SELECT first, count, bundle FROM ledger.segment
WHERE first >= coalesce((SELECT max(first) FROM ledger.segment WHERE first <= $1), 0)
  AND first + count > $1 AND first < $2
ORDER BY first;

-- name: segment_after
-- The first segment that holds an entry later than an instant.
SELECT first, count, bundle FROM ledger.segment
WHERE last_at > $1 ORDER BY last_at, first LIMIT 1;

-- name: sizes_before
-- How many entries came before the first commit that ended at each instant or later.
SELECT at.place, segment.first FROM unnest($1::bigint[]) WITH ORDINALITY AS at (instant, place)
CROSS JOIN LATERAL (
    SELECT first FROM ledger.segment WHERE last_at >= at.instant ORDER BY last_at, first LIMIT 1
) AS segment
ORDER BY at.place;

-- name: segment_of
-- The number of the first entry of the segment that holds an entry.
SELECT first FROM ledger.segment WHERE first <= $1 ORDER BY first DESC LIMIT 1;

-- name: commit_before
-- The end of the last commit all of whose entries are of an instant or earlier.
SELECT first + count AS size, last_at FROM ledger.segment
WHERE last_at <= $1 ORDER BY last_at DESC, first DESC LIMIT 1;

-- name: commit_within
-- The end of the commit that made entry $1.
SELECT first + count AS size, last_at FROM ledger.segment
WHERE first <= $1 ORDER BY first DESC LIMIT 1;

-- name: root_at
-- The root of the first $1 entries, where a segment ends with the last of them.
SELECT root FROM (
    SELECT first + count AS size, root FROM ledger.segment
    WHERE first < $1 ORDER BY first DESC LIMIT 1
) AS last
WHERE size = $1;

-- name: segments_holding
-- The segments that hold the given entries, in order, up to the one that reaches $2 entries.
SELECT first, held.count, held.bundle
FROM (
    SELECT first, sum(count) OVER (ORDER BY first) - count AS before
    FROM (
        SELECT DISTINCT segment.first, segment.count
        FROM unnest($1::bigint[]) AS wanted (number)
        CROSS JOIN LATERAL (
            SELECT first, count FROM ledger.segment
            WHERE first <= wanted.number ORDER BY first DESC LIMIT 1
        ) AS segment
    ) AS holding
) AS chosen JOIN ledger.segment AS held USING (first)
WHERE chosen.before < $2 ORDER BY first;
