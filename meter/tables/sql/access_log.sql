-- Who asked what: rows that the service adds, and that only the owner deletes once they are old.
-- Who adds rows shares a lock, and who closes days waits for them: so a closed day gets no more rows.

-- name: lock_open_days
SELECT pg_advisory_xact_lock_shared(hashtextextended('meter.closed_access_day', 0));

-- name: lock_all_days
SELECT pg_advisory_xact_lock(hashtextextended('meter.closed_access_day', 0));

-- name: add_accesses
-- What comes late is counted into the first day that is open.
INSERT INTO meter.access (day, at, token, person, role, route, subjects, count)
SELECT greatest(day, (SELECT max(closed.day) + 1 FROM meter.closed_access_day AS closed)),
    at, token, person, role, route, string_to_array(subjects, ' '), count
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bigint[]) AS added (day, at, token, person, role, route, subjects, count);

-- name: close_access_day
INSERT INTO meter.closed_access_day (day)
SELECT $1 WHERE NOT EXISTS (SELECT FROM meter.closed_access_day WHERE day >= $1);

-- name: next_closed_day
SELECT min(day) FROM meter.access
WHERE day > $1 AND day <= (SELECT max(day) FROM meter.closed_access_day);

-- name: accesses_of_day
-- Minute by minute, in the order of their lines.
SELECT at, token, person, role, route, subjects, count FROM meter.access WHERE day = $1
ORDER BY at::text COLLATE "C";

-- name: newest_access_digests
SELECT entry, data FROM meter.registration WHERE kind = 'access_digest' ORDER BY entry DESC LIMIT $1;

-- name: accesses
-- Of the next $11 rows those that are asked for, and the last one, if there are as many.
SELECT day, number, at, token, person, role, route, subjects, count, is_sought, place = $11 AS is_last
FROM (
    SELECT *, row_number() OVER (ORDER BY day, at, number) AS place,
        ($3 = '' OR token = $3) AND ($4 = '' OR person = $4) AND ($5 = '' OR $5 = ANY (subjects))
            AND ($6 = '' OR route = $6) AS is_sought
    FROM meter.access
    WHERE day >= $1 AND day < $2 AND (day, at, number) > ($7, $8, $9)
    ORDER BY day, at, number LIMIT $11
) AS read
WHERE is_sought OR place = $11
ORDER BY day, at, number LIMIT $10;

-- name: prune_accesses
DELETE FROM meter.access WHERE day < $1 AND day <= $2;
