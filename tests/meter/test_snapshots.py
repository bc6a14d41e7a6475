"""Snapshots of the rules' state: who begins from one decides as all entries would let it."""

from random import Random

import pytest
from msgspec import UNSET

from ledger.canon import decode, encode
from meter.rules.evolve import evolve, state_of
from meter.rules.snapshot import BadSnapshot, write
from meter.rules.state import State, Touched
from meter.values.problems import Problem
from tests.auditing import usage, world
from tests.books import Books, figures
from tests.fuzz import ledgers as fuzzed
from tests.histories import OPERATIONS, history
from tests.meter.test_every_entry import HISTORIES
from tests.snapshots import begun_again, registrations
from tests.writer import Writer, bent

_LED = ("batch", "allocation", "closing")  # fields of an entry that belongs to one before it


def step(writer: Writer, seed: str) -> str:
    """Do something at random; return how it was refused, if it was."""
    random = Random(seed)
    try:
        random.choice(OPERATIONS)(writer, random)
    except Problem as problem:
        return str(problem)
    return ""


@pytest.mark.parametrize("seed", range(8))
def test_who_begins_from_a_snapshot_goes_on_to_the_same_bytes(seed):
    first = history(seed, by_groups=bool(seed % 2))
    second = first.twin()
    for place in range(30):
        if place % 10 == 0:
            second.state = begun_again(second.state, second.entries)
        told = [step(writer, f"{seed}/{place}") for writer in (first, second)]
        assert told[0] == told[1]
        assert write(first.state) == write(second.state)
    assert first.leaves == second.leaves
    assert first.receipts == second.receipts
    assert len(first.leaves) > len(history(seed).leaves)


def cuts(books: Books, random: Random) -> set[int]:
    """Return some sizes after which no entry belongs to one before."""
    sizes = [
        number
        for number, entry in enumerate(books.entries)
        if number and all(getattr(entry, name, UNSET) is UNSET for name in _LED)
    ]
    return set(random.sample(sizes, min(8, len(sizes))))


@pytest.mark.parametrize("name", HISTORIES)
def test_every_kind_of_entry_follows_on_a_snapshot(name):
    books, first, second = HISTORIES[name](), State(), State()
    here = cuts(books, Random(name))
    for number, entry in enumerate(books.entries):
        if number in here:
            second = begun_again(second, books.entries[:number])
        evolve(first, entry)
        evolve(second, entry)
        assert write(second) == write(first)
    assert len(here) > 3
    assert figures(second) == figures(first)
    # The books' own state has decided, and holds what no entry tells: the numbers of batches.
    theirs, replayed = decode(write(books.state)), decode(write(first))
    assert theirs | {"streams": []} == replayed


def story() -> Writer:
    """Return a ledger of every kind of entry, which a test may change."""
    return fuzzed.story().twin()


@pytest.mark.parametrize(
    "part",
    [
        *("size", "last_at", "genesis_hash", "people", "disputes", "streams", "spelled"),
        *("pools", "coupons", "closed", "claims", "awards", "contract_nos", "access_digest"),
    ],
)
def test_a_state_of_a_snapshot_has_all_that_the_first_one_holds_for_good(part):
    writer = story()
    again = state_of(write(writer.state), registrations(writer.entries))
    assert getattr(again, part)
    assert getattr(again, part) == getattr(writer.state, part)


def test_a_state_of_a_snapshot_has_changed_nothing_since():
    writer = story()
    assert state_of(write(writer.state), registrations(writer.entries)).touched == Touched()


def test_a_snapshot_says_what_each_month_booked_and_what_was_before_the_running_one():
    writer = world("2025-03-01T12:00:00+08:00")
    writer.post([usage("r1", "A")])
    size = len(writer.leaves)
    writer.at("2025-04-01T12:00:00+08:00")
    writer.post([usage("r2", "B")])
    totals = decode(write(writer.state))
    booked = [["A", 7_200, 3_600]]  # of the other contract, nothing
    assert totals["months"] == [["2025-03", 0, size, booked]]
    assert totals["running"] == ["2025-04", size, booked]


def test_a_snapshot_is_of_the_entries_and_of_nothing_that_is_held_beside():
    books = story()
    snapshot = write(books.state)
    books.state.numbers = state_of(snapshot, registrations(books.entries)).numbers
    for held in (books.state.records, books.state.batches, books.state.in_use):
        assert held
        held.clear()
    books.state.take_touched()
    assert write(books.state) == snapshot


def test_the_snapshot_of_nothing_is_that_of_an_empty_state():
    assert write(state_of(write(State()), [])) == write(State())


@pytest.mark.parametrize(
    "change",
    [
        lambda state: bent(state, size=state.size + 1),
        lambda state: bent(state, last_at=state.last_at + 1),
        lambda state: bent(state, registered=bytes(32)),
        lambda state: bent(state.contracts["A"], used=state.contracts["A"].used + 1),
        lambda state: bent(state.contracts["A"], ineligible=[1, 0, 0, 0, 0]),
        lambda state: bent(next(iter(state.contracts["A"].segments)), eligible=1),
        lambda state: bent(state.contracts["A"].share(2025), granted=1),
        lambda state: bent(state.contracts["A"].share(2026), withheld=1),
        lambda state: bent(state, coupons={**state.coupons, ("x", "y", 2025): 0}),
        lambda state: bent(state, granted={}),
        lambda state: bent(next(iter(state.pools.values())), issued=1),
        lambda state: bent(next(iter(state.disputes.values())), ended=7),
        lambda state: bent(next(iter(state.people.proposals.values())), closed=7),
        lambda state: bent(state.months, first=7),
        lambda state: bent(state.months, marks={"A": (1, 1)}),
        lambda state: bent(state.months, closed={}),
        lambda state: bent(state, batches={}),
    ],
)
def test_another_total_gives_another_snapshot(change):
    state = story().state
    snapshot = write(state)
    with change(state):
        assert write(state) != snapshot
    assert write(state) == snapshot


def test_registrations_of_another_ledger_are_refused():
    books = story()
    snapshot, ours = write(books.state), registrations(books.entries)
    number, data = ours[-1]
    batch = next(encode(each) for each in books.entries if each.kind == "batch")
    for others in (
        ours[:-1],
        [*ours[:-1], (number + 1, data)],
        [*ours[:-2], ours[-1], ours[-2]],
        [*ours, (number + 1, data)],
        [*ours[:-1], (number, b"{}")],
        [*ours[:-1], (number, batch)],
    ):
        with pytest.raises(BadSnapshot):
            state_of(snapshot, others)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"size": "1"},
        {"more": 1},
        {"pools": [["unknown", 2025, 1]]},
        {"proposals": [[10**6, 1]]},
        {"disputes": [["nobody", "r", 1]]},
        {"contracts": [{"id": "X", "used": "1", "ineligible": [], "eligible": [], "shares": []}]},
        {"contracts": [{"id": "A", "used": "x", "ineligible": [], "eligible": [], "shares": []}]},
    ],
)
def test_what_is_no_snapshot_is_refused(changes):
    books = story()
    bad = encode(decode(write(books.state)) | changes)
    with pytest.raises(BadSnapshot):
        state_of(bad, registrations(books.entries))


def test_a_field_that_no_snapshot_has_is_refused():
    books = story()
    totals = decode(write(books.state))
    first, *others = totals["contracts"]
    for changes in ({"more": 1}, {"contracts": [first | {"more": 1}, *others]}):
        with pytest.raises(BadSnapshot):
            state_of(encode(totals | changes), registrations(books.entries))


@pytest.mark.parametrize("change", [lambda data: data + b"\n", lambda data: data[:-1]])
def test_a_snapshot_has_one_spelling(change):
    books = story()
    with pytest.raises(BadSnapshot):
        state_of(change(write(books.state)), registrations(books.entries))
