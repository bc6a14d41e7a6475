-- Who asked what: rows that the service adds, and that only the owner deletes once they are old.

-- name: add_accesses
INSERT INTO meter.access (day, at, token, person, role, route, subjects, count)
SELECT day, at, token, person, role, route, string_to_array(subjects, ' '), count
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bigint[]) AS added (day, at, token, person, role, route, subjects, count);

-- name: accesses
SELECT number, at, token, person, role, route, subjects, count
FROM meter.access
WHERE at >= $1 AND at < $2 AND ($3 = '' OR token = $3) AND ($4 = '' OR person = $4)
    AND ($5 = '' OR $5 = ANY (subjects)) AND ($6 = '' OR route = $6) AND (at, number) > ($7, $8)
ORDER BY at, number
LIMIT $9;

-- name: prune_accesses
DELETE FROM meter.access WHERE day < $1;
