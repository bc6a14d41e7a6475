-- What the service keeps beside the ledger's entries.
--
-- `batch` and `seq_conflict` are evidence: signed bytes as they came, append-only. `token` and
-- `request` belong to the service. All other tables are projections of the entries: the service
-- writes them in the transaction that appends the entries, loads its state from them, and
-- `kashi rebuild` makes them anew.

CREATE SCHEMA meter AUTHORIZATION kashi_owner;
SET ROLE kashi_owner;

CREATE TABLE meter.batch (
    provider  text NOT NULL,
    stream    text NOT NULL,
    seq       bigint NOT NULL CHECK (seq >= 1),
    entry     bigint NOT NULL UNIQUE,
    payload   text NOT NULL,   -- hex sha256, as in the entry
    envelope  bytea NOT NULL,
    receipt   bytea NOT NULL,
    signature text NOT NULL,   -- the Kashi-Signature header
    PRIMARY KEY (provider, stream, seq)
);
ALTER TABLE meter.batch ALTER COLUMN envelope SET STORAGE EXTERNAL;
ALTER TABLE meter.batch ALTER COLUMN receipt SET STORAGE EXTERNAL;

-- A signed batch whose number holds another batch: proof of what its provider did.
CREATE TABLE meter.seq_conflict (
    payload     text PRIMARY KEY,
    provider    text NOT NULL,
    stream      text NOT NULL,
    seq         bigint NOT NULL,
    envelope    bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

-- Entries that register or switch something, to load the state without reading all segments.
CREATE TABLE meter.registration (
    entry bigint PRIMARY KEY,
    kind  text NOT NULL,
    data  bytea NOT NULL
);

CREATE TABLE meter.record (
    provider text NOT NULL,
    id       text NOT NULL,
    entry    bigint NOT NULL,
    voided   bigint,           -- number of the entry that took it back
    released bigint,           -- number of the entry that let its withheld part count
    PRIMARY KEY (provider, id)
);

-- What of a record was withheld: three columns of equal length, one place per quarter-hour.
CREATE TABLE meter.withheld (
    provider     text NOT NULL,
    id           text NOT NULL,
    contract     text NOT NULL,
    quarters     bigint[] NOT NULL,  -- since 1970 UTC
    device_times bigint[] NOT NULL,  -- thousandths x seconds
    limits       text[] NOT NULL,    -- 'contract' or 'provider'
    PRIMARY KEY (provider, id)
);

-- Device-time in use by quarter-hour of a UTC day, against which new records are held.
CREATE TABLE meter.device_time (
    scope    text NOT NULL CHECK (scope IN ('contract', 'provider')),
    subject  text NOT NULL,
    device   text NOT NULL,
    day      integer NOT NULL,       -- since 1970 UTC
    quarters bigint[] NOT NULL CHECK (cardinality(quarters) = 96),
    PRIMARY KEY (scope, subject, device, day)
);

-- Numerators grow beyond 64 bits; see `meter/rating.py`.
CREATE TABLE meter.contract_total (
    contract text PRIMARY KEY,
    used     numeric NOT NULL CHECK (used >= 0)
);

CREATE TABLE meter.contract_year (
    contract   text NOT NULL,
    year       integer NOT NULL,
    enterprise text NOT NULL,
    programme  text NOT NULL,
    eligible   numeric NOT NULL CHECK (eligible >= 0),
    withheld   numeric NOT NULL CHECK (withheld >= 0),
    entitled   bigint NOT NULL CHECK (entitled >= 0),
    granted    bigint NOT NULL CHECK (granted BETWEEN 0 AND entitled),
    PRIMARY KEY (contract, year)
);
CREATE INDEX contract_year_by_coupon ON meter.contract_year (enterprise, programme, year);

CREATE TABLE meter.coupon (
    enterprise text NOT NULL,
    programme  text NOT NULL,
    year       integer NOT NULL,
    issued     bigint NOT NULL CHECK (issued >= 0),
    PRIMARY KEY (enterprise, programme, year)
);

-- How totals stood after each group that changed them: `size` is the ledger's, after the group.
-- A past balance is the newest row before it, and the entries since (see `meter/past.py`).
CREATE TABLE meter.contract_year_past (
    contract   text NOT NULL,
    year       integer NOT NULL,
    size       bigint NOT NULL,
    enterprise text NOT NULL,
    programme  text NOT NULL,
    withheld   numeric NOT NULL,
    entitled   bigint NOT NULL,
    granted    bigint NOT NULL,
    PRIMARY KEY (contract, year, size)
);
CREATE INDEX contract_year_past_by_coupon
    ON meter.contract_year_past (enterprise, programme, year, contract, size);

CREATE TABLE meter.coupon_past (
    enterprise text NOT NULL,
    programme  text NOT NULL,
    year       integer NOT NULL,
    size       bigint NOT NULL,
    issued     bigint NOT NULL,
    PRIMARY KEY (enterprise, programme, year, size)
);

CREATE TABLE meter.pool (
    programme text NOT NULL,
    year      integer NOT NULL,
    amount    bigint NOT NULL,
    issued    bigint NOT NULL CHECK (issued BETWEEN 0 AND amount),
    PRIMARY KEY (programme, year)
);

-- Answers by Idempotency-Key, so that a repeated command does nothing twice.
CREATE TABLE meter.request (
    key         text PRIMARY KEY,
    fingerprint text NOT NULL, -- hex sha256 of the command
    entry       bigint NOT NULL,
    answer      bytea NOT NULL
);

-- Bearer tokens; only the sha256 of the secret is kept.
CREATE TABLE meter.token (
    id         text PRIMARY KEY,
    role       text NOT NULL CHECK (role IN ('authority', 'auditor', 'provider', 'enterprise')),
    subject    text NOT NULL,        -- a provider's id, an enterprise's USCC, else empty
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32),
    expires_at bigint,               -- microseconds since 1970 UTC, by the service's clock
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CHECK ((role IN ('provider', 'enterprise')) = (subject <> ''))
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meter.batch
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.batch ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meter.seq_conflict
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.seq_conflict ENABLE ALWAYS TRIGGER append_only;

GRANT USAGE ON SCHEMA meter TO kashi_service;
GRANT SELECT, INSERT ON meter.batch, meter.seq_conflict, meter.request, meter.token
    TO kashi_service;
GRANT UPDATE (revoked_at) ON meter.token TO kashi_service;
-- Projections may be emptied and made anew.
GRANT SELECT, INSERT, UPDATE, DELETE ON meter.registration, meter.record, meter.withheld,
    meter.device_time, meter.contract_total, meter.contract_year, meter.contract_year_past,
    meter.coupon, meter.coupon_past, meter.pool TO kashi_service;

RESET ROLE;
