-- name: past_months
SELECT month, first, ends FROM meter.ledger_month ORDER BY month DESC;

-- name: lines
SELECT item, cost, granted FROM meter.month_booking
WHERE month = $1 AND ($2::text[] IS NULL OR item = ANY ($2::text[])) AND item > $3
ORDER BY item LIMIT $4;

-- name: total
SELECT coalesce(sum(cost), 0) AS cost, coalesce(sum(granted), 0) AS granted
FROM meter.month_booking
WHERE month = $1 AND ($2::text[] IS NULL OR item = ANY ($2::text[]));

-- name: changes
-- Each part is a range of an index.
SELECT entry, day FROM (
    (SELECT voided AS entry, day FROM meter.record
    WHERE contract = $1 AND voided > $2 AND voided < $3 ORDER BY voided LIMIT $4)
    UNION ALL
    (SELECT released, day FROM meter.record
    WHERE contract = $1 AND released > $2 AND released < $3 ORDER BY released LIMIT $4)
) AS found ORDER BY entry LIMIT $4;

-- name: voids
SELECT held.provider, held.id, held.voided
FROM unnest($1::text[], $2::text[]) AS asked (provider, id)
JOIN meter.record AS held USING (provider, id)
WHERE held.voided IS NOT NULL;
