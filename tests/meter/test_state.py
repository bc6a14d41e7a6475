"""What a state knows of the changes since the last group, and what it forgets."""

import pytest

from meter.rules.effects import Diverged
from meter.rules.entries import ProviderRegistered
from meter.rules.evolve import register
from meter.rules.state import MAX_HELD_DAYS, MAX_HELD_STREAMS, ServiceKey, State, Touched, signing
from meter.values.units import parse_instant
from tests.books import (
    ALPHA,
    DAY,
    DEVICE,
    HOUR,
    PROGRAMME,
    Books,
    lifted,
    opened,
    policy_text,
    record,
    void,
)

START = parse_instant("2025-03-01T08:00:00+08:00")
TODAY = START // DAY
NAMES = ("contracts", "awards", "coupons", "pools", "days")


def with_two_contracts() -> Books:
    books = opened(lifted())
    books.contract("A")
    books.contract("B")
    books.issue(2025, "100.00")
    return books


def touched(books: Books) -> dict[str, set]:
    found = books.state.take_touched()
    assert books.state.take_touched() == Touched()
    return {name: getattr(found, name) for name in NAMES}


def days(contract: str) -> set:
    names = ("contract", contract, DEVICE), ("provider", "pcl", DEVICE)
    return {(name, TODAY) for name in names}


def test_an_entry_touches_what_it_changes_and_nothing_else():
    books = opened(lifted())
    books.contract("A")
    touched(books)
    coupon, pool = (ALPHA, PROGRAMME, 2025), (PROGRAMME, 2025)
    nothing = {name: set() for name in NAMES}
    books.issue(2025, "100.00")
    assert touched(books) == nothing | {"coupons": {coupon}, "pools": {pool}}
    books.post([record("r", "A", START, START + HOUR, 1_000)])
    assert touched(books) == nothing | {"contracts": {"A"}, "days": days("A")}
    books.withdraw(2025, "10.00")
    assert touched(books) == nothing | {"coupons": {coupon}, "pools": {pool}}


def test_money_that_goes_from_one_contract_to_another_touches_both():
    books = with_two_contracts()
    for name in "AB":
        books.post([record(name, name, START, START + HOUR, 100_000)])
    assert [books.granted(name) for name in "AB"] == [10_000, 0]
    touched(books)
    books.post(voids=[void("A")])
    assert [books.granted(name) for name in "AB"] == [0, 10_000]
    assert touched(books)["contracts"] == {"A", "B"}


def test_a_record_that_earns_nothing_touches_its_contract_too():
    books = with_two_contracts()
    touched(books)
    books.post([record("r", "A", START, START + 1, 1)])
    assert books.cost("A") == 0
    assert touched(books)["contracts"] == {"A"}


def test_what_two_groups_touched_is_what_either_did():
    one, other = (
        Touched(
            contracts={name},
            awards={name},
            coupons={(name, name, year)},
            pools={(name, year)},
            days={(("provider", name, name), year)},
        )
        for name, year in (("a", 1), ("b", 2))
    )
    both = Touched(**{name: getattr(one, name) | getattr(other, name) for name in NAMES})
    one.update(other)
    assert one == both


def test_a_contract_is_frozen_by_every_other_entry_from_the_next_on():
    books = with_two_contracts()
    contract = books.state.contracts["A"]
    assert contract.used == 0
    frozen = {}
    for ask, now in [(books.freeze, True), (books.unfreeze, False)] * 2:
        number = ask("A")
        frozen |= {number: not now, number + 1: now}
        assert contract.frozen == now
    for size, expected in frozen.items():
        assert contract.frozen_at(size) == expected


def test_the_policy_of_a_year_is_the_newest_that_touches_it_and_was_there():
    books = Books()
    first = books.activate(policy_text(version="1"))
    second = books.activate(policy_text(version="2"))
    state, year = books.state, max(books.state.active[PROGRAMME].years)
    assert state.policy_of(PROGRAMME, year, first) is None
    versions = [state.policy_of(PROGRAMME, year, size).version for size in (first + 1, second)]
    assert versions == ["1", "1"]
    assert state.policy_of(PROGRAMME, year, second + 1).version == "2"
    assert state.policy_of(PROGRAMME, year + 1, second + 1) is None
    assert state.policy_of("another", year, second + 1) is None


def test_the_enlistments_of_a_size_are_those_of_the_entries_before_it():
    books = Books()
    books.activate(lifted())
    first = books.provider()
    second = books.enlist("b", 5, "2025-01-01", "2026-01-01")
    moved = books.enlist("b", 5, "2025-01-01", "2025-12-01")
    provider = books.state.providers["pcl"]
    ends = {
        size: [batch.end for batch in provider.enlistments_at(size).values()]
        for size in (first, second, moved, moved + 1)
    }
    assert [len(found) for found in ends.values()] == [0, 1, 2, 2]
    assert ends[moved][1] - ends[moved + 1][1] == 31 * DAY
    assert provider.device_kinds() == {DEVICE}


def test_a_key_of_the_service_signs_after_its_entry_until_the_one_that_retires_it():
    key, retired = ServiceKey(5, "", None), ServiceKey(5, "", 9)
    assert [number for number in range(12) if key.signs(number)] == [*range(6, 12)]
    assert [number for number in range(12) if retired.signs(number)] == [*range(6, 10)]
    assert list(signing({"a": retired, "b": key}, 10)) == ["b"]


def test_a_state_that_is_loaded_takes_registrations_and_no_other_entry():
    books = opened()
    registered = next(entry for entry in books.entries if isinstance(entry, ProviderRegistered))
    state = State()
    register(state, 7, registered)
    assert (list(state.providers), state.size, state.last_at) == (["pcl"], 0, 0)
    books.contract("A")
    books.issue(2025, "1.00")
    with pytest.raises(Diverged, match="registers nothing"):
        register(state, 8, books.entries[-1])


def test_what_is_durable_is_forgotten_and_what_the_next_batches_need_stays():
    books = with_two_contracts()
    books.post([record("r", "A", START, START + HOUR, 1_000)])
    state = books.state
    durable = (
        *(state.records, state.batches, state.unread),
        *(state.usage_days, state.stream_days, state.summaries),
    )
    assert state.records
    assert state.batches
    for each in durable:
        each["something"] = ()  # of any type: it is only dropped
    state.forget()
    assert not any(durable)
    assert list(state.streams.values()) == ["main"]
    use = state.device_time(("provider", "pcl", DEVICE))
    assert TODAY in use.days
    held = sum(len(count.days) for count in state.in_use.values())
    for number in range(MAX_HELD_DAYS - held):
        use.days[-1 - number] = use.day(TODAY)
    state.forget()
    assert sum(len(count.days) for count in state.in_use.values()) == MAX_HELD_DAYS
    use.day(TODAY + 1)
    state.forget()
    assert not any(count.days for count in state.in_use.values())
    for number in range(MAX_HELD_STREAMS - 1):
        state.streams["pcl", f"s{number}"] = f"s{number}"
    state.forget()
    assert len(state.streams) == MAX_HELD_STREAMS
    state.streams["pcl", "one more"] = "one more"
    state.forget()
    assert not state.streams


def test_a_day_of_a_contract_counts_records_without_releases_and_less_voids():
    touched, day = Touched(), (20_000, "h800", "main")
    for time, fits, withheld, sums in (
        (10, 6, 4, [10, 6, 4, 1]),
        (5, 5, 0, [15, 11, 4, 2]),
        (0, 4, -4, [15, 15, 0, 2]),
        (-5, -5, 0, [10, 10, 0, 1]),
    ):
        touched.add_usage("A", day, time, fits, withheld)
        assert touched.usage == {"A": {day: sums}}
    other = Touched()
    other.add_usage("A", day, 1, 1, 0)
    other.add_usage("B", day, 2, 1, 1)
    touched.update(other)
    assert touched.usage == {"A": {day: [11, 11, 0, 2]}, "B": {day: [2, 1, 1, 1]}}
