"""An audit that keeps where records stand finds what one finds that keeps them whole."""

from random import Random

import pytest

from ledger.tiles import Tile
from ledger.tlog import TILE_WIDTH
from meter.auditor.replay import Audit
from meter.rules import snapshot
from meter.rules.entries import RecordReleased, RecordVoided
from tests.auditing import exceed, usage, world
from tests.books import void
from tests.judging import changed_in, digested, found_by, lie_at
from tests.writer import Writer


class Reader:
    """Reads a writer's entries again, and counts how often."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.count = 0

    def __call__(self, tile: Tile) -> list[bytes]:
        self.count += 1
        assert tile.first + tile.width <= len(self._writer.leaves)
        return self._writer.leaves[tile.first : tile.first + tile.width]


def about(audit: Audit) -> tuple[object, ...]:
    checks = [(check.name, check.count) for check in audit.checks]
    return audit.questions(), audit.gaps(), audit.decisions, checks, snapshot.write(audit.state)


@pytest.mark.parametrize("by_groups", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_both_find_the_same_good_and_ask_the_same(seed, by_groups):
    writer = digested(seed, 60)
    whole, short = Audit(), Audit(read=Reader(writer), by_groups=by_groups)
    assert found_by(whole, writer) is None
    assert found_by(short, writer) is None
    assert about(short) == about(whole)
    assert whole.state.records
    assert not short.state.records
    assert not short.state.unread
    assert {each.receipt for each in short.state.batches.values()} <= {b""}
    for receipt, signature in zip(writer.receipts, writer.signatures, strict=True):
        short.check_receipt(receipt, signature, short.tree)


@pytest.mark.parametrize("seed", range(6))
def test_both_find_the_same_lie(seed):
    random, honest = Random(seed), digested(seed, 12)
    findings = []
    for _ in range(12):
        writer = honest.twin()
        lie_at(writer, random)
        findings.append(found_by(Audit(read=Reader(writer)), writer))
        assert findings[-1] == found_by(Audit(), writer)
    assert any(findings)


def test_histories_void_and_release_records_of_earlier_batches():
    entries = [each for seed in range(12) for each in digested(seed, 60).entries]
    assert {RecordVoided, RecordReleased} <= {type(each) for each in entries}


def named(*records: dict[str, object], **parts: object) -> tuple[int, Writer]:
    """Return how often a record is read back where a batch comes after those of a ledger."""
    writer = world()
    writer.post([usage("r1"), usage("r2")])
    exceed(writer)
    writer.post(list(records), **parts)
    reader = Reader(writer)
    before = found_by(Audit(read=reader), writer)
    assert before is None
    return reader.count, writer


def test_only_what_a_batch_names_is_read_back():
    (none, _), (again, _), (void_, _) = named(), named(usage("r1")), named(voids=[void("r2")])
    assert (again, void_) == (none + 1, none + 1)


def test_what_is_withheld_or_undone_is_not_read_back():
    (none, _), (undone, _) = named(), named(usage("l1", "L"), voids=[void("l2")])
    assert undone == none


def test_of_the_last_tile_no_more_is_asked_than_the_log_has():
    writer = world()
    for number in range(200):
        writer.post([usage(f"r{number}")])
    writer.post(voids=[void("r150"), void("r1")])
    assert TILE_WIDTH < len(writer.leaves) < 2 * TILE_WIDTH
    reader = Reader(writer)
    assert found_by(Audit(read=reader), writer) is None
    assert reader.count == 2


def test_what_was_changed_since_it_was_read_is_found():
    _, writer = named(usage("r1"))
    number = next(n for n, each in enumerate(writer.entries) if getattr(each, "id", "") == "r1")
    other = writer.twin()
    other.leaves = [*writer.leaves]
    other.leaves[number] = changed_in(writer.leaves[number], Random(0))
    finding = found_by(Audit(read=Reader(other)), writer)
    assert (finding.code, finding.entry) == ("changed", number)
