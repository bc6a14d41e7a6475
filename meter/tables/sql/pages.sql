-- The pages of queries, each read within one snapshot. A page takes at most $n rows in the order of
-- its key, after the key where the page before it ended.

-- name: receipt
SELECT provider, entry, receipt, signature FROM meter.batch WHERE payload = $1;

-- name: envelope
SELECT provider, envelope FROM meter.batch WHERE payload = $1
UNION ALL
SELECT provider, envelope FROM meter.seq_conflict WHERE payload = $1;

-- name: batch_of_entry
SELECT payload, envelope, signature FROM meter.batch WHERE entry = $1;

-- name: batches
-- Of a stream, the highest number first; $3 is the number before which they begin.
SELECT entry, seq, payload FROM meter.batch
WHERE provider = $1 AND stream = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4;

-- name: streams
-- With when the batch of the highest number was committed.
SELECT held.stream, held.last, held.batches, (
    SELECT segment.last_at FROM ledger.segment WHERE segment.first <= batch.entry
    ORDER BY segment.first DESC LIMIT 1
) AS last_at
FROM (
    SELECT provider, stream, last, batches FROM meter.stream
    WHERE provider = $1 AND stream > $2 ORDER BY stream LIMIT $3
) AS held
JOIN meter.batch ON (batch.provider, batch.stream, batch.seq)
    = (held.provider, held.stream, held.last)
ORDER BY held.stream;

-- name: stream
SELECT stream, last, batches FROM meter.stream WHERE provider = $1 AND stream = $2;

-- name: summaries
-- The newest of each day, by stream.
SELECT stream, day, entry FROM meter.summary
WHERE provider = $1 AND (stream, day) > ($2, $3::bigint) ORDER BY stream, day LIMIT $4;

-- name: gaps
SELECT first, last FROM meter.gap
WHERE provider = $1 AND stream = $2 AND first > $3 ORDER BY first LIMIT $4;

-- name: gap_days
-- When the batches beside each gap of some providers were accepted: each is looked up, however many
-- there are.
SELECT (
    SELECT last_at FROM ledger.segment WHERE segment.first <= (
        SELECT entry FROM meter.batch
        WHERE (provider, stream, seq) = (held.provider, held.stream, held.first - 1)
    ) ORDER BY segment.first DESC LIMIT 1
) AS begins, (
    SELECT last_at FROM ledger.segment WHERE segment.first <= (
        SELECT entry FROM meter.batch
        WHERE (provider, stream, seq) = (held.provider, held.stream, held.last + 1)
    ) ORDER BY segment.first DESC LIMIT 1
) AS ends
FROM (
    SELECT provider, stream, first, last FROM meter.gap
    WHERE provider = ANY ($1::text[]) ORDER BY provider, stream, first LIMIT $2
) AS held;

-- name: rejected
-- Refused results, and batches whose number was taken, in the order in which they came: those
-- of an entry by their place, and before them the batches that came when the ledger ended there.
SELECT * FROM (
    (SELECT held.entry, held.place, 0::bigint AS number, held.what, batch.payload, batch.stream,
        batch.seq, held.id, held.contract, held.code, held.detail
    FROM meter.refused AS held JOIN meter.batch USING (entry)
    WHERE held.provider = $1 AND (held.entry, held.place) > ($2, $3::bigint)
    ORDER BY held.entry, held.place LIMIT $5)
    UNION ALL
    (SELECT other.size, -1, other.number, 'batch', other.payload, other.stream, other.seq, '',
        NULL, 'seq_conflict', 'the number holds batch ' || held.payload
    FROM meter.seq_conflict AS other JOIN meter.batch AS held USING (provider, stream, seq)
    WHERE other.provider = $1 AND other.size >= $2
        AND (other.size, -1, other.number) > ($2, $3::bigint, $4)
    ORDER BY other.size, other.number LIMIT $5)
) AS found
ORDER BY entry, place, number LIMIT $5;

-- name: has_changed
-- Whether entries of the number $2 and later concern any of some subjects.
SELECT EXISTS (
    SELECT FROM meter.segment_subject AS concerned JOIN ledger.segment AS held USING (first)
    WHERE concerned.subject = ANY ($1::text[]) AND held.first + held.count > $2
        AND concerned.first >= coalesce(
            (SELECT max(first) FROM ledger.segment WHERE first <= $2), 0)
);

-- name: totals
SELECT contract,
    coalesce((SELECT sum(eligible) FROM meter.contract_segment AS own
        WHERE own.contract = held.contract), 0) AS eligible,
    coalesce((SELECT sum(withheld) FROM meter.contract_year AS own
        WHERE own.contract = held.contract), 0) AS withheld,
    related_party, use, outside_policy, outside_term, not_enlisted
FROM meter.contract_total AS held WHERE contract = ANY ($1::text[]);

-- name: years
SELECT contract, entitled, granted FROM meter.contract_year WHERE contract = ANY ($1::text[]);

-- name: past_totals
-- How they stood when the ledger had a size.
SELECT own.contract, past.used, related_party, use, outside_policy, outside_term, not_enlisted
FROM unnest($1::text[]) AS own (contract) CROSS JOIN LATERAL (
    SELECT * FROM meter.contract_total_past WHERE contract = own.contract AND size <= $2
    ORDER BY size DESC LIMIT 1
) AS past;

-- name: past_years
-- Of contracts and awards.
SELECT held.contract, held.year, past.withheld, past.entitled, past.granted
FROM meter.contract_year AS held CROSS JOIN LATERAL (
    SELECT withheld, entitled, granted FROM meter.contract_year_past
    WHERE contract = held.contract AND year = held.year AND size <= $2
    ORDER BY size DESC LIMIT 1
) AS past
WHERE held.contract = ANY ($1::text[]) ORDER BY held.contract, held.year;

-- name: past_coupons
SELECT own.enterprise, own.programme, own.year, past.issued
FROM unnest($1::text[], $2::text[], $3::integer[]) AS own (enterprise, programme, year)
CROSS JOIN LATERAL (
    SELECT issued FROM meter.coupon_past
    WHERE enterprise = own.enterprise AND programme = own.programme AND year = own.year
        AND size <= $4
    ORDER BY size DESC LIMIT 1
) AS past
ORDER BY own.enterprise, own.programme, own.year;

-- name: past_pools
SELECT held.programme, held.year, past.amount, past.issued, past.stated, past.budget,
    past.programmes, (
        SELECT coalesce(sum(share.granted), 0)
        FROM meter.contract_year AS item CROSS JOIN LATERAL (
            SELECT granted FROM meter.contract_year_past
            WHERE contract = item.contract AND year = item.year AND size <= $4
            ORDER BY size DESC LIMIT 1
        ) AS share
        WHERE item.programme = ANY (past.programmes) AND item.year = held.year
    ) AS granted
FROM meter.pool AS held CROSS JOIN LATERAL (
    SELECT amount, issued, stated, budget, programmes FROM meter.pool_past
    WHERE programme = held.programme AND year = held.year AND size <= $4
    ORDER BY size DESC LIMIT 1
) AS past
WHERE (held.programme, held.year) > ($1, $2::bigint)
ORDER BY held.programme, held.year LIMIT $3;

-- name: grants
SELECT contract, year, granted FROM meter.contract_year
WHERE contract = ANY ($1::text[]) ORDER BY contract, year;

-- name: usage
-- The first days of each contract are enough: no later one can be among the first of all.
SELECT held.day, held.device, sum(held.device_time) AS device_time
FROM unnest($1::text[]) AS own (contract) CROSS JOIN LATERAL (
    SELECT day, device, sum(device_time) AS device_time FROM meter.usage_day
    WHERE contract = own.contract AND day >= $2::bigint AND day < $3::bigint
        AND (day, device) > ($4::bigint, $5)
    GROUP BY day, device HAVING sum(device_time) <> 0
    ORDER BY day, device LIMIT $6
) AS held
GROUP BY held.day, held.device ORDER BY held.day, held.device LIMIT $6;

-- name: usage_of_contracts
SELECT contract, day, device, sum(device_time), sum(fits), sum(withheld) FROM meter.usage_day
WHERE contract = ANY ($1::text[]) GROUP BY contract, day, device ORDER BY contract, day, device;

-- name: newest_segments
-- The last segment that concerns each contract, in the order of the contracts.
SELECT (SELECT max(first) FROM meter.segment_subject WHERE subject = 'contract:' || own.contract)
FROM unnest($1::text[]) WITH ORDINALITY AS own (contract, place) ORDER BY own.place;

-- name: concerned
-- Which of some subjects the segments from one on concern.
SELECT subject FROM unnest($1::text[]) AS asked (subject)
WHERE EXISTS (
    SELECT FROM meter.segment_subject AS held
    WHERE held.subject = asked.subject AND held.first >= $2
);

-- name: records
-- Of some contracts, those of some statuses, and where $5 says so the entries that voided and
-- released any, up to a size of the ledger: $4 of each kind are enough.
SELECT held.* FROM unnest($1::text[]) AS own (contract) CROSS JOIN LATERAL (
    SELECT found.* FROM unnest($2::text[]) AS asked (status) CROSS JOIN LATERAL (
        SELECT entry, day, withheld, voided, released FROM meter.record
        WHERE contract = own.contract AND status = asked.status AND entry > $3 AND entry < $6
        ORDER BY entry LIMIT $4
    ) AS found
    UNION ALL
    (SELECT voided, day, NULL, NULL, NULL FROM meter.record
    WHERE $5::boolean AND contract = own.contract AND voided > $3 AND voided < $6
    ORDER BY voided LIMIT $4)
    UNION ALL
    (SELECT released, day, NULL, NULL, NULL FROM meter.record
    WHERE $5::boolean AND contract = own.contract AND released > $3 AND released < $6
    ORDER BY released LIMIT $4)
) AS held
ORDER BY held.entry LIMIT $4;

-- name: newest_records
-- The same from the newest entry on, before $3.
SELECT held.* FROM unnest($1::text[]) AS own (contract) CROSS JOIN LATERAL (
    SELECT found.* FROM unnest($2::text[]) AS asked (status) CROSS JOIN LATERAL (
        SELECT entry, day, withheld, voided, released FROM meter.record
        WHERE contract = own.contract AND status = asked.status AND entry < $3
        ORDER BY entry DESC LIMIT $4
    ) AS found
    UNION ALL
    (SELECT voided, day, NULL, NULL, NULL FROM meter.record
    WHERE $5::boolean AND contract = own.contract AND voided < $3 ORDER BY voided DESC LIMIT $4)
    UNION ALL
    (SELECT released, day, NULL, NULL, NULL FROM meter.record
    WHERE $5::boolean AND contract = own.contract AND released < $3
    ORDER BY released DESC LIMIT $4)
) AS held
ORDER BY held.entry DESC LIMIT $4;

-- name: span_of_days
-- The entries between which all records lie that begin on days in [$2, $3), of some device kinds.
SELECT min(first) AS first, max(last) AS last FROM meter.usage_day
WHERE contract = ANY ($1::text[]) AND day >= $2::bigint AND day < $3::bigint
    AND device = ANY ($4::text[]);

-- name: end_of_reading
-- The entry up to which no more than $5 records lie of each contract and status, from $3 to $4.
SELECT min(found.entry) FROM unnest($1::text[]) AS own (contract)
CROSS JOIN unnest($2::text[]) AS asked (status) CROSS JOIN LATERAL (
    SELECT entry FROM meter.record
    WHERE contract = own.contract AND status = asked.status AND entry >= $3 AND entry <= $4
    ORDER BY entry OFFSET $5 - 1 LIMIT 1
) AS found;

-- name: chosen_records
-- Of the records from $3 to $4, those that begin on days in [$5, $6), of some device kinds.
SELECT found.* FROM unnest($1::text[]) AS own (contract)
CROSS JOIN unnest($2::text[]) AS asked (status) CROSS JOIN LATERAL (
    SELECT entry, day, withheld, voided, released FROM meter.record
    WHERE contract = own.contract AND status = asked.status AND entry >= $3 AND entry <= $4
        AND day >= $5::bigint AND day < $6::bigint AND device = ANY ($7::text[])
    ORDER BY entry LIMIT $8
) AS found
ORDER BY found.entry LIMIT $8;

-- name: newest_end_of_reading
-- The same from $4 down to $3.
SELECT max(found.entry) FROM unnest($1::text[]) AS own (contract)
CROSS JOIN unnest($2::text[]) AS asked (status) CROSS JOIN LATERAL (
    SELECT entry FROM meter.record
    WHERE contract = own.contract AND status = asked.status AND entry >= $3 AND entry <= $4
    ORDER BY entry DESC OFFSET $5 - 1 LIMIT 1
) AS found;

-- name: newest_chosen_records
SELECT found.* FROM unnest($1::text[]) AS own (contract)
CROSS JOIN unnest($2::text[]) AS asked (status) CROSS JOIN LATERAL (
    SELECT entry, day, withheld, voided, released FROM meter.record
    WHERE contract = own.contract AND status = asked.status AND entry >= $3 AND entry <= $4
        AND day >= $5::bigint AND day < $6::bigint AND device = ANY ($7::text[])
    ORDER BY entry DESC LIMIT $8
) AS found
ORDER BY found.entry DESC LIMIT $8;

-- name: reported
-- A provider's records by id, within [$3, $4) and after $2.
SELECT id, entry, voided FROM meter.record
WHERE provider = $1 AND id > $2 AND id >= $3 AND id < $4 ORDER BY id LIMIT $5;

-- name: voided
SELECT held.provider, held.id
FROM unnest($1::text[], $2::text[]) AS asked (provider, id)
JOIN meter.record AS held USING (provider, id)
WHERE held.voided IS NOT NULL;

-- name: refused_or_withheld
-- Of some contracts with their providers: records that were refused, or accepted with a part
-- withheld, by the number of the batch's entry or their own. Another provider's records that name
-- the contract are not its own.
SELECT found.*, own.contract
FROM unnest($1::text[], $2::text[]) AS own (contract, provider) CROSS JOIN LATERAL (
    (SELECT entry, place, provider, id, device, starts, ends, code, detail,
        NULL::bigint AS withheld, NULL AS status
    FROM meter.refused AS held
    WHERE held.contract = own.contract AND held.provider = own.provider
        AND (entry, place) > ($3, $4::bigint)
    ORDER BY entry, place LIMIT $5)
    UNION ALL
    (SELECT held.entry, -1, held.provider, held.id, held.device, held.starts, held.ends,
        'withheld', '', held.cost, record.status
    FROM (
        SELECT * FROM meter.withheld
        WHERE contract = own.contract AND entry > $3 ORDER BY entry LIMIT $5
    ) AS held JOIN meter.record USING (provider, id))
) AS found
ORDER BY found.entry, found.place LIMIT $5;

-- name: to_review
SELECT held.entry, (
        SELECT segment.last_at FROM ledger.segment WHERE segment.first <= held.entry
        ORDER BY segment.first DESC LIMIT 1
    ) AS at, held.provider, held.id, held.contract, held.device, held.milli_devices, held.starts,
    held.ends, held.cost, held.quarters, held.counts, held.device_times, held.limits
FROM meter.record JOIN meter.withheld AS held USING (provider, id)
WHERE record.to_review AND record.voided IS NULL AND record.released IS NULL AND record.entry > $1
    AND record.entry < $2
ORDER BY record.entry LIMIT $3;

-- name: to_review_of
-- Of one provider.
SELECT held.entry, (
        SELECT segment.last_at FROM ledger.segment WHERE segment.first <= held.entry
        ORDER BY segment.first DESC LIMIT 1
    ) AS at, held.provider, held.id, held.contract, held.device, held.milli_devices, held.starts,
    held.ends, held.cost, held.quarters, held.counts, held.device_times, held.limits
FROM meter.record JOIN meter.withheld AS held USING (provider, id)
WHERE record.to_review AND record.voided IS NULL AND record.released IS NULL AND record.entry > $1
    AND record.entry < $2 AND record.provider = $4
ORDER BY record.entry LIMIT $3;

-- name: pools
SELECT programme, year, amount, issued, stated, budget, programmes, (
    SELECT coalesce(sum(granted), 0) FROM meter.contract_year AS share
    WHERE share.programme = ANY (pool.programmes) AND share.year = pool.year
) AS granted
FROM meter.pool
WHERE (programme, year) > ($1, $2::bigint) ORDER BY programme, year LIMIT $3;

-- name: coupons
-- Of the pools that match, each of which has an order of its own: the first of each are enough.
SELECT coupon.*, share.entitled, share.granted
FROM (
    SELECT held.* FROM meter.pool CROSS JOIN unnest(pool.programmes) AS drawing (programme)
    CROSS JOIN LATERAL (
        SELECT enterprise, programme, year, issued FROM meter.coupon
        WHERE programme = drawing.programme AND year = pool.year AND enterprise >= $3
            AND (enterprise, programme, year) > ($3, $4, $5::bigint)
        ORDER BY enterprise LIMIT $6
    ) AS held
    WHERE ($1 = '' OR drawing.programme = $1) AND ($2 = 0 OR pool.year = $2)
    ORDER BY held.enterprise, held.programme, held.year LIMIT $6
) AS coupon CROSS JOIN LATERAL (
    SELECT coalesce(sum(entitled), 0) AS entitled, coalesce(sum(granted), 0) AS granted
    FROM meter.contract_year AS held
    WHERE held.enterprise = coupon.enterprise AND held.programme = coupon.programme
        AND held.year = coupon.year
) AS share
ORDER BY coupon.enterprise, coupon.programme, coupon.year;

-- name: coupon_days
SELECT day, sum(issued) OVER by_day AS issued, sum(granted) OVER by_day AS granted
FROM meter.coupon_day WHERE enterprise = $1 AND programme = $2 AND year = $3
WINDOW by_day AS (ORDER BY day) ORDER BY day;

-- name: pool_days
SELECT day, sum(amount) OVER by_day AS amount, sum(issued) OVER by_day AS issued,
    sum(granted) OVER by_day AS granted
FROM meter.pool_day WHERE programme = $1 AND year = $2
WINDOW by_day AS (ORDER BY day) ORDER BY day;

-- name: holders
SELECT count(DISTINCT coupon.enterprise)
FROM meter.coupon CROSS JOIN LATERAL (
    SELECT sum(coupon_day.issued) AS issued FROM meter.coupon_day
    WHERE enterprise = coupon.enterprise AND programme = coupon.programme
        AND year = coupon.year AND day < $3::bigint
) AS held
WHERE coupon.programme = ANY ($1::text[]) AND coupon.year = $2 AND held.issued > 0;

-- name: segments_about
-- Up to the one that reaches $3 entries; each holds one or more.
SELECT first, held.count, held.bundle
FROM (
    SELECT first, sum(segment.count) OVER (ORDER BY first) - segment.count AS before
    FROM (
        SELECT first FROM meter.segment_subject
        WHERE subject = $1 AND first >= $2 ORDER BY first LIMIT $3
    ) AS concerned JOIN ledger.segment USING (first)
) AS chosen JOIN ledger.segment AS held USING (first)
WHERE chosen.before < $3 ORDER BY first;

-- name: record_entries
SELECT entry, voided, released FROM meter.record
WHERE id = $1 AND provider = ANY ($2::text[]);

-- name: batch_entry
SELECT entry, entries FROM meter.batch WHERE payload = $1;

-- name: tokens
-- All roles where `$1` is empty; people who sign in too, who have an id of the same kind.
SELECT id, role, subject, made_at, expires_at, used_at, revoked_at, signs_in FROM (
    SELECT id, role, subject, (extract(epoch FROM created_at) * 1000000)::bigint AS made_at,
        expires_at, used_at, (extract(epoch FROM revoked_at) * 1000000)::bigint AS revoked_at,
        false AS signs_in
    FROM meter.token
    UNION ALL
    SELECT id, role, subject, (extract(epoch FROM made_at) * 1000000)::bigint,
        NULL, (SELECT max(used_at) FROM meter.session WHERE person = held.id), ended_at, true
    FROM meter.person AS held
) AS listed
WHERE ($1 = '' OR role = $1) AND id > $2
ORDER BY id LIMIT $3;

-- name: closed_proposals
SELECT proposal, entry, is_confirmed FROM meter.closed_proposal
WHERE proposal = ANY ($1::bigint[]);
