-- The agent's spool, in SQLite. What is known of runs, slices and batches moves in one transaction.

CREATE TABLE IF NOT EXISTS fact (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- A run as it was seen last. `terms` is its account, partition and allocation when its first
-- slice was made. A quarantine or a question says why nothing, or nothing more, is reported. A run
-- is approved by the mark of the question that a person saw. It is unfinished while voids of it are on their way: then the ledger's answer decides what is due.
CREATE TABLE IF NOT EXISTS run (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    partition TEXT NOT NULL,
    state TEXT NOT NULL,
    allocation TEXT NOT NULL,
    start INTEGER NOT NULL,
    until INTEGER,
    ran INTEGER NOT NULL,
    was_suspended INTEGER NOT NULL,
    standing TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    terms TEXT,
    quarantine TEXT,
    question TEXT,
    detail TEXT NOT NULL DEFAULT '',
    approved TEXT,
    is_unfinished INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS run_unended ON run (start) WHERE until IS NULL;
CREATE INDEX IF NOT EXISTS run_ended ON run (until);
CREATE INDEX IF NOT EXISTS run_unsettled ON run (id)
    WHERE quarantine IS NOT NULL OR question IS NOT NULL OR is_unfinished;
CREATE INDEX IF NOT EXISTS run_unfinished ON run (id) WHERE is_unfinished;

CREATE TABLE IF NOT EXISTS slice (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL REFERENCES run,
    contract TEXT NOT NULL,
    device TEXT NOT NULL,
    milli_devices INTEGER NOT NULL CHECK (milli_devices > 0),
    start INTEGER NOT NULL,
    until INTEGER NOT NULL CHECK (until > start),
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    final INTEGER NOT NULL,
    standing TEXT NOT NULL,
    code TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS slice_of_run ON slice (run);
CREATE INDEX IF NOT EXISTS slice_ended ON slice (until);
CREATE INDEX IF NOT EXISTS slice_unsettled ON slice (standing) WHERE standing NOT IN ('held', 'void');

-- A batch under its number: signed as these bytes, answered by this receipt.
CREATE TABLE IF NOT EXISTS batch (
    seq INTEGER PRIMARY KEY,
    payload BLOB NOT NULL,
    made_at INTEGER NOT NULL,
    receipt BLOB,
    signature TEXT,
    received_at INTEGER,
    proof BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS batch_received ON batch (received_at);
CREATE INDEX IF NOT EXISTS batch_unsent ON batch (seq) WHERE receipt IS NULL;
CREATE INDEX IF NOT EXISTS batch_unproved ON batch (seq) WHERE receipt IS NOT NULL AND proof IS NULL;

-- The newest summary of a Shanghai day, counted from 1970-01-01: its batch, and the answer, if there
-- is one. It is stale once a slice of the day is taken, or taken back: then another one is due.
CREATE TABLE IF NOT EXISTS summary (
    day INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'sent',
    is_stale INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TRIGGER IF NOT EXISTS slice_settled AFTER UPDATE OF standing ON slice
WHEN old.standing <> new.standing AND 'held' IN (old.standing, new.standing)
BEGIN
    UPDATE summary SET is_stale = 1
    WHERE day BETWEEN (new.start + 28800) / 86400 AND (new.until - 1 + 28800) / 86400;
END;

-- Records that were refused for a reason that passes.
CREATE TABLE IF NOT EXISTS waiting (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    tries INTEGER NOT NULL,
    due INTEGER NOT NULL
) STRICT;

-- What was not taken, for good.
CREATE TABLE IF NOT EXISTS refused (
    number INTEGER PRIMARY KEY,
    item TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- Lines of a file of jobs that cannot be read; `source` is the file's.
CREATE TABLE IF NOT EXISTS bad_line (
    source TEXT NOT NULL,
    number INTEGER NOT NULL,
    reason TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (source, number)
) STRICT;
