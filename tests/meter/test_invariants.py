"""Rules that hold after every entry of any history, and sums that no order or slicing changes."""

from collections import Counter
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from ledger.canon import encode
from meter.auditor.sums import Sums
from meter.rules.effects import Diverged
from meter.rules.entries import CouponIssued, RecordReleased, RecordVoided, UsageAccepted
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import format_money, parse_instant
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    HOUR,
    Books,
    attempt,
    balances,
    coupon_ids,
    coupon_of,
    day_number,
    expected_balances,
    figures,
    lifted,
    opened,
    properties,
    record,
    slices,
    usage_by_day,
    void,
)

OTHER_DEVICE = "kunlun-p800"
CONTRACTS = ("A", "B", "C", "S", "U")
OWNER = {"A": ALPHA, "B": ALPHA, "C": ALPHA, "U": ALPHA, "S": BETA}
YEARS = (2024, 2025, 2026)
REFUSALS = {
    *("below_granted", "above_need", "pool_exceeded", "unknown_record", "already_voided"),
    *("nothing_withheld", "already_released"),
}
FLOORED = ("accrued:", "coupon:", "due:", "pool:")

# Instants of change: validity begins and ends, years end, the terms of B and of the devices.
EDGES = [
    parse_instant(f"{day}T00:00:00+08:00")
    for day in ("2024-12-18", "2025-01-01", "2025-07-01", "2026-01-01", "2026-07-01", "2026-12-18")
]


class Issue(NamedTuple):
    enterprise: str
    year: int
    fen: int


class Withdraw(NamedTuple):
    enterprise: str
    year: int
    fen: int


class Post(NamedTuple):
    records: list[dict[str, Any]]
    voided: list[int]


class AuthorityVoid(NamedTuple):
    voided: int


class Release(NamedTuple):
    released: int


class Enlist(NamedTuple):
    batch: str
    ends: str


COUPONS = (
    Issue(ALPHA, 2024, 1_500),
    Issue(ALPHA, 2025, 9_000),
    Issue(ALPHA, 2026, 4_000),
    Issue(BETA, 2025, 3_000),
)


def small_world(*coupons: Issue, cards: int = 10_000_000) -> Books:
    """Return contracts so small that amounts, other funds and coupons bind within a few records."""
    books = Books(now="2027-02-01T12:00:00+08:00")
    books.activate(lifted(pool="400.00"))
    books.provider(devices={DEVICE: cards, OTHER_DEVICE: cards})
    books.key()
    books.enterprise()
    books.enterprise(BETA, founded_on="2024-12-01")
    prices = {DEVICE: "4.50", OTHER_DEVICE: "7.3333"}
    common = {"prices": prices, "max_devices": {}}
    books.contract("A", amount="100.00", **common)
    books.contract("B", amount="60.00", starts="2025-07-01", ends="2026-07-01", **common)
    books.contract("C", amount="250.01", **common)
    books.fund_contract("C", "90.00")
    rented = {"max_devices": {DEVICE: min(cards, 3)}} if cards < 100 else {}
    books.contract("S", enterprise=BETA, amount="120.00", **(common | rented))
    books.contract("U", amount="100.00", use="inference", **common)
    for enterprise, year, fen in coupons:
        books.issue(year, format_money(fen), enterprise)
    return books


def crowded_world(*coupons: Issue) -> Books:
    """Return the same with so few devices that two or three records fill them."""
    return small_world(*coupons, cards=4)


moments = st.builds(
    lambda edge, seconds: edge + seconds, st.sampled_from(EDGES), st.integers(-6 * HOUR, 6 * HOUR)
)
usages = st.builds(
    lambda contract, start, seconds, milli_devices, device: record(
        "", contract, start, start + seconds, milli_devices, device=device
    ),
    st.sampled_from(("A", "A", "B", "C", *CONTRACTS)),
    moments,
    st.sampled_from([61, 3_601, 8 * HOUR]) | st.integers(1, 8 * HOUR),
    st.sampled_from([460, 7_000, 16_000, 40_000]) | st.integers(1, 20_000),
    st.sampled_from([DEVICE, OTHER_DEVICE]),
)
sums = st.integers(1, 9_000)
operations = st.one_of(
    st.builds(Issue, st.sampled_from([ALPHA, BETA]), st.sampled_from(YEARS), sums),
    st.builds(Withdraw, st.sampled_from([ALPHA, BETA]), st.sampled_from(YEARS), sums),
    st.builds(Post, st.lists(usages, max_size=3), st.lists(st.integers(0, 8), max_size=2)),
    st.builds(Post, st.lists(usages, min_size=2, max_size=4), st.just([])),
    st.builds(AuthorityVoid, st.integers(0, 8)),
    st.builds(Release, st.integers(0, 8)),
    st.builds(Release, st.integers(0, 8)),
    st.builds(
        Enlist,
        st.sampled_from(["more", "most"]),
        st.sampled_from(["2025-01-01", "2026-01-01", "2028-01-01"]),
    ),
)


def carry_out(books: Books, operation: Any, ids: Any) -> None:
    """Carry out an operation; a refusal is as good a history as any."""
    match operation:
        case Issue(enterprise, year, fen):
            answer = attempt(lambda: books.issue(year, format_money(fen), enterprise))
        case Withdraw(enterprise, year, fen):
            answer = attempt(lambda: books.withdraw(year, format_money(fen), enterprise))
        case AuthorityVoid(number):
            answer = attempt(lambda: books.void(f"r{number}"))
        case Release(number):
            answer = attempt(lambda: books.release(a_withheld_one(books, number)))
        case Enlist(batch, ends):
            devices = {DEVICE: 3, OTHER_DEVICE: 20}
            answer = attempt(lambda: books.enlist(batch, devices, "2024-01-01", ends))
        case Post(records, voided):
            named = [each | {"id": f"r{next(ids)}"} for each in records]
            answer = books.post(named, [void(f"r{number}") for number in voided])
    if isinstance(answer, Problem):
        assert answer.code in REFUSALS


def a_withheld_one(books: Books, number: int) -> str:
    """Return a record that has, or had, a withheld part; if there is none, any."""
    ids = [id_ for (_, id_), held in books.state.records.items() if held.withheld]
    return ids[number % len(ids)] if ids else f"r{number}"


def assert_grants_follow_the_rule(state: State) -> None:
    for id_ in coupon_ids(state):
        coupon = coupon_of(state, id_)
        assert coupon.granted == min(coupon.issued, coupon.entitled), id_
    for contract in state.contracts.values():
        shares = contract.shares.values()
        assert all(0 <= share.granted <= share.entitled for share in shares)
        granted = sum(share.granted for share in shares)
        assert contract.used // (3600 * 1000 * 100) >= granted >= 0


def assert_records_fit(state: State) -> None:
    """Check that use is the sum of all standing records, less withheld parts, and within limits."""
    in_use: Counter[tuple[tuple[str, str, str], int]] = Counter()
    released = False
    for held in state.records.values():
        usage = held.usage
        withheld = {
            run.quarter + place: run.device_time
            for run in held.withheld
            for place in range(run.count)
        }
        fits = sum(time for _, time in held.fits)
        if held.released is not None:
            withheld, released = {}, True
        assert fits + sum(withheld.values()) <= usage.device_time
        if held.voided is not None:
            continue
        terms = state.contracts[usage.contract].registered
        names = [("provider", usage.provider, usage.device)]
        if usage.device in terms.max_devices:
            names.append(("contract", usage.contract, usage.device))
        # A slow and obvious split: whole seconds, one after the other, by quarter of an hour.
        seconds = Counter(
            second // 900 for second in range(usage.start // 10**6, usage.end // 10**6)
        )
        for quarter, length in seconds.items():
            time = length * usage.milli_devices - withheld.get(quarter, 0)
            assert time >= 0
            in_use.update({(name, quarter): time for name in names})
    told = figures(state)["records"]["in_use"]
    assert told == by_name(in_use)
    for (limit, id_, device), by_quarter in told.items():
        if limit == "contract":
            most = state.contracts[id_].registered.max_devices[device]
        else:
            batches = state.providers[id_].enlistments.values()
            most = sum(batch.devices.get(device, 0) for batch in batches)
        assert released or max(by_quarter.values()) <= most * 1_000 * 900


def by_name(in_use: Counter[tuple[tuple[str, str, str], int]]) -> dict[Any, dict[int, int]]:
    names: dict[Any, dict[int, int]] = {}
    for (name, quarter), time in in_use.items():
        if time:
            names.setdefault(name, {})[quarter] = time
    return names


@settings(properties, max_examples=120)
@given(
    st.lists(operations, min_size=6, max_size=14),
    st.sampled_from([crowded_world, crowded_world, small_world]),
)
def test_after_every_entry_the_rules_hold_the_books_balance_and_a_replay_says_the_same(
    history, world
):
    books, ids = world(*COUPONS), count()
    replica, seen = State(), 0
    for operation in [None, *history]:
        if operation is not None:
            carry_out(books, operation, ids)
        for entry in books.entries[seen:]:
            evolve(replica, entry)
            assert_grants_follow_the_rule(replica)
        seen = len(books.entries)
        assert figures(replica) == figures(books.state)
    assert_records_fit(replica)
    state, accounts = State(), {}
    for entry, accounts in zip(books.entries, balances(books.entries), strict=True):
        evolve(state, entry)
        assert accounts == expected_balances(state)
        assert not {
            name: fen for name, fen in accounts.items() if fen < 0 and name.startswith(FLOORED)
        }
    assert sum(accounts.values()) == 0
    assert_the_sums_agree(books)


def assert_the_sums_agree(books: Books) -> None:
    sums = Sums()
    for number, entry in enumerate(books.entries):
        sums.entry(number, encode(entry))
    sums.finish()


@st.composite
def histories(draw) -> tuple[list[dict[str, Any]], list[Issue], list[Any], list[Any]]:
    """Draw usage and coupons, and two ways to report them, sliced, batched and ordered freely."""
    usage = [
        each | {"id": f"u{number}"}
        for number, each in enumerate(draw(st.lists(usages, min_size=3, max_size=8)))
    ]
    # BETA can need 72.00 in each year, ALPHA more: three issues for each are never refused.
    issues = [
        Issue(enterprise, year, fen)
        for year in YEARS
        for enterprise, fen in draw(
            st.lists(st.tuples(st.sampled_from([ALPHA, BETA]), st.integers(1, 2_400)), max_size=3)
        )
    ]
    return usage, issues, draw(tellings(usage, issues)), draw(tellings(usage, issues))


@st.composite
def tellings(draw, usage: list[dict[str, Any]], issues: list[Issue]) -> list[Any]:
    parts: list[Any] = list(issues)
    for each in usage:
        seconds = draw(st.sampled_from([10**6, 4 * HOUR, 61 * 60, 1999]))
        parts += slices(each, seconds)
    shuffled = draw(st.permutations(parts))
    told: list[Any] = []
    for part in shuffled:
        if isinstance(part, Issue):
            told.append(part)
        elif told and isinstance(told[-1], list) and draw(st.booleans()):
            told[-1].append(part)
        else:
            told.append([part])
    return told


def totals(books: Books, telling: list[Any]) -> dict[str, Any]:
    for part in telling:
        if isinstance(part, Issue):
            books.issue(part.year, format_money(part.fen), part.enterprise)
        else:
            results = books.post(part)
            assert {result.status for result in results} == {"accepted"}
            # The order decides which contract has a part withheld.
            assert {result.withheld for result in results} == {"0.00"}
    state = books.state
    return {
        "cost": {id_: books.cost(id_) for id_ in CONTRACTS},
        "entitled": {
            (id_, year): books.share(id_, year).entitled for id_ in CONTRACTS for year in YEARS
        },
        "coupons": {
            (enterprise, year): books.coupon(year, enterprise)
            for enterprise in (ALPHA, BETA)
            for year in YEARS
        },
        "eligible": {(id_, year): books.eligible(id_, year) for id_ in CONTRACTS for year in YEARS},
        "ineligible": {id_: books.ineligible(id_) for id_ in CONTRACTS},
        "usage": usage_by_day(state),
        "pools": {year: state.pools["training-coupon", year].issued for year in YEARS},
    }


@settings(properties, max_examples=100)
@given(histories())
def test_totals_do_not_depend_on_the_order_the_slices_or_the_batches_where_all_fits(history):
    usage, issues, one, another = history
    plain = totals(small_world(), [*issues, usage])
    assert totals(small_world(), one) == plain
    assert totals(small_world(), another) == plain


@settings(properties, max_examples=60)
@given(
    st.lists(usages, min_size=3, max_size=8),
    st.sampled_from([small_world, crowded_world]),
    st.sets(st.integers(0, 7)),
    st.data(),
)
def test_voiding_everything_in_any_order_brings_every_figure_back_to_nothing(
    usage, world, released, data
):
    books = world(*COUPONS)
    named = [each | {"id": f"r{number}"} for number, each in enumerate(usage)]
    books.post(named)
    for number in released:
        carry_out(books, Release(number), None)
    for each in data.draw(st.permutations(named)):
        books.void(each["id"])
        assert_grants_follow_the_rule(books.state)
    for id_ in CONTRACTS:
        assert books.cost(id_) == 0
        assert all(books.share(id_, y).granted == books.eligible(id_, y) == 0 for y in YEARS)
        assert books.ineligible(id_) == {}
        assert all(books.share(id_, year).withheld == 0 for year in YEARS)
    assert all(books.coupon(year).granted == 0 for year in YEARS)
    assert usage_by_day(books.state) == {}
    assert figures(books.state)["records"]["in_use"] == {}


@settings(properties, max_examples=60)
@given(
    st.lists(usages, min_size=3, max_size=8),
    usages,
    st.sampled_from([small_world, crowded_world]),
    st.booleans(),
)
def test_a_record_and_its_void_leave_all_totals_as_they_were(usage, passing, world, released):
    books = world(*COUPONS)
    books.post([each | {"id": f"r{number}"} for number, each in enumerate(usage)])
    coupons = [books.coupon(year, owner) for year in YEARS for owner in (ALPHA, BETA)]
    costs = [books.cost(id_) for id_ in CONTRACTS]
    withheld = [books.share(id_, year).withheld for id_ in CONTRACTS for year in YEARS]
    in_use = figures(books.state)["records"]["in_use"]
    books.post([passing | {"id": "passing"}])
    if released and books.state.records["pcl", "passing"].withheld:
        books.release("passing")
    books.post(voids=[void("passing")])
    assert figures(books.state)["records"]["in_use"] == in_use
    assert [books.share(id_, y).withheld for id_ in CONTRACTS for y in YEARS] == withheld
    assert [books.coupon(year, owner) for year in YEARS for owner in (ALPHA, BETA)] == coupons
    assert [books.cost(id_) for id_ in CONTRACTS] == costs


def test_a_year_of_slices_by_the_second_gains_and_loses_no_fen():
    books = opened(lifted())
    books.contract("A", prices={DEVICE: "12.34"})
    books.issue(2025, "100.00")
    start = parse_instant("2025-02-20T08:00:00+08:00")
    books.post(slices(record("r", "A", start, start + 3601, 3_000), 1))
    assert books.cost("A") == 3 * 3601 * 1234 // 3600
    assert books.granted("A") == 3 * 3601 * 1234 // 7200


THAT_DAY = day_number("2025-02-20")


def a_fen_more(entry: Any) -> dict[str, Any]:
    *others, (debtor, creditor, fen) = entry.postings
    return {"postings": [*others, (debtor, creditor, fen + 1)]}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (UsageAccepted, a_fen_more),
        (UsageAccepted, lambda _: {"fits": [(THAT_DAY, 12_000 * HOUR)]}),
        (UsageAccepted, lambda _: {"withheld": [(THAT_DAY, 4_000 * HOUR - 1)]}),
        (UsageAccepted, lambda _: {"withheld": UNSET, "evidence": UNSET}),
        (RecordReleased, a_fen_more),
        (RecordReleased, lambda _: {"withheld": [(THAT_DAY, 4_000 * HOUR - 1)]}),
        (RecordReleased, lambda _: {"withheld": [], "entitled": [], "postings": []}),
        (RecordVoided, a_fen_more),
        (CouponIssued, a_fen_more),
    ],
)
def test_an_entry_that_says_more_or_less_than_the_rules_cannot_be_replayed(kind, change):
    books = opened(lifted())
    books.contract("A", max_devices={DEVICE: 8})
    start = parse_instant("2025-02-20T08:00:00+08:00")
    books.post([record("r", "A", start, start + HOUR, 12_000)])
    books.issue(2025, "100.00")
    books.release("r")
    books.void("r")
    state, diverged = State(), False
    for entry in books.entries:
        if type(entry) is kind:
            with pytest.raises(Diverged):
                evolve(state, replace(entry, **change(entry)))
            diverged = True
            break
        evolve(state, entry)
    assert diverged


def test_issuing_to_an_enterprise_that_waits_grants_in_the_same_entry():
    books = opened(lifted())
    books.contract("A")
    start = parse_instant("2025-02-20T08:00:00+08:00")
    books.post([record("r", "A", start, start + HOUR, 1_000)])
    assert books.coupon(2025) == (0, 225, 0)
    books.issue(2025, "1.00")
    entry = books.entries[-1]
    assert isinstance(entry, CouponIssued)
    assert entry.postings == [
        ("pool:training-coupon:2025", f"coupon:training-coupon:2025:{ALPHA}", 100),
        (f"coupon:training-coupon:2025:{ALPHA}", "accrued:A:2025", 100),
    ]
    books.issue(2025, "9.00")
    assert books.coupon(2025) == (1_000, 225, 225)
