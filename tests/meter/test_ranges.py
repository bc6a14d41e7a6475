"""Audits by ranges: what workers find that begin from snapshots is what the single run finds."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from distributed import LocalCluster

from ledger import verify as verify_module
from ledger.book import Book
from ledger.errors import CannotCheck
from ledger.log import Log
from ledger.tlog import Frontier, leaf_hash
from meter.auditor import verdict as verdict_module
from meter.auditor.ranges import NO_RANGE, Range, Reading, split, survey
from meter.auditor.replay import Audit
from meter.auditor.verdict import Verdict, Workers, verify_source
from meter.cli.common import GOOD, NOT_CHECKED
from meter.cli.main import main
from meter.rules import commands
from meter.rules.entries import StateDigested
from meter.rules.kinds.access_digests import SERVICE
from meter.rules.kinds.table import BY_NAME
from meter.values.problems import Problem
from tests.auditing import START, changed, only, usage, world
from tests.books import DEVICE, line, record, summary, void
from tests.fuzz import ledgers as fuzzed
from tests.judging import Source, changed_in, digested, found_by, lie_at
from tests.writer import Writer, bent


def digests_of(writer: Writer) -> list[int]:
    return [n for n, each in enumerate(writer.entries) if isinstance(each, StateDigested)]


def all_ranges(writer: Writer) -> list[tuple[int, int]]:
    size = len(writer.leaves)
    borders = [0, *digests_of(writer), size - 1]
    return [(first, end + 1) for first, end in pairwise(borders)]


@pytest.mark.parametrize("seed", range(12))
def test_each_range_of_an_honest_ledger_is_good(seed):
    writer = digested(seed)
    assert found_by(Audit(), writer) is None
    for first, end in all_ranges(writer):
        assert found_by(Range(Source(writer), first, end), writer) is None, (first, end)


@pytest.mark.parametrize("seed", range(12))
def test_who_reads_all_asks_and_misses_what_the_single_run_does(seed):
    writer = digested(seed)
    writer.post([], stream="gaps", seq=3)
    audit, reading = Audit(), Reading(Source(writer))
    assert found_by(audit, writer) is None
    assert found_by(reading, writer) is None
    assert reading.audit.questions() == audit.questions()
    assert reading.audit.gaps() == audit.gaps()
    for receipt, signature in zip(writer.receipts, writer.signatures, strict=True):
        reading.audit.check_receipt(receipt, signature, reading.audit.tree)


def test_who_reads_all_judges_a_range_beside():
    def reading(writer: Writer) -> Reading:
        return Reading(Source(writer), Range(Source(writer), 0, len(writer.leaves)))

    honest, audit = lived(), Audit(with_sums=False)
    judge = reading(honest)
    assert found_by(judge, honest) is None
    assert found_by(audit, honest) is None
    assert judge.checks == audit.checks
    twice, short = lived(), lived()
    with bent(twice.state, records={}, unread={}):
        twice.post([usage("r1")])
    short.tell = only("usage", lambda _: None)
    short.post([usage("r3")])
    for writer, code in ((twice, "wrong_receipt"), (short, "batch_incomplete")):
        finding = found_by(reading(writer), writer)
        assert finding == found_by(Audit(), writer)
        assert finding.code == code


def test_each_range_of_a_ledger_of_every_kind_is_good(monkeypatch):
    decided = Writer.do

    def digest_and_do(writer, command, by=None, request=None):
        if writer.state.genesis.persons and len(writer.entries) % 7 == 0:
            decided(writer, commands.DigestState(), SERVICE)
        return decided(writer, command, by, request)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "do", digest_and_do)
        writer = fuzzed.story.__wrapped__()
        writer.add_log_key()
        writer.retire_log_key()
        writer.add_receipt_key()
        writer.retire_receipt_key()
    assert {entry.kind for entry in writer.entries} == set(BY_NAME)
    assert len(digests_of(writer)) > 5
    assert found_by(Audit(), writer) is None
    for first, end in all_ranges(writer):
        assert found_by(Range(Source(writer), first, end), writer) is None, (first, end)


# What a worker looks up in the entries before its range


def lived() -> Writer:
    """Return a ledger whose last entry is a digest, with much before it that one may lie about.

    Of 8 devices that L may use, all are in use for an hour.
    """
    writer = world()
    writer.contract("L", max_devices={DEVICE: 8})
    writer.post([usage("r1"), usage("r2", hours=2), usage("gone"), usage("full", "L")])
    writer.post([usage("over", "L"), usage("freed", "L")], [void("gone")])
    writer.release("freed")
    writer.post(summary=summary("2025-02-20", line("A", 2, "172800.000")))
    writer.digest_state()
    return writer


def release(writer: Writer) -> str:
    """Return the idempotency key of the release."""
    return next(entry.request for entry in writer.entries if entry.kind == "release")


LIES = {
    "a record counts twice": (
        lambda state: bent(state, records={}, unread={}),
        lambda writer: writer.post([usage("r1")]),
    ),
    "a record of that id was never": (
        lambda state: bent(state, records={}, unread={}),
        lambda writer: writer.post([usage("r3")], [void("r1")]),
    ),
    "a void is undone": (
        lambda state: bent(state.records["pcl", "gone"], voided=None),
        lambda writer: writer.void("gone"),
    ),
    "a release is undone": (
        lambda state: bent(state.records["pcl", "freed"], released=None),
        lambda writer: writer.release("freed"),
    ),
    "a released record is taken back as withheld": (
        lambda state: bent(state.records["pcl", "freed"], released=None),
        lambda writer: writer.void("freed"),
    ),
    "less was withheld": (
        lambda state: bent(state.records["pcl", "over"], withheld=[]),
        lambda writer: writer.void("over"),
    ),
    "a batch comes twice": (
        lambda state: bent(state, batches={}),
        lambda writer: writer.send(next(files[0] for files in writer.files.values())),
    ),
    "another batch has its number": (
        lambda state: bent(state, batches={}),
        lambda writer: writer.post([usage("r3")], seq=1),
    ),
    "a day is summed up anew": (
        lambda state: bent(state, summaries={}),
        lambda writer: writer.post(summary=summary("2025-02-20", line("A", 2, "1.000"))),
    ),
    "a day had no usage": (
        lambda state: bent(state.touched, usage={}),
        lambda writer: writer.post(summary=summary("2025-02-20", line("A", 2, "1.000"))),
    ),
    "a contract had no usage": (
        lambda state: bent(state.touched, usage={}),
        lambda writer: writer.correct("A", prices={DEVICE: "3.00"}),
    ),
    "its devices are free": (
        lambda state: bent(state.in_use["contract", "L", DEVICE], days={}),
        lambda writer: writer.post([usage("next", "L", milli_devices=2_000)]),
    ),
    "a request is a new one": (
        lambda state: bent(state, size=state.size),
        lambda writer: writer.do(commands.RegisterPerson(id="chen"), request="request-3"),
    ),
    "a request for a release is a new one": (
        lambda state: bent(state, size=state.size),
        lambda writer: writer.do(commands.RegisterPerson(id="chen"), request=release(writer)),
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_what_was_before_a_range_is_found_in_the_range(name):
    lie, act = LIES[name]
    honest, writer = lived(), lived()
    first = len(writer.leaves) - 1
    with suppress(Problem):
        act(honest)
    if name.startswith("a request"):  # the rules know of none; the service does
        honest = lived()
    with lie(writer.state):
        act(writer)
    assert writer.leaves != honest.leaves
    for each in (honest, writer):
        alone = found_by(Audit(), each)
        assert found_by(Range(Source(each), first, len(each.leaves)), each) == alone
        assert (alone is None) == (each is honest)


@pytest.mark.parametrize("size", [-1, 0, 11, 12, 13, 14, 15, 16, 17])
def test_a_range_knows_the_groups_before_it(size):
    writer = world()
    writer.post([usage("r1")])
    with writer.group():
        writer.post([usage("r2")])
        writer.digest_state()
        writer.tell = changed("batch", before=size)
        writer.post([usage("r3")])
    first = digests_of(writer)[0]
    finding = found_by(Range(Source(writer), first, len(writer.leaves)), writer)
    assert finding == found_by(Audit(), writer)
    assert (finding is None) == (size == 13)


# The verdict of all


def good(writer: Writer) -> bool:
    """Return whether all ranges are good, which share an entry at each border."""
    ranges = all_ranges(writer)
    return all(found_by(Range(Source(writer), *each), writer) is None for each in ranges)


@pytest.mark.parametrize("seed", range(6))
def test_ranges_are_good_where_the_single_run_is(seed):
    random, honest = Random(seed), digested(seed, 12)
    verdicts = set()
    for _ in range(12):
        writer = honest.twin()
        lie_at(writer, random)
        alone = found_by(Audit(), writer)
        assert good(writer) == (alone is None), alone
        verdicts.add(alone is None)
    assert False in verdicts


@pytest.mark.parametrize(
    "lie",
    [
        lambda state: bent(state.contracts["A"], used=state.contracts["A"].used + 10**12),
        lambda state: bent(next(iter(state.pools.values())), issued=1),
        lambda state: bent(state.months, first=7),
        lambda state: bent(state, granted={}),
    ],
)
def test_a_lie_in_a_snapshot_that_all_after_it_believe_is_found_by_who_comes_to_it(lie):
    writer = lived()
    with lie(writer.state):
        writer.digest_state()
        for place in range(6):
            writer.person(f"person-{place}")
        writer.digest_state()
    ranges = all_ranges(writer)
    found = [found_by(Range(Source(writer), *each), writer) for each in ranges]
    assert [each is None for each in found] == [True, False, True, True]
    assert found[1] == found_by(Audit(), writer)


def test_a_range_that_cannot_begin_is_not_good():
    writer = lived()
    size = len(writer.leaves)
    for first in (1, size - 3):  # no digest
        assert found_by(Range(Source(writer), first, size), writer).code == "not_as_decided"
    (snapshot,) = writer.files[size - 1]
    for wrong in (snapshot.replace(b'"used":"', b'"used":"1'), snapshot[:-1]):
        writer.files[size - 1] = [wrong]
        assert found_by(Range(Source(writer), size - 1, size), writer).code == "wrong_snapshot"
    digests = [sha256(each).hexdigest().encode() for each in (snapshot, wrong)]
    writer.leaves[size - 1] = writer.leaves[size - 1].replace(*digests)
    assert found_by(Range(Source(writer), size - 1, size), writer).code == "bad_snapshot"


def test_who_reads_all_doubts_what_cannot_be_read():
    writer = lived()
    number = usages_of(writer)[1]
    writer.leaves[number] = writer.leaves[number].replace(b'"device":', b'"devices":')
    finding = found_by(Reading(Source(writer)), writer)
    assert (finding.code, finding.entry) == ("malformed_entry", number)


class Shifting(Source):
    """A source that shows other entries once."""

    def __init__(self, writer: Writer, number: int) -> None:
        super().__init__(writer)
        self._number = number

    def entries(self, first: int, end: int) -> list[bytes]:
        return [each for _, each in self._shown(first, end)]

    def with_files(self, first: int, end: int) -> Iterator[tuple[bytes, list[bytes]]]:
        for number, data in self._shown(first, end):
            yield data, self._writer.files.get(number, [])

    def _shown(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        for number in range(first, min(end, self.size)):
            shown = number - 1 if number == self._number else number
            yield number, self._writer.leaves[shown]


def test_what_a_range_looks_at_first_is_what_is_proved():
    writer = lived()
    first = len(writer.leaves) - 1
    writer.post([usage("r3"), usage("r4")])
    size = len(writer.leaves)
    for number in (usages_of(writer)[1], size - 1):
        source = Shifting(writer, number)
        for judge in (Range(source, first, size), Reading(source)):
            assert found_by(judge, writer).code == "changed"


def usages_of(writer: Writer) -> list[int]:
    return [number for number, entry in enumerate(writer.entries) if entry.kind == "usage"]


# Processes


def verdict_of(writer: Writer, folder: Path, workers: Workers | None, *receipts: Path) -> Verdict:
    vkey = writer.verifier.format()
    out = folder if folder.exists() else writer.export(folder)
    return verify_source(str(out), vkey, receipts, None, lambda *_: None, workers=workers)


def told(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict without the times that it took."""
    fields = verdict.as_json()
    for check in fields["checks"]:
        del check["seconds"]
    fields["checks"].sort(key=lambda check: check["name"])
    return fields


@pytest.fixture
def shared(monkeypatch):
    """Let small ledgers be shared among workers; return the audits by ranges that were good."""
    monkeypatch.setattr(verify_module, "ENOUGH_TO_SHARE", 0)
    monkeypatch.setattr(verdict_module, "ENOUGH_TO_SHARE", 0)
    found = []
    by_ranges = verdict_module._audit_by_ranges

    def noted(*arguments):
        found.append(by_ranges(*arguments))
        return found[-1]

    monkeypatch.setattr(verdict_module, "_audit_by_ranges", noted)
    return found


def asking() -> Writer:
    """Return a ledger with digests that leaves questions and gaps."""
    writer = lived()
    writer.post([usage("more"), usage("again", "A")], seq=9)
    writer.digest_state()
    writer.post([usage("r1", hours=3)], [void("r1")])
    writer.post([record("part", "S", START + 60, START + 400, 10_000_000)])
    writer.post([record("parts", "S", START + 60, START + 300, 10_000_000)])
    writer.digest_state()
    writer.correct("A", prices={DEVICE: "3.00"})
    return writer


@pytest.mark.parametrize("processes", [4, 6])
def test_the_verdict_by_ranges_is_that_of_the_single_run(tmp_path, shared, processes):
    writer = asking()
    receipt = tmp_path / "receipt"
    receipt.write_bytes(writer.receipts[3])
    receipt.with_name("receipt.sig").write_text(writer.signatures[3])
    alone = verdict_of(writer, tmp_path / "log", None, receipt)
    together = verdict_of(writer, tmp_path / "log", Workers(processes), receipt)
    assert len(shared) == 1
    assert shared[0] is not None
    assert told(together) == told(alone)
    assert together.conclusion == "good"
    assert together.receipts == 1
    assert together.gaps
    assert len({question.kind for question in together.questions}) > 3


def test_what_ranges_do_not_find_good_the_single_run_names(tmp_path, shared):
    honest, random = asking(), Random(0)
    for place in range(3):
        writer = honest.twin()
        number = digests_of(writer)[place]
        writer.leaves[number] = changed_in(writer.leaves[number], random)
        writer.log = Log(Frontier.over(b"".join(map(leaf_hash, writer.leaves))), Book(()), 0)
        folder = tmp_path / str(place)
        alone = verdict_of(writer, folder, None)
        assert told(verdict_of(writer, folder, Workers(4))) == told(alone)
        assert shared[-1] is None
        assert alone.findings


def test_without_digests_or_processes_enough_one_decides_the_whole(tmp_path, shared):
    without = world()
    without.post([usage("r1")])
    assert verdict_of(without, tmp_path / "without", Workers(8)).conclusion == "good"
    assert verdict_of(asking(), tmp_path / "log", Workers(3)).conclusion == "good"
    assert shared == [None, None]


def test_a_survey_finds_digests_and_counts_batches():
    writer = asking()
    found, batches = survey(Source(writer))
    assert found == digests_of(writer)
    assert batches == sum(entry.kind == "batch" for entry in writer.entries)
    number = writer.propose("person", id="chen")
    writer.leaves[number] = writer.leaves[number].replace(b'"id":"chen"', b'"kind":"state_digest"')
    assert survey(Source(writer)) == (found, batches)


@pytest.mark.parametrize("end", [b"", b',"z":' + b"[" * 20_000 + b"]" * 20_000 + b"}"])
def test_a_survey_of_a_damaged_log_finds_nothing(end):
    writer = asking()
    number = digests_of(writer)[1]
    writer.leaves[number] = writer.leaves[number][:-1] + end
    assert survey(Source(writer)) == ([], 0)


@pytest.mark.parametrize("batches", [2_000, 500_000])
@pytest.mark.parametrize("processes", [4, 6, 8, 12])
def test_borders_are_the_digests_next_to_equal_work(batches, processes):
    every, size = 2_000, 1_000_000
    ranges = split(list(range(every, size, every)), batches, size, processes)
    held = [each for each in ranges if each != NO_RANGE]
    assert len(ranges) == processes
    assert [first for first, _ in held] == [0, *(end - 1 for _, end in held[:-1])]
    assert held[-1][1] == size
    assert NO_RANGE not in ranges[3:]
    deciding = 27 + batches * (100 + 226 - 27) / size  # microseconds an entry
    busy = [9, 4, 7] + [0] * (processes - 3)
    work = [
        other * size + 5 * first + (deciding + 6 * (first > 0)) * (end - first)
        for other, (first, end) in zip(busy, ranges, strict=True)
    ]
    deciders = [time for time, each in zip(work, ranges, strict=True) if each != NO_RANGE]
    assert max(deciders) - min(deciders) < 2 * every * deciding
    assert all(time > max(deciders) for time, each in zip(work, ranges, strict=True) if not each[1])


def test_there_are_no_more_ranges_than_digests_bound():
    assert [each for each in split([], 10, 100, 4) if each != NO_RANGE] == [(0, 100)]
    ranges = [each for each in split([50], 10, 100, 4) if each != NO_RANGE]
    assert ranges == [(0, 51), (50, 100)]


# Dask


def test_the_verdict_on_dask_is_that_of_the_single_run(tmp_path, shared):
    honest = asking()
    lying = honest.twin()
    number = digests_of(lying)[1]
    lying.leaves[number] = changed_in(lying.leaves[number], Random(1))
    lying.log = Log(Frontier.over(b"".join(map(leaf_hash, lying.leaves))), Book(()), 0)
    with LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        workers = Workers(dask=cluster.scheduler_address)
        for name, writer in (("good", honest), ("bad", lying)):
            together = verdict_of(writer, tmp_path / name, workers)
            assert told(together) == told(verdict_of(writer, tmp_path / name, None))
            assert together.conclusion == ("good" if name == "good" else "violated")
    assert [each is not None for each in shared] == [True, False]


@pytest.mark.usefixtures("shared")
def test_a_cluster_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(verdict_module, "_DASK_SECONDS", 0.5)
    with pytest.raises(CannotCheck, match="Dask at"):
        verdict_of(asking(), tmp_path / "log", Workers(dask="tcp://127.0.0.1:1"))


@pytest.mark.usefixtures("shared")
def test_the_command_tells_what_to_install_for_dask(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    writer = asking()
    words = ["verify", str(writer.export(tmp_path / "log")), "--vkey", writer.verifier.format()]
    result = CliRunner().invoke(main, [*words, "--lang", "en", "--dask", "tcp://127.0.0.1:1"])
    assert result.exit_code == NOT_CHECKED
    assert "pip install 'kashi[dask]'" in result.output
    result = CliRunner().invoke(main, [*words, "--lang", "en", "--processes", "4"])
    assert result.exit_code == GOOD
