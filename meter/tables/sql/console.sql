-- name: person
SELECT id, role, subject, name, issuer, subject_there, ended_at FROM meter.person WHERE id = $1;

-- name: persons
SELECT id, role, subject, name, issuer, subject_there, ended_at FROM meter.person ORDER BY id;

-- name: persons_after
SELECT id, role, subject, name, issuer, subject_there, ended_at FROM meter.person
WHERE id > $1 ORDER BY id LIMIT $2;

-- name: person_spelled_alike
SELECT id FROM meter.person WHERE lower(rtrim(id, '.') COLLATE "C") = $2
ORDER BY (id = $1) DESC LIMIT 1;

-- name: add_person
INSERT INTO meter.person (id, role, subject, name) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO NOTHING;

-- name: person_at_issuer
SELECT id, role, subject, name, issuer, subject_there, ended_at FROM meter.person
WHERE issuer = $1 AND subject_there = $2 AND ended_at IS NULL;

-- name: bind_person
UPDATE meter.person SET issuer = $2, subject_there = $3
WHERE id = $1 AND issuer = '' AND ended_at IS NULL;

-- name: end_person
UPDATE meter.person SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL;

-- name: add_link
INSERT INTO meter.sign_in_link (digest, person, ends_at) VALUES ($1, $2, $3);

-- name: use_link
UPDATE meter.sign_in_link SET used_at = $2
WHERE digest = $1 AND used_at IS NULL AND ends_at > $2
RETURNING person;

-- name: session
SELECT held.began_at, held.used_at, held.person AS id, person.role, person.subject, person.name,
    person.issuer, person.subject_there, person.ended_at
FROM meter.session AS held JOIN meter.person ON person.id = held.person
WHERE held.digest = $1 AND held.ended_at IS NULL AND person.ended_at IS NULL;

-- name: begin_session
INSERT INTO meter.session (digest, person, began_at, used_at) VALUES ($1, $2, $3, $3);

-- name: use_session
UPDATE meter.session SET used_at = greatest(used_at, $2) WHERE digest = $1;

-- name: open_sessions
SELECT person, count(*) FROM meter.session
WHERE person = ANY ($1::text[]) AND ended_at IS NULL AND began_at > $2 GROUP BY person;

-- name: end_session
UPDATE meter.session SET ended_at = $2 WHERE digest = $1 AND ended_at IS NULL;

-- name: has_sessions
-- Of one person, or any where `$1` is empty.
SELECT EXISTS (
    SELECT FROM meter.session WHERE ($1 = '' OR person = $1) AND ended_at IS NULL
);

-- name: end_sessions
-- Of one person, or all where `$1` is empty.
UPDATE meter.session SET ended_at = $2 WHERE ($1 = '' OR person = $1) AND ended_at IS NULL;

-- name: note_act
INSERT INTO meter.act (at, person, what, path) VALUES ($1, $2, $3, $4);

-- name: acts
SELECT at, person, what, path FROM meter.act ORDER BY number;

-- name: acts_of
-- The newest first.
SELECT at, person, what, path FROM meter.act WHERE person = $1 ORDER BY number DESC LIMIT $2;
