-- What the service keeps beside the ledger's entries.
--
-- `batch` and `seq_conflict` are evidence: signed bytes as they came, append-only; `state_snapshot`
-- is what was published beside entries, and append-only too. `token`,
-- `request`, what the pages need (`person`, `sign_in_link`, `session`, `act`), who asked what (`access`),
-- and the alerts of people (`alert_…`) belong to the service. All other tables are projections of the entries: the service writes them in the
-- transaction that appends the entries, loads its state from them, and `kashi rebuild` makes them
-- anew.
--
-- Every text column has the collation "C", which no update of a C library changes: an index whose
-- order has changed loses rows, and a record id that was lost could be paid twice.

CREATE SCHEMA meter AUTHORIZATION :"owner";
SET ROLE :"owner";

CREATE TABLE meter.batch (
    provider  text COLLATE "C" NOT NULL,
    stream    text COLLATE "C" NOT NULL,
    seq       bigint NOT NULL CHECK (seq >= 1),
    entry     bigint NOT NULL UNIQUE,
    entries   integer NOT NULL CHECK (entries >= 1), -- its own included
    payload   text COLLATE "C" NOT NULL, -- hex sha256, as in the entry
    envelope  bytea NOT NULL,
    receipt   bytea NOT NULL,
    signature text COLLATE "C" NOT NULL, -- the Kashi-Signature header
    PRIMARY KEY (provider, stream, seq)
);
CREATE UNIQUE INDEX batch_by_payload ON meter.batch (payload);
ALTER TABLE meter.batch ALTER COLUMN envelope SET STORAGE EXTERNAL;
ALTER TABLE meter.batch ALTER COLUMN receipt SET STORAGE EXTERNAL;

-- What lies beside an entry `state_digest`, which names its digest.
CREATE TABLE meter.state_snapshot (
    entry    bigint PRIMARY KEY,
    snapshot bytea NOT NULL
);

-- A signed batch whose number holds another batch: proof of what its provider did. `size` is the
-- ledger's when it came, and `number` orders those of one size.
CREATE TABLE meter.seq_conflict (
    payload     text COLLATE "C" PRIMARY KEY,
    size        bigint NOT NULL,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    provider    text COLLATE "C" NOT NULL,
    stream      text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    envelope    bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX seq_conflict_by_provider ON meter.seq_conflict (provider, size, number);
CREATE INDEX seq_conflict_by_number ON meter.seq_conflict (provider, stream, seq);

-- Entries that register or switch something, to load the state without reading all segments.
CREATE TABLE meter.registration (
    entry bigint PRIMARY KEY,
    kind  text COLLATE "C" NOT NULL,
    data  bytea NOT NULL
);

-- Proposals that an entry has confirmed or ended; one that only grew too old is not here.
CREATE TABLE meter.closed_proposal (
    proposal     bigint PRIMARY KEY,  -- the number of its entry
    entry        bigint NOT NULL,
    is_confirmed boolean NOT NULL
);

CREATE TABLE meter.record (
    provider  text COLLATE "C" NOT NULL,
    id        text COLLATE "C" NOT NULL,
    entry     bigint NOT NULL,
    contract  text COLLATE "C" NOT NULL,
    day       integer NOT NULL, -- the Shanghai day on which it begins, since 1970-01-01
    device    text COLLATE "C" NOT NULL,
    voided    bigint,           -- number of the entry that took it back
    released  bigint,           -- number of the entry that let its withheld part count
    withheld  boolean NOT NULL, -- whether a part was: `withheld` then has it
    to_review boolean NOT NULL, -- whether a fen or more was, which a reviewer looks at
    status    text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        CASE WHEN voided IS NOT NULL THEN 'voided' WHEN released IS NOT NULL THEN 'released'
            WHEN withheld THEN 'withheld' ELSE 'accepted' END
    ) STORED,
    PRIMARY KEY (provider, id)
);
CREATE INDEX record_by_status ON meter.record (contract, status, entry);
CREATE INDEX record_by_void ON meter.record (contract, voided) WHERE voided IS NOT NULL;
CREATE INDEX record_by_release ON meter.record (contract, released) WHERE released IS NOT NULL;
-- What waits for a reviewer.
CREATE INDEX record_to_review ON meter.record (entry)
    WHERE to_review AND voided IS NULL AND released IS NULL;
CREATE INDEX record_to_review_of ON meter.record (provider, entry)
    WHERE to_review AND voided IS NULL AND released IS NULL;

-- The withheld part of a record: four columns of equal length, one place per run of quarter-hours.
CREATE TABLE meter.withheld (
    provider      text COLLATE "C" NOT NULL,
    id            text COLLATE "C" NOT NULL,
    entry         bigint NOT NULL,
    contract      text COLLATE "C" NOT NULL,
    device        text COLLATE "C" NOT NULL,
    milli_devices bigint NOT NULL,
    starts        bigint NOT NULL,    -- microseconds, as in the entry
    ends          bigint NOT NULL,
    quarters      bigint[] NOT NULL,  -- the first of a run, since 1970 UTC
    counts        bigint[] NOT NULL,  -- quarters of a run
    device_times  bigint[] NOT NULL,  -- thousandths x seconds in each of them
    limits        text[] COLLATE "C" NOT NULL, -- 'contract' or 'provider'
    cost          bigint NOT NULL,    -- of the part, fen, as in the entry
    PRIMARY KEY (provider, id)
);
CREATE INDEX withheld_by_contract ON meter.withheld (contract, entry);

-- Refused results of receipts; `contract` and the columns after it are empty for a void. Of a
-- purchase, which has no device, start and end are those of the day of its delivery.
CREATE TABLE meter.refused (
    provider text COLLATE "C" NOT NULL,
    entry    bigint NOT NULL,         -- the batch's
    place    integer NOT NULL,        -- in its receipt: voids first, then records, then purchases
    what     text COLLATE "C" NOT NULL CHECK (what IN ('void', 'record', 'purchase')),
    id       text COLLATE "C" NOT NULL,
    contract text COLLATE "C",
    device   text COLLATE "C",
    starts   bigint,                  -- microseconds
    ends     bigint,
    code     text COLLATE "C" NOT NULL,
    detail   text COLLATE "C" NOT NULL,
    PRIMARY KEY (provider, entry, place)
);
CREATE INDEX refused_by_contract ON meter.refused (contract, provider, entry, place);

-- A stream's highest number and how many it has; each range of numbers missing below is a gap.
CREATE TABLE meter.stream (
    provider text COLLATE "C" NOT NULL,
    stream   text COLLATE "C" NOT NULL,
    last     bigint NOT NULL,
    batches  bigint NOT NULL,
    PRIMARY KEY (provider, stream)
);
CREATE INDEX stream_by_spelling
    ON meter.stream (provider, lower(rtrim(stream, '.') COLLATE "C"));
CREATE TABLE meter.gap (
    provider text COLLATE "C" NOT NULL,
    stream   text COLLATE "C" NOT NULL,
    first    bigint NOT NULL,
    last     bigint NOT NULL CHECK (first <= last),
    PRIMARY KEY (provider, stream, first)
);

-- Device-time metered by Shanghai day and stream, without what was voided: all of it, what is enlisted
-- and has room, and what is withheld; of purchases, numerators, without a device. A record counts on
-- each day that it touches. `first` and `last` bound
-- the entries of the records that begin on the day: those of the commits that have any. (It can have
-- no CHECK against going below zero: a void's part alone is
-- below it, and is checked before it is added.)
CREATE TABLE meter.usage_day (
    contract    text COLLATE "C" NOT NULL,
    day         integer NOT NULL,     -- since 1970-01-01
    device      text COLLATE "C" NOT NULL,
    stream      text COLLATE "C" NOT NULL, -- of the contract's provider
    device_time numeric NOT NULL,     -- thousandths x seconds
    fits        numeric NOT NULL,
    withheld    numeric NOT NULL,
    records     bigint NOT NULL,
    first       bigint,               -- none where all of it began on the day before
    last        bigint,
    PRIMARY KEY (contract, day, device, stream)
);

-- The newest summary of a stream's day.
CREATE TABLE meter.summary (
    provider text COLLATE "C" NOT NULL,
    stream   text COLLATE "C" NOT NULL,
    day      integer NOT NULL,        -- since 1970-01-01
    entry    bigint NOT NULL,
    PRIMARY KEY (provider, stream, day)
);

-- The segments that concern a subject ('contract:A', 'enterprise:…', 'provider:pcl') or hold a kind
-- of entry ('kind:void'), so that a query need not read all of them.
CREATE TABLE meter.segment_subject (
    subject text COLLATE "C" NOT NULL,
    first   bigint NOT NULL,          -- of the segment
    PRIMARY KEY (subject, first)
);

-- Device-time in use by quarter-hour of a UTC day, against which new records are held.
CREATE TABLE meter.device_time (
    scope    text COLLATE "C" NOT NULL CHECK (scope IN ('contract', 'provider')),
    subject  text COLLATE "C" NOT NULL,
    device   text COLLATE "C" NOT NULL,
    day      integer NOT NULL,       -- since 1970 UTC
    -- 96 integers of 8 bytes, little-endian: the service alone reads them, and writes many.
    quarters bytea NOT NULL CHECK (octet_length(quarters) = 768),
    PRIMARY KEY (scope, subject, device, day)
);

-- Numerators grow beyond 64 bits; see `meter/rules/rating.py`. After `used`, which is all, come those
-- that count for nothing, by reason.
CREATE TABLE meter.contract_total (
    contract       text COLLATE "C" PRIMARY KEY,
    used           numeric NOT NULL CHECK (used >= 0),
    related_party  numeric NOT NULL CHECK (related_party >= 0),
    use            numeric NOT NULL CHECK (use >= 0),
    outside_policy numeric NOT NULL CHECK (outside_policy >= 0),
    outside_term   numeric NOT NULL CHECK (outside_term >= 0),
    not_enlisted   numeric NOT NULL CHECK (not_enlisted >= 0)
);

-- Eligible numerators by segment: a year, and the policy by whose ratio they count.
CREATE TABLE meter.contract_segment (
    contract text COLLATE "C" NOT NULL,
    year     integer NOT NULL,
    policy   text COLLATE "C" NOT NULL,
    eligible numeric NOT NULL CHECK (eligible > 0),
    PRIMARY KEY (contract, year, policy)
);

-- Also of awards, each in its one year.
CREATE TABLE meter.contract_year (
    contract   text COLLATE "C" NOT NULL,
    year       integer NOT NULL,
    enterprise text COLLATE "C" NOT NULL,
    programme  text COLLATE "C" NOT NULL,
    withheld   numeric NOT NULL CHECK (withheld >= 0),
    entitled   bigint NOT NULL CHECK (entitled >= 0),
    granted    bigint NOT NULL CHECK (granted BETWEEN 0 AND entitled),
    PRIMARY KEY (contract, year)
);
CREATE INDEX contract_year_by_coupon ON meter.contract_year (programme, year, enterprise);

CREATE TABLE meter.coupon (
    enterprise text COLLATE "C" NOT NULL,
    programme  text COLLATE "C" NOT NULL,
    year       integer NOT NULL,
    issued     bigint NOT NULL CHECK (issued >= 0),
    PRIMARY KEY (enterprise, programme, year)
);
CREATE INDEX coupon_by_pool ON meter.coupon (programme, year, enterprise);

-- How totals stood after each group that changed them: `size` is the ledger's, after the group.
-- A past balance is the newest row before it, and the entries since (see `meter/views/past.py`); what
-- is told after a commit (`meter/api/past.py`) is the newest row up to its size.
CREATE TABLE meter.contract_year_past (
    contract   text COLLATE "C" NOT NULL,
    year       integer NOT NULL,
    size       bigint NOT NULL,
    withheld   numeric NOT NULL,
    entitled   bigint NOT NULL,
    granted    bigint NOT NULL,
    PRIMARY KEY (contract, year, size)
);

CREATE TABLE meter.coupon_past (
    enterprise text COLLATE "C" NOT NULL,
    programme  text COLLATE "C" NOT NULL,
    year       integer NOT NULL,
    size       bigint NOT NULL,
    issued     bigint NOT NULL,
    PRIMARY KEY (enterprise, programme, year, size)
);

-- Likewise of contracts as a whole, as in `contract_total`, and of pools.
CREATE TABLE meter.contract_total_past (
    contract       text COLLATE "C" NOT NULL,
    size           bigint NOT NULL,
    used           numeric NOT NULL,
    related_party  numeric NOT NULL,
    use            numeric NOT NULL,
    outside_policy numeric NOT NULL,
    outside_term   numeric NOT NULL,
    not_enlisted   numeric NOT NULL,
    PRIMARY KEY (contract, size)
);

CREATE TABLE meter.pool_past (
    programme  text COLLATE "C" NOT NULL,
    year       integer NOT NULL,
    size       bigint NOT NULL,
    amount     bigint NOT NULL,
    issued     bigint NOT NULL,
    stated     bigint,
    budget     bigint,
    programmes text[] COLLATE "C" NOT NULL,
    PRIMARY KEY (programme, year, size)
);

-- By how much a coupon changed on a Shanghai day of the ledger; a day on which nothing came of all
-- its changes is a row of zeros.
CREATE TABLE meter.coupon_day (
    enterprise text COLLATE "C" NOT NULL,
    programme  text COLLATE "C" NOT NULL,
    year       integer NOT NULL,      -- of the coupon
    day        integer NOT NULL,      -- since 1970-01-01
    issued     bigint NOT NULL,
    granted    bigint NOT NULL,
    PRIMARY KEY (enterprise, programme, year, day)
);

-- Likewise of a pool: what was set aside, and of all its coupons together.
CREATE TABLE meter.pool_day (
    programme text COLLATE "C" NOT NULL, -- the pool's owner
    year      integer NOT NULL,
    day       integer NOT NULL,
    amount    bigint NOT NULL,
    issued    bigint NOT NULL,
    granted   bigint NOT NULL,
    PRIMARY KEY (programme, year, day)
);

-- Months of the ledger that are over: the entries of each lie between `first` and `ends`, half-open.
CREATE TABLE meter.ledger_month (
    month text COLLATE "C" PRIMARY KEY,
    first bigint NOT NULL,
    ends  bigint NOT NULL CHECK (first < ends)
);

-- What such a month booked by contract or award, fen: how much cost and grants grew.
CREATE TABLE meter.month_booking (
    month   text COLLATE "C" NOT NULL,
    item    text COLLATE "C" NOT NULL,
    cost    bigint NOT NULL,
    granted bigint NOT NULL,
    PRIMARY KEY (month, item)
);

-- The money of the programme that owns a pool, and of those that share it: `programmes` are both.
CREATE TABLE meter.pool (
    programme  text COLLATE "C" NOT NULL,
    year       integer NOT NULL,
    amount     bigint NOT NULL,
    issued     bigint NOT NULL CHECK (issued BETWEEN 0 AND amount),
    stated     bigint,               -- by the policy
    budget     bigint,
    programmes text[] COLLATE "C" NOT NULL CHECK (programme = ANY (programmes)),
    PRIMARY KEY (programme, year)
);

-- Answers to commands by Idempotency-Key, so that a repeated command does nothing twice. A key
-- belongs to the person who used it: another person may use the same one.
CREATE TABLE meter.request (
    owner       text COLLATE "C" NOT NULL, -- 'person:wang', or 'token:…' for one of nobody
    key         text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL, -- hex sha256 of the command
    entry       bigint NOT NULL,
    answer      bytea NOT NULL,
    PRIMARY KEY (owner, key)
);

-- Bearer tokens; only the sha256 of the secret is kept. Of the authority's, entries say whose they
-- are: one that no entry names opens nothing.
CREATE TABLE meter.token (
    id         text COLLATE "C" PRIMARY KEY,
    role       text COLLATE "C" NOT NULL
        CHECK (role IN ('authority', 'auditor', 'provider', 'enterprise')),
    subject    text COLLATE "C" NOT NULL, -- a provider's id, an enterprise's USCC, else empty
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32),
    expires_at bigint,               -- microseconds since 1970 UTC, by the service's clock
    used_at    bigint,               -- likewise; kept about once a minute
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CHECK ((role IN ('provider', 'enterprise')) = (subject <> ''))
);

-- Who may sign in to the pages. Of the authority, `id` is one that an entry names as a token's; an
-- id with a secret of its own in `token` is not here. Neither opens anything of the other's.
CREATE TABLE meter.person (
    id            text COLLATE "C" PRIMARY KEY, -- in entries as `by`
    role          text COLLATE "C" NOT NULL
        CHECK (role IN ('authority', 'auditor', 'provider', 'enterprise')),
    subject       text COLLATE "C" NOT NULL,
    name          text COLLATE "C" NOT NULL,
    issuer        text COLLATE "C" NOT NULL DEFAULT '', -- where the person signs in, and as whom
    subject_there text COLLATE "C" NOT NULL DEFAULT '',
    ended_at      bigint,                        -- microseconds, by the service's clock
    made_at       timestamptz NOT NULL DEFAULT now(),
    CHECK ((role IN ('provider', 'enterprise')) = (subject <> '')),
    CHECK ((issuer = '') = (subject_there = ''))
);
CREATE UNIQUE INDEX person_by_issuer ON meter.person (issuer, subject_there)
    WHERE issuer <> '' AND ended_at IS NULL;

-- Links that sign a person in once; only the sha256 of the secret is kept. Times in microseconds.
CREATE TABLE meter.sign_in_link (
    digest  bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    person  text COLLATE "C" NOT NULL REFERENCES meter.person,
    ends_at bigint NOT NULL,
    used_at bigint
);

-- Browsers that are signed in, or were: the sha256 of what the cookie holds.
CREATE TABLE meter.session (
    digest   bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    person   text COLLATE "C" NOT NULL REFERENCES meter.person,
    began_at bigint NOT NULL,
    used_at  bigint NOT NULL,        -- kept about once a minute
    ended_at bigint
);
CREATE INDEX session_by_person ON meter.session (person, used_at);

-- What people did on the pages, before it was done: append-only. Who let somebody in, or out, stands
-- here with whom and as whom, beside the line of the form.
CREATE TABLE meter.act (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     bigint NOT NULL,          -- microseconds, by the service's clock
    person text COLLATE "C" NOT NULL,
    what   text COLLATE "C" NOT NULL CHECK (what IN ('sign_in', 'sign_out', 'form', 'export',
        'person', 'bind', 'link', 'end_sessions', 'end', 'token', 'revoke')),
    path   text COLLATE "C" NOT NULL
);

-- Who asked what, how often in a minute: append-only. The database keeps a row for six months, from the
-- owner too; after that the owner may delete it, and the service never.
CREATE TABLE meter.access (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day      integer NOT NULL,        -- in whose digest it is: since 1970-01-01, in Shanghai
    at       bigint NOT NULL,         -- microseconds at which the minute begins, by the service's clock
    token    text COLLATE "C" NOT NULL, -- the id of a token, or of who signed in
    person   text COLLATE "C" NOT NULL, -- whose it is, empty for a program's
    role     text COLLATE "C" NOT NULL
        CHECK (role IN ('authority', 'auditor', 'provider', 'enterprise')),
    route    text COLLATE "C" NOT NULL, -- as it is declared: '/v1/contracts/{contract}'
    subjects text[] COLLATE "C" NOT NULL, -- 'enterprise:…', 'contract:A', …
    count    bigint NOT NULL CHECK (count >= 1)
);
CREATE INDEX access_by_day ON meter.access (day, at, number);

-- Days of the access log that are over: no row comes into one of them, nor into one before.
CREATE TABLE meter.closed_access_day (
    day integer PRIMARY KEY
);

-- Where somebody wants to be alerted, and of what. `owner` is a person's or a token's id, `audience`
-- whom its role and subject make it: 'enterprise:…', 'provider:…' or 'official'. Times are in
-- microseconds, by the service's clock.
CREATE TABLE meter.alert_target (
    id       text COLLATE "C" PRIMARY KEY,
    owner    text COLLATE "C" NOT NULL,
    role     text COLLATE "C" NOT NULL
        CHECK (role IN ('authority', 'auditor', 'provider', 'enterprise')),
    audience text COLLATE "C" NOT NULL,
    means    text COLLATE "C" NOT NULL CHECK (means IN ('webhook', 'mail')),
    address  text COLLATE "C" NOT NULL,
    language text COLLATE "C" NOT NULL CHECK (language IN ('zh', 'en')),
    kinds    text[] COLLATE "C" NOT NULL,
    made_at  bigint NOT NULL,
    off_at   bigint,                            -- nothing is sent from then on
    off_why  text COLLATE "C" NOT NULL DEFAULT '' CHECK (off_why IN ('', 'person', 'failed', 'ended')),
    CHECK ((off_at IS NULL) = (off_why = ''))
);
CREATE INDEX alert_target_by_owner ON meter.alert_target (owner, made_at);

-- The outbox: one message to one target, put there in the transaction of the entries that it tells
-- of. `id` follows from the crossing and the target, so the same is never put there twice.
CREATE TABLE meter.alert (
    id       text COLLATE "C" PRIMARY KEY,
    target   text COLLATE "C" NOT NULL REFERENCES meter.alert_target,
    kind     text COLLATE "C" NOT NULL,
    body     bytea NOT NULL,
    made_at  bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,        -- since it was made, or is sent again
    due_at   bigint,                            -- of the next attempt; none once it is settled
    taken_at bigint                             -- by whom it is for
);
CREATE INDEX alert_due ON meter.alert (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX alert_by_target ON meter.alert (target, made_at);
CREATE INDEX alert_by_age ON meter.alert (made_at);

-- Each attempt to send, for its owner to look at.
CREATE TABLE meter.alert_attempt (
    alert    text COLLATE "C" NOT NULL REFERENCES meter.alert ON DELETE CASCADE,
    number   bigint GENERATED ALWAYS AS IDENTITY,
    at       bigint NOT NULL,
    is_taken boolean NOT NULL,
    detail   text COLLATE "C" NOT NULL,
    ms       integer NOT NULL,
    PRIMARY KEY (alert, number)
);

-- What an owner asked for under a key, which does nothing twice: `name` follows from both, `asked`
-- is a sha256.
CREATE TABLE meter.alert_request (
    name    text COLLATE "C" PRIMARY KEY,
    asked   bytea NOT NULL CHECK (octet_length(asked) = 32),
    made_at bigint NOT NULL
);
CREATE INDEX alert_request_by_age ON meter.alert_request (made_at);

-- What comes with time and stands since it was told: told again only once it stood no more.
CREATE TABLE meter.alert_standing (
    kind  text COLLATE "C" NOT NULL,
    about text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, about)
);

-- The public half of the key by which whoever leads signs webhooks.
CREATE TABLE meter.alert_key (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    public bytea NOT NULL CHECK (octet_length(public) = 32)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meter.act
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.act ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON meter.access
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.access ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meter.closed_access_day
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.closed_access_day ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER kept BEFORE DELETE ON meter.access FOR EACH ROW
    WHEN (OLD.at >= extract(epoch FROM now() - interval '6 months') * 1000000)
    EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.access ENABLE ALWAYS TRIGGER kept;
CREATE TRIGGER waits BEFORE DELETE ON meter.alert
    FOR EACH ROW WHEN (OLD.due_at IS NOT NULL) EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.alert ENABLE ALWAYS TRIGGER waits;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meter.batch
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.batch ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meter.state_snapshot
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.state_snapshot ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meter.seq_conflict
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE meter.seq_conflict ENABLE ALWAYS TRIGGER append_only;

GRANT USAGE ON SCHEMA meter TO :"service";
GRANT SELECT, INSERT ON meter.batch, meter.state_snapshot, meter.seq_conflict, meter.request,
    meter.token, meter.person, meter.sign_in_link, meter.session, meter.act, meter.access,
    meter.closed_access_day TO :"service";
GRANT SELECT, INSERT ON meter.alert_target, meter.alert, meter.alert_attempt, meter.alert_key,
    meter.alert_request TO :"service";
GRANT UPDATE (public) ON meter.alert_key TO :"service";
GRANT SELECT, INSERT, DELETE ON meter.alert_standing TO :"service";
GRANT DELETE ON meter.alert, meter.alert_request TO :"service"; -- once they are old
GRANT SELECT ON SEQUENCE meter.seq_conflict_number_seq, meter.act_number_seq,
    meter.access_number_seq, meter.alert_attempt_number_seq TO :"service"; -- for a backup
GRANT UPDATE (revoked_at, used_at) ON meter.token TO :"service";
GRANT UPDATE (issuer, subject_there, ended_at) ON meter.person TO :"service";
GRANT UPDATE (used_at) ON meter.sign_in_link TO :"service";
GRANT UPDATE (used_at, ended_at) ON meter.session TO :"service";
GRANT UPDATE (language, kinds, off_at, off_why) ON meter.alert_target TO :"service";
GRANT UPDATE (attempts, due_at, taken_at) ON meter.alert TO :"service";
-- Projections may be emptied and made anew.
GRANT SELECT, INSERT, UPDATE, DELETE ON meter.registration, meter.closed_proposal, meter.record,
    meter.withheld, meter.refused, meter.stream, meter.gap, meter.usage_day, meter.summary, meter.segment_subject,
    meter.device_time, meter.contract_total, meter.contract_segment, meter.contract_year,
    meter.contract_year_past, meter.contract_total_past, meter.coupon, meter.coupon_past,
    meter.coupon_day, meter.pool_day, meter.pool, meter.pool_past, meter.ledger_month, meter.month_booking TO :"service";

RESET ROLE;
