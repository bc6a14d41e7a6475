"""Plain records are judged by groups: the same bytes and the same state as by the reference."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ledger.canon import decode, encode
from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.rules.capacity import DeviceTime
from meter.rules.plain import Run
from meter.rules.state import State
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, format_money, parse_instant
from tests.books import BETA, DEVICE, HOUR, lifted, record, uscc_of, void
from tests.histories import history
from tests.writer import Writer

NOW = "2026-06-01T12:00:00+08:00"
NEW_YEAR = parse_instant("2026-01-01T00:00:00+08:00")
START = parse_instant("2025-03-01T08:00:00+08:00")
CACHES = {"meters", "accounts"}  # made when they are needed, and what is made tells nothing new
UNUSED: tuple[Any, Any] = ({}, set())
NOTES = ("RUNNING", 'it said "no"', "a\\b", "算力券", "é \U00020000")
GAMMA = uscc_of(7)
# All that an id may hold.
SIGNS = "".join(map(chr, range(0x21, 0x7F)))


def value(thing: Any) -> Any:
    """Return what a state holds, as values that can be compared."""
    if isinstance(thing, DeviceTime):
        return {day: list(held) for day, held in thing.days.items() if any(held)}, thing.touched
    if is_dataclass(thing):
        names = [each.name for each in fields(thing) if each.name not in CACHES]
        return type(thing).__name__, {name: value(getattr(thing, name)) for name in names}
    if isinstance(thing, dict):  # a count of device-time that is empty is one that is not there
        values = {key: value(held) for key, held in thing.items()}
        return {key: held for key, held in values.items() if held != UNUSED}
    if isinstance(thing, list | tuple):
        return [value(each) for each in thing]
    return thing


def whole(state: State) -> Any:
    """Return the value of a state, whose unread records are read first."""
    for provider, name in list(state.unread):
        assert state.record(provider, name) is not None
    return value(state)


def check_twins(plain: Writer, reference: Writer) -> None:
    """Check that two ledgers with one history hold the same, to the byte."""
    assert plain.leaves == reference.leaves
    assert plain.receipts == reference.receipts
    assert plain.log.root() == reference.log.root()
    assert plain.log.book.balances == reference.log.book.balances
    for data in plain.leaves:
        assert encode(decode(data)) == data
    assert whole(plain.state) == whole(reference.state)


def counted(writer: Writer) -> list[int]:
    """Count from now on, batch by batch, the records that are judged by groups."""
    counts: list[int] = []

    def count(decided):
        counts.append(sum(len(part.entries) for part in decided.parts if isinstance(part, Run)))
        return decided

    writer.tell_batch = count
    return counts


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_random_histories_are_the_same_by_groups(start):
    taken = 0
    for seed in range(start, start + 20):
        plain = history(seed, by_groups=True)
        check_twins(plain, history(seed))
        taken += len(plain.state.records)
    assert taken > 40


def opened(*, by_groups: bool) -> Writer:
    """Begin a ledger whose devices, coupons and contracts suffice for a while."""
    writer = Writer(NOW)
    writer.by_groups = by_groups
    writer.activate(lifted(pool="100000.00"))
    writer.provider(devices={DEVICE: 60, "other": 60})
    writer.enlist("more", {DEVICE: 20}, "2025-01-01", "2026-01-01")
    writer.key()
    writer.enterprise()
    writer.enterprise(BETA, founded_on="2024-06-01")
    prices = {"prices": {DEVICE: "4.50", "other": "0.07"}}
    writer.contract("A", amount="60000.00", **prices)
    writer.contract("B", amount="700.00", **prices)
    writer.contract("C", max_devices={DEVICE: 24}, **prices)
    writer.contract("S", enterprise=BETA, amount="90000.00", **prices)
    writer.contract("R", enterprise=BETA, related_party=True, **prices)
    writer.issue(2025, "900.00")
    writer.issue(2025, "2000.00", BETA)
    return writer


def busy(random: Random) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of many records in few groups, and all that makes one not plain."""
    for number in range(6):
        hours = [START + random.randrange(96) * HOUR for _ in range(3)]
        hours += [NEW_YEAR - 2 * HOUR] * (number % 3 == 0)
        yield [_record(random, number, place, hours) for place in range(random.randrange(60))]


def _record(random: Random, number: int, place: int, hours: list[int]) -> dict[str, Any]:
    start = random.choice(hours)
    seconds = random.choices((HOUR, 61, 5 * HOUR, 40 * HOUR, 0), (60, 9, 9, 2, 1))[0]
    thousandths = random.choices((1_000, 333, 2_500, 9_000, 0, 1), (50, 30, 10, 1, 1, 1))[0]
    more: dict[str, Any] = {}
    if random.random() < 0.5:
        more |= {"run": random.choice((f"job-{place}", SIGNS)), "state": random.choice(NOTES)}
    if random.random() < 0.5:
        more |= {"final": random.random() < 0.5}
    names = f"{number}:{place}", f"{number}:{place}", f'"{number}', f"\\{number}:{place}", "twice"
    name = random.choice(names)
    contract = random.choices(("A", "B", "C", "S", "R", "nobody"), (30, 9, 20, 30, 1, 1))[0]
    device = random.choice((DEVICE, DEVICE, "other"))
    return record(name, contract, start, start + seconds, thousandths, device=device, **more)


@pytest.mark.parametrize("seed", range(12))
def test_busy_batches_are_the_same_by_groups(seed):
    plain, reference = opened(by_groups=True), opened(by_groups=False)
    counts, posted = counted(plain), 0
    for batch in busy(Random(seed)):
        taken = [each["id"] for each in batch[: seed % 3]]
        for writer in (plain, reference):
            writer.post(batch, [void(name) for name in taken])
        posted += len(batch)
        check_twins(plain, reference)
    for writer in (plain, reference):  # records that nobody has read are there for the authority
        writer.post([record("last", "A", START, START + HOUR, 1_000)])
        writer.void("last")
        writer.freeze("A")
        writer.post([record("frozen", "A", START, START + HOUR, 1_000)])
    check_twins(plain, reference)
    assert sum(counts) >= min(posted, 1)


def test_most_records_of_busy_batches_are_judged_by_groups():
    taken = posted = 0
    for seed in range(12):
        writer = opened(by_groups=True)
        counts = counted(writer)
        for batch in busy(Random(seed)):
            writer.post(batch)
            posted += len(batch)
        taken += sum(counts)
    assert posted > 1_000
    assert 0.3 * posted < taken < 0.9 * posted


def hours(
    count: int, contract: str = "A", thousandths: int = 1_000, **more: Any
) -> list[dict[str, Any]]:
    """Return records of one hour and one group."""
    end = START + HOUR
    return [
        record(f"{contract}:{place}", contract, START, end, thousandths, **more)
        for place in range(count)
    ]


def judged_by_groups(records: list[dict[str, Any]], **changes: Any) -> int:
    """Post records to two ledgers with a contract D; return how many were judged by groups."""
    plain, reference = opened(by_groups=True), opened(by_groups=False)
    counts = counted(plain)
    for writer in (plain, reference):
        writer.contract("D", **({"amount": "60000.00"} | changes))
        writer.post(records)
    check_twins(plain, reference)
    return sum(counts)


def test_an_amount_that_is_just_reached_does_not_bind():
    # Twelve card-hours of 4.50 are 54.00 yuan.
    assert judged_by_groups(hours(12, "D"), amount="54.00") == 12
    assert judged_by_groups(hours(12, "D"), amount="53.99") == 0


@pytest.mark.parametrize(
    ("issued", "granted"),
    [
        ("0.01", [1, 0, 0]),
        ("5.00", [225, 225, 50]),
        ("4.50", [225, 225, 0]),
        ("4.51", [225, 225, 1]),
    ],
)
def test_a_coupon_runs_out_between_two_records_of_a_group(issued, granted):
    plain, reference = opened(by_groups=True), opened(by_groups=False)
    counts = counted(plain)
    for writer in (plain, reference):
        writer.enterprise(GAMMA)
        writer.contract("D", enterprise=GAMMA)
        writer.issue(2025, issued, GAMMA)
        results = writer.post(hours(3, "D"))
        assert [result.granted for result in results] == [format_money(fen) for fen in granted]
    check_twins(plain, reference)
    assert counts == [3]


def test_devices_that_just_suffice_are_room_enough():
    limited = {"max_devices": {DEVICE: 12}}
    assert judged_by_groups(hours(12, "D"), **limited) == 12
    assert judged_by_groups(hours(13, "D"), **limited) == 0
    part = [each | {"milli_devices": 999} for each in hours(12, "D")[:1]] + hours(12, "D")[1:]
    part += [record("rest", "D", START, START + HOUR, 1)]
    assert judged_by_groups(part, **limited) == 13


def test_overlapping_groups_share_their_room():
    limited = {"max_devices": {DEVICE: 12}}
    later = [
        record(f"later:{place}", "D", START + 900, START + HOUR + 900, 1_000) for place in range(6)
    ]
    assert judged_by_groups(hours(6, "D") + later, **limited) == 12
    assert judged_by_groups(hours(7, "D") + later, **limited) == 0


def test_what_lacks_the_smallest_part_of_a_fen_entitles_to_no_fen():
    # 36.59 % of 0.3263 yuan an hour, for 733 s of 5.759 devices: 14 fen less 1 of 3.6e12 parts.
    assert 3_659 * 3_263 * 733 * 5_759 == 14 * 3_600_000_000_000 - 1
    shards = [record(f"r{n}", "D", START, START + 733, 443) for n in range(13)]
    more = record("more", "D", START, START + HOUR, 1)
    for records, fen in ((shards, 13), ([*shards, more], 14)):
        plain, reference = Writer(NOW), Writer(NOW)
        plain.by_groups = True
        counts = counted(plain)
        for writer in (plain, reference):
            writer.activate(lifted(standard=3_659))
            writer.provider(devices={DEVICE: 60})
            writer.key()
            writer.enterprise()
            writer.contract("D", prices={DEVICE: "0.3263"})
            writer.post(records)
            assert writer.state.contracts["D"].shares[2025].entitled == fen
        check_twins(plain, reference)
        assert sum(counts) >= 13


def test_overlapping_groups_share_what_earlier_batches_left():
    for count, taken in ((6, 12), (7, 0)):
        plain, reference = opened(by_groups=True), opened(by_groups=False)
        counts = counted(plain)
        for writer in (plain, reference):
            writer.contract("D", amount="60000.00", max_devices={DEVICE: 14})
            writer.post([record("before", "D", START, START + HOUR, 2_000)])
            later = [
                record(f"l{place}", "D", START + 900, START + HOUR + 900, 1_000)
                for place in range(6)
            ]
            writer.post([*hours(count, "D"), *later])
        check_twins(plain, reference)
        assert counts == [0, taken]


def test_a_contract_without_room_leaves_the_others_plain():
    records = [each for pair in zip(hours(13, "D"), hours(13, "A"), strict=True) for each in pair]
    assert judged_by_groups(records, max_devices={DEVICE: 12}) == 13


def test_usage_of_several_days_is_plain_also_over_new_year():
    prices = {"prices": {DEVICE: "4.50", "other": "4.50"}}
    days = [record("days", "D", START, START + 3 * DAY_SECONDS, 1_000)]
    over = record("over", "D", NEW_YEAR - HOUR, NEW_YEAR + HOUR, 1_000, device="other")
    assert judged_by_groups([over, *days, *hours(4, "D")], **prices) == 6


def test_where_the_enlisted_devices_change_meanwhile_the_reference_looks():
    over = record("over", "D", NEW_YEAR - HOUR, NEW_YEAR + HOUR, 1_000)
    assert judged_by_groups([over, *hours(4, "D")]) == 0


def test_what_is_durable_is_forgotten_also_before_anybody_read_it():
    writer = opened(by_groups=True)
    writer.post(hours(3))
    assert len(writer.state.unread) == 3
    writer.state.forget()
    assert writer.state.record("pcl", "A:0") is None


def test_a_run_tells_the_ids_and_uses_of_its_entries_and_the_sums_of_their_postings():
    writer, told = opened(by_groups=True), 0

    def look(decided):
        nonlocal told
        for run in decided.parts:
            if isinstance(run, Run):
                told += len(run.entries)
                entries = run.read()
                assert run.ids == [each.id for each in entries]
                assert run.uses == [
                    (each.contract, day_of(each.start // MICROSECONDS), each.device)
                    for each in entries
                ]
                sums = Counter()
                for each in entries:
                    for source, target, fen in each.postings:
                        sums[source, target] += fen
                assert {(source, target): fen for source, target, fen in run.postings} == sums
        return decided

    writer.tell_batch = look
    writer.post([*hours(3), *hours(3, "S")])
    for batch in busy(Random(7)):
        writer.post(batch)
    assert told > 30


def test_few_records_are_judged_one_by_one():
    assert judged_by_groups(hours(1, "D")) == 0


def test_an_audit_by_groups_agrees_with_one_by_the_reference(tmp_path: Path):
    writer = opened(by_groups=True)
    for batch in busy(Random(3)):
        writer.post(batch)
    folder = writer.export(tmp_path / "log")
    for by_groups in (False, True):
        assert verify(folder, writer.verifier, Audit(by_groups=by_groups)).ok
