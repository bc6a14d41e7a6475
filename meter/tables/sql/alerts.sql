-- name: put_alerts
-- Of crossings by their audiences, to the targets that want them. The key is of one length, so that
-- no two pairs of key and target are one text.
INSERT INTO meter.alert (id, target, kind, body, made_at, due_at)
SELECT DISTINCT ON (1)
    'msg_' || left(encode(sha256(convert_to(crossed.key || target.id, 'UTF8')), 'hex'), 32),
    target.id, crossed.kind, crossed.body, $5::bigint, $5
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) AS crossed (key, kind, body, audience)
JOIN meter.alert_target AS target
    ON target.audience = crossed.audience AND crossed.kind = ANY (target.kinds)
WHERE target.off_at IS NULL
ON CONFLICT (id) DO NOTHING;

-- name: end_standing
-- All but those that stand.
DELETE FROM meter.alert_standing AS held WHERE NOT EXISTS (
    SELECT FROM unnest($1::text[], $2::text[]) AS now (kind, about)
    WHERE (now.kind, now.about) = (held.kind, held.about)
);

-- name: begin_standing
INSERT INTO meter.alert_standing (kind, about) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (kind, about) DO NOTHING
RETURNING kind, about;

-- name: forget_alerts
-- With their attempts. Whoever has it sent again meanwhile keeps it.
DELETE FROM meter.alert WHERE due_at IS NULL AND id IN (
    SELECT id FROM meter.alert WHERE made_at < $1 AND due_at IS NULL ORDER BY made_at LIMIT $2
);

-- name: forget_requests
DELETE FROM meter.alert_request WHERE name IN (
    SELECT name FROM meter.alert_request WHERE made_at < $1 ORDER BY made_at LIMIT $2
);

-- name: newest_batches
-- When the batch of the highest number of each stream was committed, of all streams the latest.
SELECT held.provider, max(segment.last_at) AS at
FROM meter.stream AS held
JOIN meter.batch ON (batch.provider, batch.stream, batch.seq)
    = (held.provider, held.stream, held.last)
CROSS JOIN LATERAL (
    SELECT last_at FROM ledger.segment WHERE first <= batch.entry ORDER BY first DESC LIMIT 1
) AS segment
GROUP BY held.provider;

-- name: note_request
INSERT INTO meter.alert_request (name, asked, made_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO NOTHING
RETURNING name;

-- name: request
SELECT asked FROM meter.alert_request WHERE name = $1;

-- name: add_target
INSERT INTO meter.alert_target (id, owner, role, audience, means, address, language, kinds, made_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: targets
SELECT id, owner, role, audience, means, address, language, kinds, made_at, off_at, off_why
FROM meter.alert_target WHERE owner = $1 ORDER BY made_at, id;

-- name: lock_targets
-- So that a person's targets are counted and added by one at a time.
SELECT pg_advisory_xact_lock(hashtextextended('meter.alert_target ' || $1, 0));

-- name: change_target
UPDATE meter.alert_target SET language = $3, kinds = $4 WHERE id = $1 AND owner = $2;

-- name: turn_off
UPDATE meter.alert_target SET off_at = $2, off_why = $3 WHERE id = $1 AND off_at IS NULL;

-- name: rest
UPDATE meter.alert SET due_at = NULL WHERE target = $1 AND due_at IS NOT NULL;

-- name: put_notice
-- To all other targets of the owner of one.
INSERT INTO meter.alert (id, target, kind, body, made_at, due_at)
SELECT 'msg_' || left(encode(sha256(convert_to($2 || target.id, 'UTF8')), 'hex'), 32),
    target.id, 'off', $3, $4, $4
FROM meter.alert_target AS lost JOIN meter.alert_target AS target
    ON target.owner = lost.owner AND target.id <> lost.id
WHERE lost.id = $1 AND target.off_at IS NULL
ON CONFLICT (id) DO NOTHING;

-- name: turn_on
UPDATE meter.alert_target SET off_at = NULL, off_why = '' WHERE id = $1 AND off_at IS NOT NULL
RETURNING id;

-- name: resume
-- Whatever was not taken.
UPDATE meter.alert SET due_at = $2, attempts = 0 WHERE target = $1 AND taken_at IS NULL;

-- name: put_test
INSERT INTO meter.alert (id, target, kind, body, made_at, due_at) VALUES ($1, $2, 'test', $3, $4, $4)
ON CONFLICT (id) DO NOTHING;

-- name: send_again
UPDATE meter.alert SET due_at = $2, attempts = 0, taken_at = NULL
FROM meter.alert_target AS target
WHERE alert.id = $1 AND target.id = alert.target AND target.off_at IS NULL AND alert.due_at IS NULL;

-- name: due_alerts
-- The oldest one of each target that is not at work; its owner may have ended since.
SELECT DISTINCT ON (alert.target) alert.id AS alert, alert.kind, alert.body, alert.attempts,
    target.id, target.owner, target.role, target.audience, target.means, target.address,
    target.language, target.kinds, target.made_at, target.off_at, target.off_why,
    EXISTS (SELECT FROM meter.person WHERE person.id = target.owner AND ended_at IS NULL)
    OR EXISTS (
        SELECT FROM meter.token WHERE token.id = target.owner AND revoked_at IS NULL
            AND (expires_at IS NULL OR expires_at > $1)
    ) AS may_read
FROM meter.alert JOIN meter.alert_target AS target ON target.id = alert.target
WHERE alert.due_at <= $1 AND target.off_at IS NULL AND target.id <> ALL ($2::text[])
ORDER BY alert.target, alert.due_at LIMIT $3;

-- name: note_attempt
INSERT INTO meter.alert_attempt (alert, at, is_taken, detail, ms) VALUES ($1, $2, $3, $4, $5);

-- name: settle
UPDATE meter.alert SET attempts = attempts + 1, due_at = $2, taken_at = $3 WHERE id = $1;

-- name: deliveries
SELECT alert.id, alert.target, alert.kind, alert.body, alert.made_at, alert.due_at, alert.taken_at
FROM meter.alert JOIN meter.alert_target AS target ON target.id = alert.target
WHERE target.owner = $1 ORDER BY alert.made_at DESC, alert.id LIMIT $2;

-- name: delivery
SELECT alert.id, alert.target, alert.kind, alert.body, alert.made_at, alert.due_at, alert.taken_at
FROM meter.alert JOIN meter.alert_target AS target ON target.id = alert.target
WHERE target.owner = $1 AND alert.id = $2;

-- name: attempts
SELECT alert, at, is_taken, detail, ms FROM meter.alert_attempt
WHERE alert = ANY ($1) ORDER BY alert, number;

-- name: waiting
-- How many messages wait, and when the first of them is due.
SELECT count(*) AS count, min(due_at) AS due FROM meter.alert WHERE due_at IS NOT NULL;

-- name: keep_webhook_key
INSERT INTO meter.alert_key (public) VALUES ($1)
ON CONFLICT (is_one) DO UPDATE SET public = EXCLUDED.public;

-- name: webhook_key
SELECT public FROM meter.alert_key;
