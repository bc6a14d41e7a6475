-- name: fact
SELECT value FROM fact WHERE name = ?

-- name: set_fact
INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: last_seq
SELECT coalesce(max(seq), 0) FROM batch

-- name: unsent
SELECT seq FROM batch WHERE receipt IS NULL ORDER BY seq

-- name: payload
SELECT payload FROM batch WHERE seq = ?

-- name: put_batch
INSERT INTO batch (seq, payload, made_at) VALUES (?, ?, ?)
ON CONFLICT (seq) DO UPDATE SET payload = excluded.payload

-- name: drop_batch
DELETE FROM batch WHERE seq = ?

-- name: keep_receipt
UPDATE batch SET receipt = ?, signature = ?, received_at = ? WHERE seq = ?

-- name: unproved
SELECT seq FROM batch WHERE receipt IS NOT NULL AND proof IS NULL ORDER BY seq

-- name: receipt
SELECT receipt, signature FROM batch WHERE seq = ?

-- name: keep_proof
UPDATE batch SET proof = ? WHERE seq = ?

-- name: proved
SELECT seq FROM batch WHERE proof IS NOT NULL ORDER BY seq

-- name: proof
SELECT proof FROM batch WHERE seq = ?

-- name: waiting
SELECT item, code, detail, tries, due FROM waiting ORDER BY id

-- name: clear_waiting
DELETE FROM waiting

-- name: drop_waiting
DELETE FROM waiting WHERE id = ?

-- name: wait
INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)

-- name: note
INSERT INTO refused (item, code, detail) VALUES (?, ?, ?)

-- name: settle_slice
UPDATE slice SET standing = ?, code = ? WHERE id = ?

-- name: send_again
UPDATE slice SET standing = 'sent', code = '' WHERE id = ? AND standing = 'waiting'

-- name: slice_standing
SELECT standing FROM slice WHERE id = ?

-- name: put_slice
INSERT INTO slice VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET contract = excluded.contract, milli_devices = excluded.milli_devices,
    until = excluded.until, state = excluded.state, final = excluded.final, standing = 'sent', code = ''

-- name: adopt_slice
INSERT INTO slice VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: drop_slices
DELETE FROM slice WHERE run = ?

-- name: drop_unsent
DELETE FROM batch WHERE receipt IS NULL

-- name: runs_on_the_way
SELECT DISTINCT run FROM slice WHERE standing NOT IN ('held', 'void')

-- name: set_terms
UPDATE run SET terms = ?, quarantine = NULL, question = NULL, detail = '', approved = NULL,
    is_unfinished = 0
WHERE id = ?

-- name: slices
SELECT id, run, contract, device, milli_devices, start, until, revision, state, final, standing, code
FROM slice WHERE run = ? ORDER BY start, device, revision

-- name: put_run
INSERT INTO run (id, account, partition, state, allocation, start, until, ran, was_suspended,
    standing, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET account = excluded.account, partition = excluded.partition,
    state = excluded.state, allocation = excluded.allocation, start = excluded.start,
    until = excluded.until, ran = excluded.ran, was_suspended = excluded.was_suspended,
    standing = excluded.standing, seen_at = excluded.seen_at

-- name: judge_run
UPDATE run SET quarantine = ?, question = ?, detail = ?, approved = NULL, is_unfinished = ?, terms = ?
WHERE id = ?

-- name: approve
UPDATE run SET approved = ? WHERE id = ?

-- name: stand_run
UPDATE run SET standing = ? WHERE id = ?

-- name: run
SELECT id, account, partition, state, allocation, start, until, ran, was_suspended, standing,
    terms, approved
FROM run WHERE id = ?

-- name: seen_at
SELECT seen_at FROM run WHERE id = ?

-- name: unsettled_runs
SELECT id FROM run WHERE quarantine IS NOT NULL OR question IS NOT NULL OR is_unfinished
UNION SELECT run FROM slice WHERE standing IN ('waiting', 'refused')

-- name: unfinished_runs
SELECT id FROM run WHERE is_unfinished

-- name: settled_runs
SELECT id, account, partition, state, allocation, start, until, ran, was_suspended, standing
FROM run
WHERE until >= ? AND quarantine IS NULL AND question IS NULL AND NOT is_unfinished AND id NOT IN (
    SELECT run FROM slice WHERE standing NOT IN ('sent', 'held')
)

-- name: unended_runs
SELECT id, account, partition, state, allocation, start, until, ran, was_suspended, standing, seen_at
FROM run WHERE until IS NULL AND id GLOB ? || '*'

-- name: runs_since
SELECT id FROM run WHERE until IS NULL UNION SELECT id FROM run WHERE until >= ?

-- name: oldest_open
SELECT min(start) FROM run WHERE until IS NULL

-- name: count_standing
SELECT count(*) FROM run WHERE standing = ? AND question IS NULL

-- name: quarantined
SELECT id, account, allocation, start, until, seen_at, ran, quarantine, detail FROM run
WHERE quarantine IS NOT NULL ORDER BY start, id

-- name: question
SELECT question, detail FROM run WHERE id = ? AND question IS NOT NULL

-- name: questions
SELECT id, account, allocation, start, until, seen_at, ran, question, detail FROM run
WHERE question IS NOT NULL ORDER BY start, id

-- name: refused_slices
SELECT id, run, contract, device, milli_devices, start, until, revision, state, final, standing, code
FROM slice WHERE standing = 'refused' ORDER BY start, id

-- name: count_unsent
SELECT count(*), min(made_at) FROM batch WHERE receipt IS NULL

-- name: last_receipt
SELECT max(received_at) FROM batch

-- name: device_seconds
SELECT standing, coalesce(sum(milli_devices * (until - start)), 0) FROM slice GROUP BY standing

-- name: drop_bad_lines
DELETE FROM bad_line WHERE source = ?

-- name: drop_all_bad_lines
DELETE FROM bad_line

-- name: put_bad_line
INSERT INTO bad_line VALUES (?, ?, ?, ?)
ON CONFLICT (source, number) DO UPDATE SET reason = excluded.reason, text = excluded.text

-- name: bad_lines
SELECT number, reason, text FROM bad_line ORDER BY source, number

-- name: summed_up
-- Each day, and whether it is to be summed up again: one that was too early after a while.
SELECT day, is_stale OR (status = 'rejected' AND made_at < ?) FROM summary

-- name: put_summary
INSERT INTO summary (day, seq, made_at) VALUES (?, ?, ?)
ON CONFLICT (day) DO UPDATE SET seq = excluded.seq, made_at = excluded.made_at, status = 'sent',
    is_stale = 0

-- name: answer_summary
UPDATE summary SET status = ? WHERE seq = ? AND status = 'sent'

-- name: stale_summaries
UPDATE summary SET is_stale = 1

-- name: summaries
SELECT day, status FROM summary ORDER BY day DESC LIMIT ?

-- name: usage_of_day
SELECT contract, device, count(*), sum(milli_devices * (min(until, ?2) - max(start, ?1)))
FROM slice WHERE until > ?1 AND start < ?2 AND standing IN ('held', 'voiding')
GROUP BY contract, device ORDER BY contract, device

-- name: runs_of_day
SELECT min(coalesce(run.until, ?2), ?2) - max(run.start, ?1), quarantine IS NOT NULL,
    run.standing = 'doubtful',
    EXISTS (SELECT 1 FROM slice WHERE slice.run = run.id AND slice.until > ?1
        AND slice.start < ?2 AND slice.standing IN ('sent', 'waiting', 'refused')),
    EXISTS (SELECT 1 FROM slice WHERE slice.run = run.id
        AND slice.standing IN ('held', 'voiding'))
FROM run WHERE start < ?2 AND (until IS NULL OR until > ?1)

-- name: total_of_day
SELECT count(*), coalesce(sum(min(coalesce(until, ?2), ?2) - max(start, ?1)), 0)
FROM run WHERE start < ?2 AND (until IS NULL OR until > ?1)
