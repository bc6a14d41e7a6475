"""GET: a month's statement of a firm, a contract, an award or a provider.

A contract's provider is told its costs alone. Each is the one of `kashi audit statement`, by the
same view, from committed entries.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, assert_never

from msgspec import Struct

from ledger import canon
from ledger import store as ledger_store
from meter.api.responses import AsOf, as_of
from meter.api.routes import Ask, Route
from meter.host.breath import Breath
from meter.rules.entries import AnyEntry
from meter.rules.kinds.table import read_entry
from meter.tables import pages
from meter.tables.connections import Connection
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import MICROSECONDS, add_months, parse_date
from meter.views.statement import Making, Month, Statement, Subject, digest, record_named

MAX_ENTRIES: Final = 20_000  # that are read; whoever needs more makes it from the log
_MONTH: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)


class StatementView(Struct, frozen=True):
    """A statement, its hash, and the root of the ledger from which it was made, both in hex."""

    statement: Statement
    hash: str
    root: str
    as_of: AsOf


async def get_statement(ask: Ask) -> StatementView:
    """What the entries of a month booked for a firm, each amount with its entries."""
    return await _made(ask, _firm)


async def get_contract_statement(ask: Ask) -> StatementView:
    """What the entries of a month booked under a contract; its provider is told costs alone."""
    return await _made(ask, _contract)


async def get_award_statement(ask: Ask) -> StatementView:
    """What the entries of a month booked for an award, each amount with its entries."""
    return await _made(ask, _award)


async def get_provider_statement(ask: Ask) -> StatementView:
    """What the entries of a month cost a provider's customers, each amount with its entries."""
    return await _made(ask, _provider)


def _firm(ask: Ask, known: Registered) -> Subject:
    if known.enterprise(ask.path("uscc")) is None:
        raise Problem("unknown_enterprise", f"no enterprise {ask.path('uscc')}")
    return Subject("firm", ask.path("uscc"))


def _contract(ask: Ask, known: Registered) -> Subject:
    contract = known.contract(ask.path("contract"))
    if contract is None:
        raise Problem("unknown_contract", f"no contract {ask.path('contract')}")
    terms = known.terms(contract).agreed
    ask.must_be_theirs(enterprise=terms.enterprise, provider=terms.provider)
    assert ask.who is not None, "contracts are not public"
    return Subject("contract", terms.id, costs_alone=ask.who.role == "provider")


def _award(ask: Ask, known: Registered) -> Subject:
    award = known.award(ask.path("award"))
    if award is None:
        raise Problem("unknown_award", f"no award {ask.path('award')}")
    ask.must_be_theirs(enterprise=award.made.enterprise)
    return Subject("contract", award.made.id)


def _provider(ask: Ask, known: Registered) -> Subject:
    if known.provider(ask.path("provider")) is None:
        raise Problem("unknown_provider", f"no provider {ask.path('provider')}")
    return Subject("provider", ask.path("provider"))


async def _made(ask: Ask, subject_of: Callable[[Ask, Registered], Subject]) -> StatementView:
    """Return the statement of the URL's month."""
    name = ask.path("month")
    days = _days(name)
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        subject = subject_of(ask, known)
        # All entries of a commit are of one Shanghai day.
        first, stop = await ledger_store.sizes_before(connection, days)
        month = Month(name, first, stop, over=stop < head.size)
        booked = await _entries(connection, _name_of(known, subject), month)
        booked |= await _of_claims(connection, known, subject, month, MAX_ENTRIES - len(booked))
        records = await _records(connection, month, booked)
    making, breath = Making(known.state, month, subject, records.__getitem__), Breath()
    for number, entry in sorted(booked.items()):
        making.add(number, entry)
        await breath.take()
    made = making.made()
    end = as_of(head.size, head.last_at)
    return StatementView(made, digest(made), head.root.hex(), end)


def _days(month: str) -> tuple[int, int]:
    """Return begin and end of a month in microseconds. Raises `malformed`."""
    if not _MONTH.fullmatch(month):
        raise Problem("malformed", f"not a month YYYY-MM: {month!r:.80}")
    first = f"{month}-01"
    try:
        begins, ends = parse_date(first), parse_date(add_months(first, 1))
    except ValueError as error:
        raise Problem("malformed", str(error)) from None
    return begins * MICROSECONDS, ends * MICROSECONDS


def _name_of(known: Registered, subject: Subject) -> str:
    """Return a subject's name among those of entries (`rules/subjects.py`)."""
    match subject.kind:
        case "firm":
            return f"enterprise:{subject.id}"
        case "contract" if subject.id in known.state.awards:
            return f"award:{subject.id}"
        case "contract" | "provider":
            return f"{subject.kind}:{subject.id}"
        case unknown:
            assert_never(unknown)


async def _entries(connection: Connection, name: str, month: Month) -> dict[int, AnyEntry]:
    """Return the month's entries about something. Raises `too_many_entries`."""
    found: dict[int, AnyEntry] = {}
    breath = Breath()
    about = pages.entries_about(connection, name, month.first - 1, MAX_ENTRIES + 1)
    async for number, data in about:
        if number >= month.stop:
            break
        if len(found) == MAX_ENTRIES:
            raise _too_many(month)
        found[number] = read_entry(canon.decode(data))
        await breath.take()
    return found


async def _of_claims(
    connection: Connection, known: Registered, subject: Subject, month: Month, most: int
) -> dict[int, AnyEntry]:
    """Return the entries that moved claims for a contract or award. Raises `too_many_entries`.

    They concern its firm, and not the contract, which its provider reads too.
    """
    if subject.kind != "contract" or subject.costs_alone:
        return {}
    book = known.state.claims
    moved = {
        account.number
        for year in book.years_of(subject.id)
        for account in book.accounts[subject.id, year]
        if month.first <= account.number < month.stop
    }
    read = await ledger_store.entries_at(connection, moved, most)
    if len(read) < len(moved):
        raise _too_many(month)
    return {number: read_entry(canon.decode(data)) for number, data in read.items()}


async def _records(
    connection: Connection, month: Month, booked: Mapping[int, AnyEntry]
) -> dict[int, AnyEntry]:
    """Return the records that entries change, by number. Raises `too_many_entries`."""
    named = {number for number in map(record_named, booked.values()) if number is not None}
    earlier = await ledger_store.entries_at(connection, named - booked.keys(), MAX_ENTRIES)
    read = {number: read_entry(canon.decode(data)) for number, data in earlier.items()}
    found = {**booked, **read}
    if not named <= found.keys():
        raise _too_many(month)
    return {number: found[number] for number in named}


def _too_many(month: Month) -> Problem:
    detail = f"{month.name} has more than {MAX_ENTRIES} entries: make it from the log"
    return Problem("too_many_entries", detail)


ROUTES: Final = [
    Route(
        "GET",
        "/v1/enterprises/{uscc}/statements/{month}",
        get_statement,
        "What a month booked for an enterprise",
        StatementView,
        roles=(*OFFICIALS, "enterprise"),
        is_large=True,
        codes=("unknown_enterprise", "too_many_entries"),
    ),
    Route(
        "GET",
        "/v1/contracts/{contract}/statements/{month}",
        get_contract_statement,
        "What a month booked under a contract",
        StatementView,
        roles=(*OFFICIALS, "enterprise", "provider"),
        is_large=True,
        codes=("unknown_contract", "too_many_entries"),
    ),
    Route(
        "GET",
        "/v1/awards/{award}/statements/{month}",
        get_award_statement,
        "What a month booked for an award",
        StatementView,
        roles=(*OFFICIALS, "enterprise"),
        is_large=True,
        codes=("unknown_award", "too_many_entries"),
    ),
    Route(
        "GET",
        "/v1/providers/{provider}/statements/{month}",
        get_provider_statement,
        "What a month cost a provider's customers",
        StatementView,
        roles=(*OFFICIALS, "provider"),
        is_large=True,
        codes=("unknown_provider", "too_many_entries"),
    ),
]
