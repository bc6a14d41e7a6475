-- name: session
SELECT CASE WHEN current_user = session_user THEN 'none' ELSE current_user::text END AS role, ARRAY(
    SELECT current_setting(name, true)
    FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, place) ORDER BY place
) AS settings;

-- name: process
SELECT pg_backend_pid();

-- name: mark_session
SELECT set_config('kashi.session', $1, false);

-- name: mark_of_session
SELECT current_setting('kashi.session', true);

-- name: drop
DROP SCHEMA meter, ledger CASCADE;

-- name: time_elsewhere
-- By a socket, or from an address of its own, the server is on our host and has our clock.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
WHERE inet_server_addr() <> inet_client_addr();

-- name: registrations
SELECT entry, data FROM meter.registration ORDER BY entry;

-- name: registrations_since
SELECT entry, data FROM meter.registration WHERE entry >= $1 ORDER BY entry;

-- name: key_registrations
SELECT entry, data FROM meter.registration
WHERE kind IN ('genesis', 'log_key', 'log_key_retirement', 'receipt_key', 'receipt_key_retirement')
ORDER BY entry;

-- name: people_registrations
SELECT entry, data FROM meter.registration
WHERE kind IN ('genesis', 'person', 'person_end', 'person_recovery', 'token', 'token_end')
ORDER BY entry;

-- name: closed_proposals
SELECT proposal, entry FROM meter.closed_proposal;

-- name: contract_totals
SELECT contract, used, related_party, use, outside_policy, outside_term, not_enlisted
FROM meter.contract_total;

-- name: contract_segments
SELECT contract, year, policy, eligible FROM meter.contract_segment;

-- name: contract_years
SELECT contract, year, withheld, entitled, granted FROM meter.contract_year;

-- name: coupons
SELECT enterprise, programme, year, issued,
    coalesce((SELECT sum(granted) FROM meter.contract_year
        WHERE (enterprise, programme, year) = (held.enterprise, held.programme, held.year)), 0)
    AS granted
FROM meter.coupon AS held;

-- name: pools
SELECT programme, year, issued FROM meter.pool;

-- name: ledger_months
SELECT month, first, ends FROM meter.ledger_month ORDER BY month;

-- name: month_bookings
SELECT month, item, cost, granted FROM meter.month_booking ORDER BY month;

-- name: stream_numbers
SELECT provider, stream, last FROM meter.stream;

-- name: missing_numbers
SELECT provider, stream, first, last FROM meter.gap ORDER BY provider, stream, first;

-- name: known_batches
SELECT held.provider, held.stream, held.seq, held.entry, held.entries,
    held.payload, held.receipt, held.signature
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS asked (provider, stream, seq)
JOIN meter.batch AS held USING (provider, stream, seq);

-- name: known_streams
-- Spelled as asked, but for case and dots at the end.
SELECT held.provider, held.stream
FROM unnest($1::text[], $2::text[]) AS asked (provider, folded)
JOIN meter.stream AS held ON held.provider = asked.provider
    AND lower(rtrim(held.stream, '.') COLLATE "C") = asked.folded;

-- name: known_records
SELECT held.id, held.entry, held.voided, held.released, (
        SELECT stream FROM meter.batch WHERE entry < held.entry ORDER BY entry DESC LIMIT 1
    ) AS stream,
    coalesce(parts.quarters, '{}') AS quarters,
    coalesce(parts.counts, '{}') AS counts,
    coalesce(parts.device_times, '{}') AS device_times,
    coalesce(parts.limits, '{}') AS limits
FROM meter.record AS held
LEFT JOIN meter.withheld AS parts USING (provider, id)
WHERE held.provider = $1 AND held.id = ANY ($2::text[]);

-- name: voided_records
SELECT held.provider, held.id, held.voided
FROM unnest($1::text[], $2::text[]) AS asked (provider, id)
JOIN meter.record AS held USING (provider, id)
WHERE held.voided IS NOT NULL;

-- name: device_time
SELECT held.scope, held.subject, held.device, held.day, held.quarters
FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[])
    AS asked (scope, subject, device, day)
JOIN meter.device_time AS held USING (scope, subject, device, day);

-- name: known_requests
SELECT held.owner, held.key, held.fingerprint, held.entry, held.answer
FROM unnest($1::text[], $2::text[]) AS asked (owner, key)
JOIN meter.request AS held USING (owner, key);

-- name: keep_seq_conflict
-- One is proof enough; some more are kept, but not all that a provider may send.
INSERT INTO meter.seq_conflict (payload, provider, stream, seq, envelope, size)
SELECT $1, $2, $3, $4, $5, size FROM ledger.head
WHERE (
    SELECT count(*) FROM meter.seq_conflict AS held
    WHERE (held.provider, held.stream, held.seq) = ($2, $3, $4)
) < 8
ON CONFLICT DO NOTHING;

-- name: void_records
UPDATE meter.record AS held SET voided = taken.entry
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS taken (provider, id, entry)
WHERE held.provider = taken.provider AND held.id = taken.id;

-- name: release_records
UPDATE meter.record AS held SET released = let.entry
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS let (provider, id, entry)
WHERE held.provider = let.provider AND held.id = let.id;

-- name: put_group
-- One statement for all that groups change: each one costs a group more than its rows do.
-- Large integers come as texts, which are spelled much faster than numerics.
-- Numbers of batches that are new either raise their stream's last one, leaving a gap where some
-- are left out, or lie in a gap, which they cut.
WITH days AS (
    INSERT INTO meter.usage_day AS held
        (contract, day, device, stream, device_time, fits, withheld, records, first, last)
    SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[]::numeric[],
        $6::text[]::numeric[], $7::text[]::numeric[], $8::bigint[], $9::bigint[], $10::bigint[])
    ON CONFLICT (contract, day, device, stream) DO UPDATE SET
        device_time = held.device_time + EXCLUDED.device_time,
        fits = held.fits + EXCLUDED.fits, withheld = held.withheld + EXCLUDED.withheld,
        records = held.records + EXCLUDED.records,
        first = least(held.first, EXCLUDED.first), last = greatest(held.last, EXCLUDED.last)
), totals AS (
    INSERT INTO meter.contract_total
        (contract, used, related_party, use, outside_policy, outside_term, not_enlisted)
    SELECT * FROM unnest($11::text[], $12::text[]::numeric[], $13::text[]::numeric[], $14::text[]::numeric[], $15::text[]::numeric[],
        $16::text[]::numeric[], $17::text[]::numeric[])
    ON CONFLICT (contract) DO UPDATE SET
        used = EXCLUDED.used, related_party = EXCLUDED.related_party, use = EXCLUDED.use,
        outside_policy = EXCLUDED.outside_policy, outside_term = EXCLUDED.outside_term,
        not_enlisted = EXCLUDED.not_enlisted
), segments AS (
    INSERT INTO meter.contract_segment (contract, year, policy, eligible)
    SELECT * FROM unnest($18::text[], $19::integer[], $20::text[], $21::text[]::numeric[])
    ON CONFLICT (contract, year, policy) DO UPDATE SET eligible = EXCLUDED.eligible
), years AS (
    INSERT INTO meter.contract_year
        (contract, year, enterprise, programme, withheld, entitled, granted)
    SELECT * FROM unnest($22::text[], $23::integer[], $24::text[], $25::text[], $26::text[]::numeric[],
        $27::bigint[], $28::bigint[])
    ON CONFLICT (contract, year) DO UPDATE SET enterprise = EXCLUDED.enterprise,
        withheld = EXCLUDED.withheld, entitled = EXCLUDED.entitled, granted = EXCLUDED.granted
), coupon_days AS (
    INSERT INTO meter.coupon_day AS held (enterprise, programme, year, day, issued, granted)
    SELECT * FROM unnest($29::text[], $30::text[], $31::integer[], $32::integer[], $33::bigint[],
        $34::bigint[])
    ON CONFLICT (enterprise, programme, year, day) DO UPDATE SET
        issued = held.issued + EXCLUDED.issued, granted = held.granted + EXCLUDED.granted
), pool_days AS (
    INSERT INTO meter.pool_day AS held (programme, year, day, amount, issued, granted)
    SELECT * FROM unnest($35::text[], $36::integer[], $37::integer[], $38::bigint[], $39::bigint[],
        $40::bigint[])
    ON CONFLICT (programme, year, day) DO UPDATE SET amount = held.amount + EXCLUDED.amount,
        issued = held.issued + EXCLUDED.issued, granted = held.granted + EXCLUDED.granted
), subjects AS (
    INSERT INTO meter.segment_subject (subject, first)
    SELECT * FROM unnest($41::text[], $42::bigint[])
), years_past AS (
    INSERT INTO meter.contract_year_past (contract, year, size, withheld, entitled, granted)
    SELECT * FROM unnest($43::text[], $44::integer[], $45::bigint[], $46::text[]::numeric[], $47::bigint[],
        $48::bigint[])
), coupons_past AS (
    INSERT INTO meter.coupon_past (enterprise, programme, year, size, issued)
    SELECT * FROM unnest($49::text[], $50::text[], $51::integer[], $52::bigint[], $53::bigint[])
), device_times AS (
    INSERT INTO meter.device_time (scope, subject, device, day, quarters)
    SELECT * FROM unnest($57::text[], $58::text[], $59::text[], $60::integer[], $61::bytea[])
    ON CONFLICT (scope, subject, device, day) DO UPDATE SET quarters = EXCLUDED.quarters
), totals_past AS (
    INSERT INTO meter.contract_total_past
        (contract, size, used, related_party, use, outside_policy, outside_term, not_enlisted)
    SELECT * FROM unnest($62::text[], $63::bigint[], $64::text[]::numeric[], $65::text[]::numeric[],
        $66::text[]::numeric[], $67::text[]::numeric[], $68::text[]::numeric[],
        $69::text[]::numeric[])
), new AS (
    SELECT * FROM unnest($54::text[], $55::text[], $56::bigint[]) AS new (provider, stream, seq)
), added AS (
    SELECT provider, stream, max(seq) AS last, count(*) AS batches,
        range_agg(int8range(seq, seq, '[]')) AS numbers
    FROM new GROUP BY provider, stream
), counted AS (
    INSERT INTO meter.stream AS held (provider, stream, last, batches)
    SELECT provider, stream, last, batches FROM added
    ON CONFLICT (provider, stream) DO UPDATE SET
        last = greatest(held.last, EXCLUDED.last), batches = held.batches + EXCLUDED.batches
), cut AS (
    DELETE FROM meter.gap AS held USING (
        SELECT DISTINCT new.provider, new.stream, gap.first
        FROM new CROSS JOIN LATERAL (
            SELECT first, last FROM meter.gap
            WHERE provider = new.provider AND stream = new.stream AND first <= new.seq
            ORDER BY first DESC LIMIT 1
        ) AS gap
        WHERE gap.last >= new.seq
    ) AS hit
    WHERE held.provider = hit.provider AND held.stream = hit.stream AND held.first = hit.first
    RETURNING held.provider, held.stream, int8range(held.first, held.last, '[]') AS numbers
), missing AS (
    SELECT provider, stream, numbers FROM cut
    UNION ALL
    -- The stream's row is seen as it was before this statement.
    SELECT provider, stream, int8range(coalesce(held.last, 0) + 1, added.last, '[]')
    FROM added LEFT JOIN meter.stream AS held USING (provider, stream)
    WHERE added.last > coalesce(held.last, 0)
), gaps AS (
    SELECT provider, stream, unnest(range_agg(missing.numbers) - added.numbers) AS numbers
    FROM missing JOIN added USING (provider, stream)
    GROUP BY provider, stream, added.numbers
), put AS (
    INSERT INTO meter.gap (provider, stream, first, last)
    SELECT provider, stream, lower(numbers), upper(numbers) - 1 FROM gaps
    RETURNING provider, stream
)
-- Those that had no gap before this statement.
SELECT DISTINCT provider, stream FROM put WHERE NOT EXISTS (
    SELECT FROM meter.gap WHERE (provider, stream) = (put.provider, put.stream)
) ORDER BY provider, stream;

-- name: usage_days
SELECT day, device, sum(device_time), sum(fits), sum(withheld) FROM meter.usage_day
WHERE contract = $1 GROUP BY day, device;

-- name: stream_day
SELECT contract, device, records, device_time FROM meter.usage_day
WHERE contract = ANY ($1::text[]) AND day = $2 AND stream = $3 AND device <> '';

-- name: known_summary
SELECT entry FROM meter.summary WHERE provider = $1 AND stream = $2 AND day = $3;

-- name: put_summaries
INSERT INTO meter.summary (provider, stream, day, entry)
SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[])
ON CONFLICT (provider, stream, day) DO UPDATE SET entry = EXCLUDED.entry;

-- name: clear_segments_of
DELETE FROM meter.contract_segment WHERE contract = ANY ($1::text[]);

-- name: put_coupons
INSERT INTO meter.coupon (enterprise, programme, year, issued)
SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[])
ON CONFLICT (enterprise, programme, year) DO UPDATE SET issued = EXCLUDED.issued;

-- name: put_pools
INSERT INTO meter.pool (programme, year, amount, issued, stated, budget, programmes)
SELECT programme, year, amount, issued, stated, budget, string_to_array(programmes, ' ')
FROM unnest(
    $1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[]
) AS pool (programme, year, amount, issued, stated, budget, programmes)
ON CONFLICT (programme, year) DO UPDATE SET
    amount = EXCLUDED.amount, issued = EXCLUDED.issued, stated = EXCLUDED.stated,
    budget = EXCLUDED.budget, programmes = EXCLUDED.programmes;

-- name: clear_registration
DELETE FROM meter.registration;

-- name: clear_closed_proposal
DELETE FROM meter.closed_proposal;

-- name: clear_record
DELETE FROM meter.record;

-- name: clear_withheld
DELETE FROM meter.withheld;

-- name: clear_refused
DELETE FROM meter.refused;

-- name: clear_stream
DELETE FROM meter.stream;

-- name: clear_gap
DELETE FROM meter.gap;

-- name: clear_usage_day
DELETE FROM meter.usage_day;

-- name: clear_summary
DELETE FROM meter.summary;

-- name: clear_segment_subject
DELETE FROM meter.segment_subject;

-- name: clear_device_time
DELETE FROM meter.device_time;

-- name: clear_contract_total
DELETE FROM meter.contract_total;

-- name: clear_contract_segment
DELETE FROM meter.contract_segment;

-- name: clear_contract_year
DELETE FROM meter.contract_year;

-- name: clear_contract_year_past
DELETE FROM meter.contract_year_past;

-- name: clear_contract_total_past
DELETE FROM meter.contract_total_past;

-- name: clear_pool_past
DELETE FROM meter.pool_past;

-- name: clear_coupon_past
DELETE FROM meter.coupon_past;

-- name: clear_coupon_day
DELETE FROM meter.coupon_day;

-- name: clear_ledger_month
DELETE FROM meter.ledger_month;

-- name: clear_month_booking
DELETE FROM meter.month_booking;

-- name: clear_pool_day
DELETE FROM meter.pool_day;

-- name: clear_coupon
DELETE FROM meter.coupon;

-- name: clear_pool
DELETE FROM meter.pool;

-- name: balance
-- One statement, so one snapshot: the coupon, each contract's share, and the head they belong to.
SELECT head.size, head.last_at,
    coalesce((SELECT issued FROM meter.coupon
        WHERE (enterprise, programme, year) = ($1, $2, $3)), 0) AS issued,
    coalesce((SELECT json_agg(json_build_object(
            'contract', contract, 'withheld', withheld::text, 'entitled', entitled, 'granted', granted) ORDER BY contract)
        FROM meter.contract_year
        WHERE (enterprise, programme, year) = ($1, $2, $3)), '[]') AS shares
FROM ledger.head;

-- name: past_coupon
SELECT issued FROM meter.coupon_past
WHERE (enterprise, programme, year) = ($1, $2, $3) AND size <= $4
ORDER BY size DESC LIMIT 1;

-- name: past_shares
-- Of contracts and awards in a year.
SELECT own.contract, past.withheld, past.entitled, past.granted
FROM unnest($1::text[]) AS own (contract) CROSS JOIN LATERAL (
    SELECT withheld, entitled, granted FROM meter.contract_year_past
    WHERE contract = own.contract AND year = $2 AND size <= $3
    ORDER BY size DESC LIMIT 1
) AS past
ORDER BY own.contract;

-- name: amended_shares
-- How they stood after entries that amended them, by the entry, in a group and up to a size.
SELECT size - 1 AS entry, contract, withheld, entitled, granted FROM meter.contract_year_past
WHERE contract = ANY ($1::text[]) AND year = $2 AND size > $3 AND size <= $4;

-- name: contract
SELECT head.size, head.last_at,
    coalesce((SELECT sum(eligible) FROM meter.contract_segment WHERE contract = $1), 0) AS eligible,
    coalesce((SELECT ARRAY[related_party, use, outside_policy, outside_term, not_enlisted]
        FROM meter.contract_total WHERE contract = $1), '{0,0,0,0,0}') AS ineligible,
    coalesce((SELECT json_agg(json_build_object(
            'year', year, 'withheld', withheld::text, 'entitled', entitled, 'granted', granted) ORDER BY year)
        FROM meter.contract_year WHERE contract = $1), '[]') AS years
FROM ledger.head;

-- name: batches
-- Attachments of the batch entries in [$1, $2).
SELECT entry, envelope, receipt, signature FROM meter.batch
WHERE entry >= $1 AND entry < $2 ORDER BY entry;

-- name: state_snapshots
-- What lies beside the digests in [$1, $2).
SELECT entry, snapshot FROM meter.state_snapshot WHERE entry >= $1 AND entry < $2 ORDER BY entry;

-- name: newest_state_digest
SELECT coalesce(max(entry), 0) FROM meter.registration WHERE kind = 'state_digest';

-- name: token
SELECT role, subject, secret, expires_at, revoked_at IS NOT NULL AS revoked
FROM meter.token WHERE id = $1;

-- name: revoke_token
UPDATE meter.token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL;

-- name: note_tokens_used
UPDATE meter.token AS held SET used_at = greatest(held.used_at, used.used_at)
FROM unnest($1::text[], $2::bigint[]) AS used (id, used_at)
WHERE held.id = used.id;

-- name: token_spelled_alike
SELECT id FROM meter.token WHERE lower(rtrim(id, '.') COLLATE "C") = $2
ORDER BY (id = $1) DESC LIMIT 1;

-- name: is_registered
SELECT EXISTS (
    SELECT FROM meter.registration
    WHERE kind = $1 AND $2 IN (
        convert_from(data, 'UTF8')::json ->> 'id', convert_from(data, 'UTF8')::json ->> 'uscc'
    )
);

-- name: has_tokens
SELECT EXISTS (SELECT FROM meter.token);

-- name: add_token
INSERT INTO meter.token (id, role, subject, secret, expires_at) VALUES ($1, $2, $3, $4, $5);
