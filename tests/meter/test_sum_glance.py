"""The independent sums find at a glance what they find by a closer look at each record."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canon import encode
from ledger.errors import Violation
from meter.auditor.sum_records import Records
from meter.auditor.sums import Sums
from meter.rules.capacity import QUARTER_SECONDS
from meter.values.units import parse_instant
from tests.bending import START, TODAY, crowded, found, found_with, hour, shown
from tests.books import DEVICE, HOUR, attempt, properties, record
from tests.summing import Fields, summed, told


class WatchedRecords(Records):
    """Those that note which need a closer look."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at: list[str] = []

    def _closely(self, number: int, meter: Any, usage: Any) -> bytes:
        self.looked_at.append(usage.id)
        return super()._closely(number, meter, usage)


class ThoroughRecords(Records):
    """Those that look closely at every one."""

    def _at_a_glance(self, *_: Any) -> None:
        return None


def sums_with(records: Records) -> Sums:
    sums = Sums()
    sums._records = records
    return sums


def test_only_records_across_midnight_and_such_as_do_not_fit_take_a_closer_look():
    books = crowded(max_devices={DEVICE: 6})
    books.contract("B", max_devices={}, starts="2025-03-01")
    midnight = parse_instant("2025-02-21T00:00:00+08:00")
    books.post(
        [
            record("all-day", "A", midnight - 24 * HOUR, midnight, 1_000),
            record("across", "A", midnight - 1, midnight + 1, 1_000),
            record("does-not-count", "B", midnight, midnight + HOUR, 1_000),
            record("fills-up", "A", midnight + 4_000, midnight + 8_000, 6_000),
            record("fills-the-last-quarter-up", "A", midnight + 8_000, midnight + 8_100, 6_000),
            record("no-room-under-the-contract", "A", midnight + 8_099, midnight + 8_101, 1),
            record("room-at-the-provider", "B", midnight + 4_000, midnight + 8_000, 2_000),
            record("no-room-at-the-provider", "B", midnight + 7_000, midnight + 8_000, 1),
            record("room-beside-it", "A", midnight + 8_101, midnight + HOUR * 24, 5_999),
        ]
    )
    records = WatchedRecords()
    watched = sums_with(records)
    for number, fields in enumerate(told(books)):
        watched.entry(number, encode(fields))
    watched.finish()
    closely = ["across", "does-not-count", "no-room-under-the-contract"]
    closely += ["room-at-the-provider", "no-room-at-the-provider"]
    assert records.looked_at == closely


def held(sums: Sums) -> list[Any]:
    """Return all that sums have collected of usage."""
    records = sums._records
    in_use = [*records._in_use.values(), *(meter.in_use for meter in records._meter_list)]
    return [
        dict(sums._balances),
        dict(records._records),
        records._withheld,
        [{day: [*times] for day, times in each.items() if any(times)} for each in in_use],
        [(each.work, each.stated_cost, each.stated_entitled) for each in sums._contracts.values()],
        [
            {day: times for day, times in meter.used.items() if any(times)}
            for meter in records._meter_list
        ],
    ]


def outcome(sums: Sums, entries: list[Fields]) -> Any:
    """Return the findings of the sums in entries, and what they hold then."""
    try:
        for number, fields in enumerate(entries):
            sums.entry(number, encode(fields))
        sums.finish()
    except Violation as violation:
        return violation.code, violation.detail, violation.entry, held(sums)
    return held(sums)


EDGES = [
    parse_instant(f"{day}T00:00:00+08:00")
    # The policy's first day, New Year, the last day of an enlistment, a first day of a term.
    for day in ("2024-12-18", "2025-01-01", "2025-02-21", "2025-03-01", "2026-01-01")
]
ids = st.integers(0, 9).map("r{}".format)
operations = st.one_of(
    st.tuples(
        st.just("post"),
        st.builds(
            lambda id_, contract, start, seconds, milli_devices: record(
                id_, contract, start, start + seconds, milli_devices
            ),
            ids,
            st.sampled_from(["A", "A", "B", "B", "late"]),
            st.builds(
                int.__add__,
                st.sampled_from(EDGES),
                st.sampled_from([-QUARTER_SECONDS, 0, HOUR]) | st.integers(-4 * HOUR, 4 * HOUR),
            ),
            st.sampled_from([1, QUARTER_SECONDS, HOUR, 3_601, 24 * HOUR, 50 * HOUR]),
            st.sampled_from([1, 460, 2_000, 6_000, 8_000, 12_000]),
        ),
    ),
    st.tuples(st.sampled_from(["void", "release"]), ids),
    st.tuples(
        st.just("enlist"), st.sampled_from(["2025-01-02", "2025-02-21", "2025-02-25", "2026-06-01"])
    ),
)
lies = st.sampled_from(
    [
        {},
        {"withheld": []},
        {"withheld": [[TODAY, 1_000]]},
        {"withheld_cost": 1},
        {"evidence": [shown(0, 1, 4)]},
        {"fits": []},
        {"fits": [[TODAY, 6_000 * HOUR]]},
        {"fits": [[TODAY, 0]], "milli_devices": 0},
        {"ineligible": [["use", 0]]},
        {"ineligible": []},
        {"milli_devices": 12_001},
        {"milli_devices": -1_000},
        {"entitled": [[2025, 1]]},
    ]
)


@properties
@given(st.lists(operations, min_size=1, max_size=15), lies, st.integers(0, 14))
def test_what_is_found_at_a_glance_is_found_closely_too(history, lie, liar):
    books = crowded(max_devices={DEVICE: 6})
    books.contract("B", max_devices={})
    books.contract("late", starts="2025-03-01")
    for what, arguments in history:
        if what == "post":
            books.post([arguments])
        elif what == "enlist":
            books.enlist("more", 4, "2025-01-01", arguments)
        else:
            attempt(lambda what=what, id_=arguments: getattr(books, what)(id_))
    entries = told(books)
    assert isinstance(outcome(Sums(), entries), list)
    usages = [fields for fields in entries if fields["kind"] == "usage"]
    if usages:
        usages[liar % len(usages)].update(lie)
    assert outcome(Sums(), entries) == outcome(sums_with(ThoroughRecords()), entries)


@pytest.mark.parametrize(
    "lie",
    [
        {"milli_devices": 0, "fits": []},
        {"milli_devices": 0, "fits": [[TODAY, 0]]},
        {"milli_devices": -8_000, "fits": [[TODAY, -8_000 * HOUR]]},
        {"end": START * 10**6, "fits": []},
        {"end": (START + 1) * 10**6, "start": (START + 1) * 10**6, "fits": [[TODAY, 0]]},
        {"end": (START - HOUR) * 10**6, "fits": [[TODAY, -8_000 * HOUR]]},
    ],
)
def test_a_record_of_nothing_or_less_is_none_at_a_glance_either(lie):
    books = crowded()
    books.post([hour("a")])
    *entries, last = told(books)
    entries.append(last | lie)
    assert outcome(Sums(), entries) == outcome(sums_with(ThoroughRecords()), entries)


def test_a_record_of_31_days_counts_and_one_that_is_longer_is_found_be_it_by_centuries():
    books = crowded()
    month = 31 * 24 * HOUR
    books.post([record("a", "A", START, START + month, 1_000)])
    *entries, last = told(books)
    summed([*entries, last])
    assert len(last["fits"]) == 32
    for seconds in (month + 1, 31 * month, 200 * 365 * 24 * HOUR):
        longer = last | {"end": (START + seconds) * 10**6}
        found([*entries, longer], "sum_record", "record a is too long", entry=len(entries))


def test_something_withheld_or_shown_of_a_record_that_fits_is_found():
    books = crowded()
    books.post([hour("a")])
    found_with(books, {"withheld": [[TODAY, 1_000]]}, "sum_withheld", "record a")
    found_with(books, {"evidence": [shown(0, 1, 4)]}, "sum_evidence", "record a")


def test_a_day_is_as_full_as_it_was_whatever_days_came_in_between():
    books = crowded()
    books.post([hour("a", 6)])
    days = [START + day * 24 * HOUR for day in range(1, 70)]
    books.post(record(f"d{day}", "A", day, day + HOUR, 8_000) for day in days)
    books.post([hour("b", 6)])
    assert told(books)[-1]["withheld"] == [[TODAY, 4_000 * HOUR]]
    summed(told(books))
