"""GET: months of the ledger, what they booked, and disputes of records.

A firm sees its own contracts and awards, a provider the cost of its contracts.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from msgspec import UNSET, Struct, UnsetType

from ledger import canon
from ledger.canon import MAX_INTEGER
from meter.api.cursor import PageQuery, page_end, page_fields, place
from meter.api.get_enterprise import month_of_day
from meter.api.responses import AsOf, Page, as_of
from meter.api.routes import Ask, Route
from meter.rules.entries import (
    NO_DEVICE,
    MonthClosed,
    RecordEntry,
    RecordReleased,
    UsageAccepted,
)
from meter.rules.kinds.table import read_entry
from meter.rules.month_book import Dispute, month_of
from meter.rules.state import Contract, RecordId
from meter.tables import months
from meter.tables.connections import Connection
from meter.tables.pages import MAX_ROWS_READ, Chosen
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Id
from meter.values.units import day_of, format_moment, format_money, parse_date
from meter.views.past import RecordStatus

Decision = Literal["open", "upheld", "dismissed"]


class WaiverView(Struct, frozen=True):
    """The person who answers for a month that was closed with gaps, and why."""

    person: str
    reason: str


class MonthSummary(Struct, frozen=True, kw_only=True):
    """A month of the ledger: its entries from `first`, before `end` once it is over.

    Of a closed one, `closing` is the number of that entry, `answer_until` the instant before which
    a firm may confirm it or dispute its records, `gaps` how many ranges of numbers were missing.
    """

    month: str
    state: Literal["running", "over", "closed"]
    first: int
    end: int | UnsetType = UNSET
    closing: int | UnsetType = UNSET
    closed_at: str | UnsetType = UNSET
    answer_until: str | UnsetType = UNSET
    gaps: int | UnsetType = UNSET


class MonthsView(Struct, frozen=True, kw_only=True):
    """All months of the ledger, the newest first."""

    months: list[MonthSummary]
    as_of: AsOf


class MonthLine(Struct, frozen=True, kw_only=True):
    """By how much a contract or award grew in a month; corrections may take off more than came."""

    item: str
    provider: str | UnsetType = UNSET
    cost: str
    granted: str | UnsetType = UNSET


class MonthConfirmation(Struct, frozen=True, kw_only=True):
    """An enterprise that has confirmed the month, by the entry of that number."""

    enterprise: str
    entry: int


class MonthPage(Page, frozen=True, kw_only=True):
    """What a month has booked by contract and award, and in all; `waiver` is told to officials."""

    about: MonthSummary
    waiver: WaiverView | UnsetType = UNSET
    cost: str
    granted: str | UnsetType = UNSET
    items: list[MonthLine]
    confirmed: list[MonthConfirmation]


class CorrectionView(Struct, frozen=True, kw_only=True):
    """A void, a release or a late record, booked in the month of the list.

    The record begins in `service_month`, of a late one an earlier month.
    """

    entry: int
    kind: Literal["record", "purchase", "void", "release"]
    provider: str
    record: str
    service_month: str
    cost: str


class CorrectionPage(Page, frozen=True, kw_only=True):
    """What a month has corrected of a contract's records."""

    month: str
    corrections: list[CorrectionView]


class CorrectionsQuery(PageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which page, and of which contract."""

    contract: Id


class DisputesQuery(PageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A page of disputes: those of one decision, the oldest first or the newest."""

    decision: Decision | UnsetType = UNSET
    order: Literal["oldest", "newest"] = "oldest"


class DisputeView(Struct, frozen=True, kw_only=True):
    """A dispute of a record, which `month` has booked; `decided` is the entry that ended it."""

    entry: int
    time: str
    contract: str
    provider: str
    record: str
    month: str
    years: list[int]
    reason: str
    state: Decision
    decided: int | UnsetType = UNSET


class DisputePage(Page, frozen=True, kw_only=True):
    """Disputes of records in the order of their entries."""

    disputes: list[DisputeView]


async def get_months(ask: Ask) -> MonthsView:
    """All months of the ledger."""
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        past = await months.past_months(connection)
    running = MonthSummary(
        month=month_of(head.last_at), state="running", first=past[0].end if past else 0
    )
    found = [running, *(_about(known, each) for each in past)]
    return MonthsView(months=found, as_of=as_of(head.size, head.last_at))


async def get_month(ask: Ask) -> MonthPage:
    """What a month that is over has booked, of what the token may see."""
    assert ask.who is not None, "a month is not public"
    (after,) = place(ask, ("",))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        past = await _past_month(ask, connection)
        own = _own_items(ask, known)
        page = await months.lines(connection, past.name, own, after, ask.query.limit)
        total = await months.total(connection, past.name, own)
    closing, money = _closing(known, past.name), ask.who.role != "provider"
    official, waiver = ask.who.role in OFFICIALS, UNSET if closing is None else closing[1].waiver
    return MonthPage(
        about=_about(known, past),
        waiver=WaiverView(waiver.person, waiver.reason)
        if official and waiver is not UNSET
        else UNSET,
        cost=format_money(total.cost),
        granted=format_money(total.granted) if money else UNSET,
        items=[_line(known, each, money=money) for each in page.items],
        confirmed=[
            MonthConfirmation(enterprise=enterprise, entry=number)
            for (month, enterprise), (number, _) in known.state.months.confirmed.items()
            if month == past.name
            and number < known.size
            and (official or enterprise == ask.who.subject)
        ],
        **page_fields(ask, head, page, lambda each: (each.item,), (after,)),
    )


async def get_corrections(ask: Ask) -> CorrectionPage:
    """The voids, releases and late records of a contract that a month has booked."""
    (after,) = place(ask, (-1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        contract = known.contract(ask.query.contract)
        if contract is None:
            raise Problem("unknown_contract", f"no contract {ask.query.contract}")
        enterprise = known.terms(contract).agreed.enterprise
        ask.must_be_theirs(enterprise=enterprise, provider=contract.registered.provider)
        past = await _past_month(ask, connection)
        earlier = Chosen(
            [contract.registered.id],
            get_args(RecordStatus),
            range(day_of(parse_date(f"{past.name}-01"))),
            [*known.terms(contract).agreed.prices, NO_DEVICE],
        )
        page, end = await months.corrections(connection, past, earlier, after, ask.query.limit)
    return CorrectionPage(
        month=past.name,
        corrections=[_correction(each) for each in page.items],
        **page_end(ask, head, (end,), more=page.more),
    )


async def get_disputes(ask: Ask) -> DisputePage:
    """Disputes of records that the token may see."""
    query: DisputesQuery = ask.query
    is_newest = query.order == "newest"
    (after,) = place(ask, (MAX_INTEGER if is_newest else -1,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        held = _own_disputes(ask, known)
        if is_newest:
            ahead = [each for each in reversed(held) if each.entry < after]
        else:
            ahead = [each for each in held if each.entry > after]
        found, count = await _of_decision(connection, known, ahead, query)
    last = ahead[count - 1].entry if count else after
    return DisputePage(disputes=found, **page_end(ask, head, (last,), more=count < len(ahead)))


def _own_disputes(ask: Ask, known: Registered) -> list[Dispute]:
    """Return the disputes that the token may see, in the order of their entries."""
    items = _own_items(ask, known)
    own = None if items is None else set(items)
    return [
        each
        for each in known.state.disputes.values()
        if each.entry < known.size and (own is None or each.made.contract in own)
    ]


async def _of_decision(
    connection: Connection, known: Registered, ahead: Sequence[Dispute], query: DisputesQuery
) -> tuple[list[DisputeView], int]:
    """Return the first disputes of the decision that is asked for, and how many were looked at.

    Whether a record was voided is looked up for a page of them at a time.
    """
    found: list[DisputeView] = []
    ahead = ahead[:MAX_ROWS_READ]
    for first in range(0, len(ahead), query.limit):
        part = ahead[first : first + query.limit]
        records = [(each.made.provider, each.made.id) for each in part]
        voids = await months.voids(connection, records)
        for looked_at, each in enumerate(part, first + 1):
            view = _dispute(known, each, voids)
            if query.decision in (UNSET, view.state):
                found.append(view)
            if len(found) == query.limit:
                return found, looked_at
    return found, len(ahead)


def _dispute(known: Registered, held: Dispute, voids: Mapping[RecordId, int]) -> DisputeView:
    """Return a dispute; what is registered tells of its dismissal alone."""
    made = held.made
    dismissed = held.ended if held.ended is not None and held.ended < known.size else None
    voided = voids.get((made.provider, made.id))
    decided = voided if dismissed is None else dismissed
    state: Decision = "open" if decided is None else "upheld" if dismissed is None else "dismissed"
    return DisputeView(
        entry=held.entry,
        time=format_moment(made.at),
        contract=made.contract,
        provider=made.provider,
        record=made.id,
        month=made.month,
        years=made.years,
        reason="" if made.reason is UNSET else made.reason,
        state=state,
        decided=UNSET if decided is None else decided,
    )


async def _past_month(ask: Ask, connection: Connection) -> months.PastMonth:
    """Return the month of the URL. Raises `Problem` `unknown_month`."""
    for each in await months.past_months(connection):
        if each.name == ask.path("month"):
            return each
    raise Problem("unknown_month", f"no month {ask.path('month')} is over")


def _own_items(ask: Ask, known: Registered) -> list[str] | None:
    """Return the contracts and awards that the token may see, or None for all."""
    assert ask.who is not None, "a month is not public"
    if ask.who.role in OFFICIALS:
        return None
    contracts = known.contracts()
    if ask.who.role == "provider":
        own = [each for each in contracts if each.registered.provider == ask.who.subject]
        return [each.registered.id for each in own]
    firm = set(known.state.firm_of(ask.who.subject))
    return [
        *(each.registered.id for each in contracts if _firm_of(known, each) in firm),
        *(each.made.id for each in known.awards() if each.made.enterprise in firm),
    ]


def _firm_of(known: Registered, contract: Contract) -> str:
    return contract.enterprise_at(known.size)


def _closing(known: Registered, month: str) -> tuple[int, MonthClosed] | None:
    number, entry = known.state.months.closed.get(month) or (known.size, None)
    return None if entry is None or number >= known.size else (number, entry)


def _about(known: Registered, month: months.PastMonth) -> MonthSummary:
    closing = _closing(known, month.name)
    if closing is None:
        return MonthSummary(month=month.name, state="over", first=month.first, end=month.end)
    number, entry = closing
    until = known.state.months.answer_until(month.name)
    assert until is not None, "it is closed"
    return MonthSummary(
        month=month.name,
        state="closed",
        first=month.first,
        end=month.end,
        closing=number,
        closed_at=format_moment(entry.at),
        answer_until=format_moment(until),
        gaps=entry.gaps,
    )


def _line(known: Registered, line: months.Line, *, money: bool) -> MonthLine:
    contract = known.contract(line.item)
    return MonthLine(
        item=line.item,
        provider=UNSET if contract is None else contract.registered.provider,
        cost=format_money(line.cost),
        granted=format_money(line.granted) if money else UNSET,
    )


def _correction(found: months.Correction) -> CorrectionView:
    entry = read_entry(canon.decode(found.data))
    assert isinstance(entry, RecordEntry), "meter.record points at such entries"
    return CorrectionView(
        entry=found.entry,
        kind="record" if isinstance(entry, UsageAccepted) else entry.kind,
        provider=entry.provider,
        record=entry.id,
        service_month=month_of_day(found.day),
        cost=format_money(0 if isinstance(entry, RecordReleased) else entry.cost),
    )


_READERS: Final = (*OFFICIALS, "enterprise", "provider")
ROUTES: Final = [
    Route(
        "GET",
        "/v1/months",
        get_months,
        "Months of the ledger, and which are closed",
        MonthsView,
        roles=_READERS,
    ),
    Route(
        "GET",
        "/v1/months/{month}",
        get_month,
        "What a month has booked by contract and award",
        MonthPage,
        roles=_READERS,
        query=PageQuery,
        codes=("unknown_month",),
    ),
    Route(
        "GET",
        "/v1/months/{month}/corrections",
        get_corrections,
        "What a month has corrected of a contract's records",
        CorrectionPage,
        roles=_READERS,
        query=CorrectionsQuery,
        codes=("unknown_month", "unknown_contract"),
    ),
    Route(
        "GET",
        "/v1/disputes",
        get_disputes,
        "Disputes of records",
        DisputePage,
        roles=_READERS,
        query=DisputesQuery,
    ),
]
