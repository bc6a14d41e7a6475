"""Whole histories, entry by entry: what is touched, what is told of the past, what is loaded.

The tables keep only what was touched; what an entry forgets to name stays there as it was.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest

from meter.rules.claim_book import Account, Counted
from meter.rules.contract_terms import ContractTerms
from meter.rules.effects import Diverged
from meter.rules.entries import Entry
from meter.rules.evolve import evolve, register
from meter.rules.kinds.table import BY_ENTRY, BY_NAME, KINDS
from meter.rules.state import Contract, State
from meter.rules.subjects import subjects_of
from tests.books import ALPHA, BETA, Books, lifted, opened, record, uscc_of, void
from tests.fuzz.ledgers import story
from tests.histories import history
from tests.meter import test_allocations, test_awards, test_periods, test_take

START, END = "2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00"


def amended() -> Books:
    """Two contracts of two firms; one changes its price and its firm, and has other money."""
    books = opened(lifted())
    books.enterprise(BETA)
    for name, enterprise in (("A", ALPHA), ("B", ALPHA), ("C", BETA)):
        books.contract(name, enterprise=enterprise)
    for enterprise in (ALPHA, BETA):
        books.issue(2025, "200.00", enterprise)
    for name in "ABC":
        books.post([record(name, name, START, END, 64_000)])
    books.fund_contract("A", "100.00")
    books.correct("A", prices={"ascend-910b": "4.00"})
    books.correct("A", enterprise=BETA)
    books.correct("A", prices={"ascend-910b": "3.90"})
    books.freeze("B")
    books.unfreeze("B")
    books.post(voids=[void("B")])
    books.void("A")
    books.withdraw(2025, "1.00")
    return books


def budgeted() -> Books:
    """A pool that a budget limits, and a later policy that states more."""
    books = opened(lifted(pool="100.00"))
    books.contract("A")
    books.budget(2025, "50.00")
    books.issue(2025, "50.00")
    books.budget(2025, "90.00")
    books.activate(lifted(pool="70.00", version="later"))
    return books


def awarded() -> Books:
    """Awards that are raised and lowered."""
    books = test_awards.audited()
    books.award("A", "event", "700000.00", project="P", base="9000000.00")
    books.award("B", "software", "900000.00", project="P", year=2026)
    books.change_award("A", "600000.00")
    books.change_award("A", "650000.00")
    return books


def expired() -> Books:
    """A year that ends with a rest."""
    books = test_periods.used().at(test_periods.OVER)
    books.expire(2025)
    books.close(2025)
    return books


def allocated() -> Books:
    """A pool that is divided among three."""
    books = test_allocations.three()
    names = list(books.state.enterprises)[:3]
    books.allocate(2025, *((uscc, "60.00") for uscc in names))
    return books


def taken() -> Books:
    """A later version of a policy that takes a running contract from a day on."""
    books = test_take.ledger()
    books.activate(test_take.text())
    books.at("2025-07-30T12:00:00+08:00")
    test_take.use(books, "r", "2025-07-10")
    return books


def rotated() -> Books:
    """Keys of the service that follow each other."""
    books = opened(lifted())
    books.add_log_key()
    books.retire_log_key()
    books.add_receipt_key()
    books.retire_receipt_key()
    return books


HISTORIES: dict[str, Callable[[], Books]] = {
    each.__name__: each for each in (amended, budgeted, awarded, expired, allocated, taken, rotated)
} | {"story": story, **{f"history {seed}": lambda seed=seed: history(seed) for seed in range(6)}}


def rows(state: State) -> dict[str, dict]:
    """Return what the tables keep of money and time, by what is touched."""
    return {
        "contracts": {
            id_: (
                each.used,
                tuple(each.ineligible),
                tuple(segment.eligible for segment in each.segments),
                {year: replace(share) for year, share in each.shares.items()},
            )
            for id_, each in state.contracts.items()
            if each.used or each.shares
        },
        "awards": {id_: each.amount for id_, each in state.awards.items()},
        "coupons": dict(state.coupons),
        "pools": {
            id_: replace(each, programmes=list(each.programmes))
            for id_, each in state.pools.items()
        },
        "days": {
            (name, day): list(quarters)
            for name, use in state.in_use.items()
            for day, quarters in use.days.items()
            if any(quarters)
        },
    }


def test_the_histories_have_every_kind_of_entry():
    entries = [*story().entries, *rotated().entries]
    assert {entry.kind for entry in entries} == set(BY_NAME)


@pytest.mark.parametrize("name", HISTORIES)
def test_what_an_entry_changes_is_touched(name):
    books = HISTORIES[name]()
    state = State()
    before, changed = rows(state), dict.fromkeys(rows(state), 0)
    for entry in books.entries:
        evolve(state, entry)
        now, touched = rows(state), taken(state)
        for what in now:
            names = now[what].keys() | before[what].keys()
            other = {each for each in names if now[what].get(each) != before[what].get(each)}
            assert other <= touched[what], (entry.kind, what)
            changed[what] += len(other)
        before = now
    assert changed["pools"]
    assert sum(changed.values()) > 2


def taken(state: State) -> dict[str, set]:
    """Take what was touched, but for the usage, which a later amendment needs."""
    days = {(name, day) for name, use in state.in_use.items() for day in use.touched}
    for use in state.in_use.values():
        use.touched.clear()
    names = ("contracts", "awards", "coupons", "pools")
    found = {name: set(getattr(state.touched, name)) for name in names}
    for name in names:
        getattr(state.touched, name).clear()
    return found | {"days": days}


def told_now(state: State) -> dict[str, object]:
    """Return what `told_at` tells of a past time, of now: in other words where there are any."""
    book, contracts = state.claims, state.contracts.values()
    return told_at(state, state.size) | {
        "terms": {each.registered.id: agreed_by(each) for each in contracts},
        "owners": {each.registered.id: each.agreed.enterprise for each in contracts}
        | {name: each.made.enterprise for name, each in state.awards.items()},
        "frozen": {each.registered.id for each in contracts if each.frozen},
        "funds": {each.registered.id: each.sums() for each in contracts if each.sums()},
        "firms": {
            uscc: (each.facts, state.last_successor(uscc))
            for uscc, each in state.enterprises.items()
        },
        "providers": {
            name: (
                [each.registered, *(facts for _, facts in each.amended)][-1],
                dict(each.enlistments),
            )
            for name, each in state.providers.items()
        },
        "awards": {name: each.amount for name, each in state.awards.items()},
        "projects": {name: (each.sums(), each.audited()) for name, each in state.projects.items()},
        "claims": {name: book.claim(name) for name in book.claims},
        "of an item": {item_year: book.claims_of(item_year) for item_year in book.by_item},
        "shared": {
            name: found
            for name, versions in book.claims.items()
            if (found := book.shared_invoices(versions[-1]))
        },
        "accounts": {
            item_year: found
            for item_year in book.accounts
            if (found := book.account(item_year)) != Account()
        },
        "counted": {
            item_year: found
            for item_year in book.by_item
            if (found := book.counted(item_year)) != Counted(0, 0)
        },
    }


def told_at(state: State, size: int) -> dict[str, object]:
    """Return what a state tells of the time after its first `size` entries."""
    book = state.claims
    versions = [policy for each in state.policies.values() for policy in each.values()]
    contracts, projects = state.contracts.values(), state.projects.values()
    return {
        "terms": {
            each.registered.id: agreed_by(state.terms_at(each, size))
            for each in contracts
            if each.entry < size
        },
        "owners": {
            name: state.owner_of(name, size)
            for name, each in (state.contracts | state.awards).items()
            if each.entry < size
        },
        "frozen": {each.registered.id for each in contracts if each.frozen_at(size)},
        "funds": {each.registered.id: each.sums(size) for each in contracts if each.sums(size)},
        "firms": {
            uscc: (each.facts_at(size), state.last_successor(uscc, size))
            for uscc, each in state.enterprises.items()
            if each.entry < size
        },
        "providers": {
            name: (each.facts_at(size), each.enlistments_at(size))
            for name, each in state.providers.items()
            if each.entry < size
        },
        "awards": {
            name: fen for name, each in state.awards.items() if (fen := each.amount_at(size))
        },
        "projects": {
            each.registered.id: (each.sums(size), each.audited(size))
            for each in projects
            if each.entry < size
        },
        "policies": {
            (each.programme, year): newest and newest.version
            for each in versions
            for year in each.years
            if (newest := state.policy_of(each.programme, year, size))
        },
        "claims": {name: found for name in book.claims if (found := book.claim(name, size))},
        "of an item": {
            item_year: found
            for item_year in book.by_item
            if (found := book.claims_of(item_year, size))
        },
        "shared": {
            name: found
            for name in book.claims
            if (claim := book.claim(name, size)) and (found := book.shared_invoices(claim, size))
        },
        "accounts": {
            item_year: found
            for item_year in book.accounts
            if (found := book.account(item_year, size)) != Account()
        },
        "counted": {
            item_year: found
            for item_year in book.by_item
            if (found := book.counted(item_year, size)) != Counted(0, 0)
        },
    }


def agreed_by(terms: ContractTerms | Contract) -> tuple[object, ...]:
    segments = [(each.start, each.end, each.year, each.policy) for each in terms.segments]
    return terms.agreed, terms.policy.version, terms.terms, segments


@pytest.mark.parametrize("name", HISTORIES)
def test_what_is_told_of_the_past_is_what_was_told_then(name):
    """A state of all entries says of each size what the state of that size says of now."""
    books = HISTORIES[name]()
    state, then = State(), []
    for entry in books.entries:
        evolve(state, entry)
        then.append(told_now(state))
    for size, told in enumerate(then, 1):
        assert told_at(state, size) == told, size


def registered(state: State) -> dict[str, object]:
    """Return what the registrations say, without the sums that rows keep."""
    return {
        "contracts": {
            id_: (
                *(each.entry, each.registered, each.agreed, each.steps, each.amendments),
                *(each.freezes, each.late_windows, each.funds, each.counted_since),
                *(each.debtor, each.due, agreed_by(each)),
            )
            for id_, each in state.contracts.items()
        },
        "providers": state.providers,
        "firms": {
            uscc: (
                *(each.entry, each.registered, each.amended, each.succession, each.succeeded),
                {name: [one.registered.id for one in of] for name, of in each.contracts.items()},
            )
            for uscc, each in state.enterprises.items()
        },
        "keys": (state.keys, state.log_keys, state.receipt_keys),
        "people": (state.people.persons, state.people.tokens, set(state.people.proposals)),
        "policies": (state.policies, state.policy_entries, state.active),
        "pools": {
            id_: (each.stated, each.budget, each.programmes) for id_, each in state.pools.items()
        },
        "projects": {
            id_: (
                *(each.entry, each.registered, each.funds, each.audits, each.awards),
                [one.registered.id for one in each.contracts],
            )
            for id_, each in state.projects.items()
        },
        "awards": state.awards,
        "closed": state.closed,
        "months": (state.months.closed, state.months.confirmed),
        "disputes": state.disputes,
        "claims": state.claims,
    }


@pytest.mark.parametrize("name", HISTORIES)
def test_the_registrations_alone_make_all_but_the_sums(name):
    books = HISTORIES[name]()
    state, loaded = State(), State()
    for number, entry in enumerate(books.entries):
        evolve(state, entry)
        if BY_ENTRY[type(entry)].rows == "registration":
            register(loaded, number, entry)
    assert registered(loaded) == registered(state)
    assert (loaded.size, loaded.last_at) == (0, 0)


@pytest.mark.parametrize("kind", [each.name for each in KINDS if each.rows != "registration"])
def test_what_is_no_registration_registers_nothing(kind):
    entry = next(each for each in story().entries if each.kind == kind)
    with pytest.raises(Diverged, match=f"kind {kind} registers nothing"):
        register(State(), 0, entry)


OF_CLAIMS = "claim claim_check approval"
WHOM = {
    "": "genesis policy allocation year_closing budget person token proposal proposal_end"
    " token_end person_end person_recovery month_closing month_list"
    " access_digest state_digest",
    "provider:pcl": "provider key revocation batch provider_amendment summary enlistment",
    "provider:szdex": "provider key batch",
    f"enterprise:{ALPHA}": "enterprise allotment issue enterprise_amendment withdrawal"
    " red_invoice recovery forfeit month_confirmation",
    f"enterprise:{BETA}": "enterprise allotment issue expiry",
    f"enterprise:{uscc_of(3)}": "enterprise",
    f"enterprise:{BETA} enterprise:{uscc_of(3)}": "succession",
    f"contract:D1 enterprise:{ALPHA} provider:pcl": "contract",
    f"contract:D2 enterprise:{BETA} provider:pcl": "contract",
    f"contract:E enterprise:{BETA} provider:pcl": "contract",
    f"contract:A enterprise:{ALPHA} provider:pcl": "contract usage void release late_window"
    " amendment dispute dispute_dismissal",
    f"contract:B enterprise:{BETA} provider:pcl": "contract usage freeze unfreeze amendment",
    f"contract:B enterprise:{BETA}": "contract_funds",
    f"contract:K enterprise:{ALPHA} provider:szdex": "contract purchase void",
    "project:P": "project project_funds project_audit",
    f"award:W enterprise:{ALPHA} project:P": "award award_change",
    f"claim:C1 enterprise:{ALPHA}": "claim claim_end",
    f"claim:C2 enterprise:{ALPHA}": f"{OF_CLAIMS} claim_revocation",
    f"claim:C3 enterprise:{ALPHA}": f"{OF_CLAIMS} notice objection resolution order payment"
    " payment_return recovery",
}


def test_each_entry_concerns_those_whom_it_names_and_nobody_else():
    state, found = State(), defaultdict(set)
    for entry in story().entries:
        evolve(state, entry)
        every = subjects_of(state, entry)
        of_all = {f"kind:{entry.kind}", *([f"person:{who}"] if (who := person_of(entry)) else [])}
        assert of_all <= every
        found[" ".join(sorted(every - of_all))].add(entry.kind)
    assert found == {names: set(kinds.split()) for names, kinds in WHOM.items()}


def test_what_moves_the_money_of_other_contracts_concerns_them_too():
    books = opened(lifted())
    for name in "AB":
        books.contract(name)
    books.post([record("A", "A", START, END, 64_000), record("B", "B", START, END, 64_000)])
    issued = books.issue(2025, "200.00")
    books.post(voids=[void("A")])
    paid = {"accrued:A:2025", "accrued:B:2025"}
    moved = [{each for *pair, _ in entry.postings for each in pair} for entry in books.entries]
    assert [paid <= moved[issued], paid <= moved[-1]] == [True, True]
    of_both = {"contract:A", "contract:B", f"enterprise:{ALPHA}", "provider:pcl"}
    assert subjects_of(books.state, books.entries[issued]) == {"kind:issue", "person:op", *of_both}
    assert subjects_of(books.state, books.entries[-1]) == {"kind:void", *of_both}


def person_of(entry: Entry) -> str:
    return getattr(entry, "person", "") or ""
