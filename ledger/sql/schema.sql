-- The ledger: immutable segments, one moving head, and the balances that the entries add up to.
--
-- Truth is `segment`; `head` and `account` can be made anew from it. The owner role cannot log in;
-- the service's role may append to segments but never change them, and
-- triggers refuse a change to everybody else. (A superuser can defeat both. The proof of the ledger
-- is in signed checkpoints outside the database.)

CREATE SCHEMA ledger AUTHORIZATION :"owner";
SET ROLE :"owner";

CREATE TABLE ledger.segment (
    -- The primary key is the compare-and-swap: two writers cannot both continue at one number.
    first       bigint PRIMARY KEY CHECK (first >= 0),
    count       integer NOT NULL CHECK (count > 0),
    -- Entry bundles of C2SP tlog-tiles: big-endian uint16 length, then the entry, count times.
    bundle      bytea NOT NULL,
    leaf_hashes bytea NOT NULL CHECK (octet_length(leaf_hashes) = 32 * count),
    -- The instant of its last entry, to find the ledger's size at an instant.
    last_at     bigint NOT NULL,
    -- The root over all entries up to its end, to compare with what was published.
    root        bytea NOT NULL CHECK (octet_length(root) = 32)
);
CREATE INDEX segment_by_instant ON ledger.segment (last_at, first);
-- Entries are read back whole; compressing them costs the writer more than the disk.
ALTER TABLE ledger.segment ALTER COLUMN bundle SET STORAGE EXTERNAL;
ALTER TABLE ledger.segment ALTER COLUMN leaf_hashes SET STORAGE EXTERNAL;

CREATE TABLE ledger.head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch    bigint NOT NULL CHECK (epoch >= 0),
    size     bigint NOT NULL CHECK (size >= 0),
    root     bytea NOT NULL CHECK (octet_length(root) = 32),
    -- Hashes of the perfect subtrees, left to right: all that appending needs.
    frontier bytea NOT NULL,
    last_at  bigint NOT NULL
);

-- Who writes, and until when nobody else may begin to, by the database's clock. Its row is locked
-- before the head's. A writer without a holder's name keeps nobody from taking over.
CREATE TABLE ledger.lease (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch   bigint NOT NULL, -- the head's, to be locked without holding up a commit
    holder  text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL, -- HOST:PORT, where the holder is reached
    expires timestamptz NOT NULL
);

-- Checkpoints that our keys have signed, each stored before anybody sees it; the newest one that is
-- shown, and those that wait for witnesses.
CREATE TABLE ledger.checkpoint (
    size     bigint PRIMARY KEY CHECK (size > 0),
    epoch    bigint NOT NULL, -- whose writer stored it
    note     bytea NOT NULL,  -- with the signatures of witnesses, once it is shown
    is_shown boolean NOT NULL
);

CREATE TABLE ledger.account (
    name text COLLATE "C" PRIMARY KEY, -- an order that no update of a C library changes
    fen  numeric NOT NULL
);

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.%: the table is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION ledger.refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.size < OLD.size OR NEW.epoch < OLD.epoch OR NEW.last_at < OLD.last_at
        OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
    THEN
        RAISE EXCEPTION 'the head of the ledger never goes back'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.segment
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.segment ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER only_forward BEFORE UPDATE OR DELETE ON ledger.head
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_going_back();
ALTER TABLE ledger.head ENABLE ALWAYS TRIGGER only_forward;
CREATE TRIGGER never_empty BEFORE TRUNCATE ON ledger.head
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
ALTER TABLE ledger.head ENABLE ALWAYS TRIGGER never_empty;

GRANT USAGE ON SCHEMA ledger TO :"service";
GRANT SELECT, INSERT ON ledger.segment TO :"service";
GRANT SELECT, UPDATE ON ledger.head TO :"service";
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.account TO :"service";
GRANT SELECT, UPDATE ON ledger.lease TO :"service";
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.checkpoint TO :"service";

-- sha256 of nothing is the root of the empty tree (RFC 9162 section 2.1.1).
INSERT INTO ledger.head (epoch, size, root, frontier, last_at)
    VALUES (0, 0, sha256(''), '', 0);
INSERT INTO ledger.lease (epoch, holder, address, expires) VALUES (0, '', '', '-infinity');

RESET ROLE;
