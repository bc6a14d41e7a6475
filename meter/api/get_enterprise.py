"""GET, for enterprises: their contracts, usage by day, each record, and what did not count.

All of it is about the contracts of the enterprise in the URL; nobody else's are shown.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar

from msgspec import UNSET, Struct, UnsetType

from ledger import canon
from ledger.canon import MAX_INTEGER
from meter.api.cursor import PageQuery, page_end, page_fields, place
from meter.api.one_size import BEGIN, one_size, parse_sums, sums_text
from meter.api.past import CODES, PastQuery, shown, shown_at_one_size
from meter.api.responses import (
    ContractPage,
    ContractSummary,
    NotCountedPage,
    NotCountedView,
    RecordEvidence,
    RecordPage,
    RecordTotal,
    RecordView,
    UsageDay,
    UsagePage,
    UsageTotal,
    content_of,
    costs_by_reason,
)
from meter.api.routes import Ask, Handler, Route
from meter.host.breath import Breath
from meter.rules.commands import ProgrammeName
from meter.rules.entries import (
    NO_DEVICE,
    AcceptedEntry,
    ContractAmended,
    ReasonCost,
    RecordEntry,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
)
from meter.rules.kinds.table import read_entry
from meter.rules.month_book import month_of
from meter.rules.state import Contract
from meter.tables import pages
from meter.tables.pages import HeldEntry, NotCounted, Totals
from meter.tables.registry import Registered
from meter.tables.rows import CONFLICT
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Date, Id
from meter.values.units import (
    MICROSECONDS,
    day_of,
    day_start,
    format_date,
    format_hours,
    format_instant,
    format_money,
    hours_of,
    parse_date,
    write_hours,
)
from meter.views.past import STATUSES_SINCE, RecordStatus, granted_by

_FIRST_DAY: Final = day_of(parse_date("1900-01-01"))
_LAST_DAY: Final = day_of(parse_date("9899-12-31"))


class HasEntry(Protocol):
    """What an entry registered: `entry` is its number."""

    @property
    def entry(self) -> int:
        """The number of the entry."""


T = TypeVar("T", bound=HasEntry)


class UsageQuery(PageQuery, frozen=True, rename={"starts": "from", "ends": "until"}):
    """A page of usage: of one programme or contract, in a half-open period of Shanghai dates."""

    programme: ProgrammeName | UnsetType = UNSET
    contract: Id | UnsetType = UNSET
    starts: Date | UnsetType = UNSET
    ends: Date | UnsetType = UNSET


class RecordQuery(PastQuery, frozen=True, rename={"starts": "from", "ends": "until"}):
    """A page of records: of one contract, status or device kind, or that begin on some days."""

    contract: Id | UnsetType = UNSET
    status: RecordStatus | UnsetType = UNSET
    order: Literal["oldest", "newest"] = "oldest"
    device: Id | UnsetType = UNSET
    starts: Date | UnsetType = UNSET
    ends: Date | UnsetType = UNSET

    @property
    def by_use(self) -> bool:
        """Whether records are chosen by their use."""
        return any(each is not UNSET for each in (self.device, self.starts, self.ends))

    @property
    def statuses(self) -> list[RecordStatus]:
        """Those that the records which are asked for can have now."""
        if self.status is UNSET:
            return list(STATUSES_SINCE)
        return list(STATUSES_SINCE[self.status]) if self.as_of else [self.status]


class ContractQuery(PageQuery, frozen=True):
    """A page of records: of one contract, or of all."""

    contract: Id | UnsetType = UNSET


async def get_enterprise_contracts(ask: Ask) -> ContractPage:
    """An enterprise's contracts and their totals."""
    subjects = [f"enterprise:{ask.path('uscc')}"]
    return await contract_page(ask, lambda known: _own_contracts(ask, known), subjects)


async def contract_page(
    ask: Ask, choose: Callable[[Registered], list[Contract]], subjects: Sequence[str]
) -> ContractPage:
    """Return a page of chosen contracts, which are in the order of their entries.

    `subjects` are what they are about, all if there are none.
    """
    after, size = place(ask, (-1, BEGIN))
    async with ask.reading() as connection:
        head, known, past, size = await shown_at_one_size(ask, connection, size, subjects)
        page = page_by_entry(choose(known), (after,), ask.query.limit)
        totals = await pages.totals(connection, page.items, past)
    return ContractPage(
        contracts=[_summary(known, each, totals[each.registered.id]) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.entry, size), (after, size)),
    )


async def get_usage(ask: Ask) -> UsagePage:
    """Device-time by day and kind."""
    query: UsageQuery = ask.query
    days = _days(query)
    day, device, size, sums = place(ask, (days.start, "", BEGIN, "0 0"))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        size = await one_size(connection, head, size, [f"enterprise:{ask.path('uscc')}"])
        contracts = [
            each.registered.id
            for each in asked_contracts(ask, known, query.contract)
            if query.programme in (UNSET, each.registered.programme)
            and each.policy.meter == "device-time"
        ]
        page = await pages.usage(connection, contracts, days, (day, device), query.limit)
    exact, shown = parse_sums(sums, 2)
    exact += sum(each.device_time for each in page.items)
    shown += sum(hours_of(each.device_time) for each in page.items)
    sums = sums_text((exact, shown))
    if page.items:
        day, device = page.items[-1].day, page.items[-1].device
    return UsagePage(
        usage=[
            UsageDay(
                format_date(day_start(each.day)),
                each.device,
                str(each.device_time),
                format_hours(each.device_time),
            )
            for each in page.items
        ],
        total=UNSET if page.more else UsageTotal(str(exact), format_hours(exact)),
        rounding=UNSET if page.more else write_hours(hours_of(exact) - shown),
        **page_end(ask, head, (day, device, size, sums), more=page.more),
    )


async def get_records(ask: Ask) -> RecordPage:
    """Each accepted record of an enterprise, or of one of its contracts, and each void of one."""
    query: RecordQuery = ask.query
    if query.by_use:
        return await _chosen_records(ask)
    if query.order == "newest":
        return await _newest_records(ask)
    after, size, sums = place(ask, (-1, BEGIN, "0 0 0 0"))
    async with ask.reading() as connection:
        head, known, past, size = await shown(ask, connection, size)
        contracts = {
            each.registered.id: each for each in asked_contracts(ask, known, query.contract)
        }
        page = await pages.records(
            connection,
            list(contracts),
            query.statuses,
            after,
            query.limit,
            changes=query.status is UNSET,
            newest=False,
            size=head.size,
        )
        lines = await _asked_lines(query, page.items)
        listed = _added(parse_sums(sums, 4), [line.money for line in lines])
        total: RecordTotal | UnsetType = UNSET
        amended: RecordTotal | UnsetType = UNSET
        rounding: RecordTotal | UnsetType = UNSET
        if not page.more and query.status is UNSET:
            whole = _total_of((await pages.totals(connection, contracts.values(), past)).values())
            changed = _amended(known, contracts.values())
            total, amended = _record_total(whole), _record_total(changed)
            known_lines = _added(listed, [changed])
            rounding = _record_total([a - b for a, b in zip(whole, known_lines, strict=True)])
            listed = whole
    # At the end of what there is, all of the ledger was searched.
    end = page.items[-1].entry if page.more else max(after, head.size - 1)
    return RecordPage(
        records=[line.view for line in lines],
        total=total,
        amended=amended,
        rounding=rounding,
        **page_end(ask, head, (end, size, sums_text(listed)), more=page.more),
    )


async def _newest_records(ask: Ask) -> RecordPage:
    """Records, voids and releases from the newest entry on."""
    query: RecordQuery = ask.query
    before, size = place(ask, (MAX_INTEGER, BEGIN))
    async with ask.reading() as connection:
        head, known, _, size = await shown(ask, connection, size)
        contracts = [each.registered.id for each in asked_contracts(ask, known, query.contract)]
        page = await pages.records(
            connection,
            contracts,
            query.statuses,
            before,
            query.limit,
            changes=query.status is UNSET,
            newest=True,
            size=head.size,
        )
    return RecordPage(
        records=[line.view for line in await _asked_lines(query, page.items)],
        **page_fields(ask, head, page, lambda each: (each.entry, size), (before, size)),
    )


async def _chosen_records(ask: Ask) -> RecordPage:
    """Records of some days of use or of a device kind."""
    query: RecordQuery = ask.query
    newest = query.order == "newest"
    after, size = place(ask, (MAX_INTEGER if newest else -1, BEGIN))
    async with ask.reading() as connection:
        head, known, _, size = await shown(ask, connection, size)
        contracts = asked_contracts(ask, known, query.contract)
        devices = {device for each in contracts for device in known.terms(each).agreed.prices}
        devices.add(NO_DEVICE)  # of purchases
        chosen = pages.Chosen(
            [each.registered.id for each in contracts],
            query.statuses,
            _days(query),
            sorted(devices) if query.device is UNSET else [query.device],
        )
        page, end = await pages.chosen_records(
            connection, chosen, after, query.limit, newest=newest, size=head.size
        )
    return RecordPage(
        records=[line.view for line in await _asked_lines(query, page.items)],
        **page_end(ask, head, (end, size), more=page.more),
    )


async def get_refused(ask: Ask) -> NotCountedPage:
    """An enterprise's records that were refused, in conflict, or withheld in part."""
    after = place(ask, (-1, -1))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        contracts = asked_contracts(ask, known, ask.query.contract)
        page = await pages.not_counted(connection, contracts, after, ask.query.limit)
    return NotCountedPage(
        refused=[_not_counted(each) for each in page.items],
        **page_fields(ask, head, page, lambda each: each.key, after),
    )


# Whose they are


def _own_contracts(ask: Ask, known: Registered) -> list[Contract]:
    """Return the contracts of the URL's enterprise, in the order of their entries."""
    enterprise = known.enterprise(ask.path("uscc"))
    if enterprise is None:
        raise Problem("unknown_enterprise", f"no enterprise {ask.path('uscc')}")
    return known.contracts_of(enterprise)


def asked_contracts(ask: Ask, known: Registered, asked: str | UnsetType) -> list[Contract]:
    """Return the contract that the query names, which must be the enterprise's, or all."""
    own = _own_contracts(ask, known)
    if asked is UNSET:
        return own
    found = [each for each in own if each.registered.id == asked]
    if not found:
        raise Problem("unknown_contract", f"{ask.path('uscc')} has no contract {asked}")
    return found


def _days(query: UsageQuery | RecordQuery) -> range:
    """Return the days of a query's half-open period."""
    first = _FIRST_DAY if query.starts is UNSET else day_of(parse_date(query.starts))
    stop = _LAST_DAY + 1 if query.ends is UNSET else day_of(parse_date(query.ends))
    return range(first, stop)


# Shaping


def page_by_entry(items: list[T], after: tuple[int], limit: int) -> pages.Page[T]:
    """Return the items that are registered after an entry, at most `limit`."""
    found = [each for each in items if after[0] < each.entry]
    return pages.Page(found[:limit], more=len(found) > limit)


def _summary(known: Registered, contract: Contract, totals: Totals) -> ContractSummary:
    terms = known.terms(contract).agreed
    return ContractSummary(
        id=terms.id,
        entry=contract.entry,
        programme=terms.programme,
        enterprise=terms.enterprise,
        provider=terms.provider,
        ratio_class=terms.ratio_class,
        amount=format_money(terms.amount),
        starts=terms.starts,
        ends=terms.ends,
        frozen=known.is_frozen(contract),
        cost=format_money(totals.cost),
        entitled=format_money(totals.entitled),
        granted=format_money(totals.granted),
        uncovered=format_money(totals.entitled - totals.granted),
        withheld=format_money(totals.withheld),
        ineligible=format_money(sum(totals.ineligible)),
        reasons=costs_by_reason(totals.ineligible),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list of records, and what it adds to the total's figures, in fen."""

    view: RecordView
    money: tuple[int, int, int, int]


async def _asked_lines(query: RecordQuery, found: list[HeldEntry]) -> list[Line]:
    """Return the lines that a query asks for: a record can have had another status."""
    return await lines_of([each for each in found if query.status in (UNSET, each.status)])


async def lines_of(found: list[HeldEntry]) -> list[Line]:
    """Decode entries that accepted or changed records, and let others be served meanwhile."""
    breath, lines = Breath(), []
    for each in found:
        await breath.take()
        entry = read_entry(canon.decode(each.data))
        assert isinstance(entry, RecordEntry), "meter.record points at such entries"
        lines.append(
            _record(each, entry) if isinstance(entry, AcceptedEntry) else _change(each, entry)
        )
    return lines


def _record(held: HeldEntry, accepted: AcceptedEntry) -> Line:
    view = RecordView(
        line="record" if isinstance(accepted, UsageAccepted) else "purchase",
        entry=held.entry,
        id=accepted.id,
        provider=accepted.provider,
        contract=accepted.contract,
        status=held.status,
        voided=UNSET if held.voided is None else held.voided,
        released=UNSET if held.released is None else held.released,
        evidence=list(_evidence(accepted)),
        **_months(held, accepted),
        **content_of(accepted),
        **_figures(accepted),
    )
    return Line(view, _money(accepted))


def _evidence(accepted: AcceptedEntry) -> Iterator[RecordEvidence]:
    """Yield what was withheld, and beyond which limit."""
    evidence = accepted.evidence if isinstance(accepted, UsageAccepted) else UNSET
    runs = [] if evidence is UNSET else evidence
    for limit, start, end, device_time in runs:
        if limit == "contract":
            yield RecordEvidence(
                limit=limit,
                starts=format_instant(start // MICROSECONDS),
                ends=format_instant(end // MICROSECONDS),
                device_hours=format_hours(device_time),
            )
    beyond = sum(device_time for limit, _, _, device_time in runs if limit == "provider")
    if beyond:
        yield RecordEvidence(limit="provider", device_hours=format_hours(beyond))


def _months(held: HeldEntry, entry: RecordEntry) -> dict[str, Any]:
    """Return the month in which a record begins, and the one that has booked its entry."""
    return {"service_month": month_of_day(held.day), "booked_month": month_of(entry.at)}


def month_of_day(day: int) -> str:
    """Return the month of a Shanghai day since 1970-01-01, such as "2025-03"."""
    return format_date(day_start(day))[:7]


def _change(held: HeldEntry, entry: RecordVoided | RecordReleased) -> Line:
    view = RecordView(
        line=entry.kind,
        entry=held.entry,
        record=entry.record,
        id=entry.id,
        provider=entry.provider,
        contract=entry.contract,
        device=entry.device,
        **_months(held, entry),
        **_figures(entry),
    )
    return Line(view, _money(entry))


def _figures(entry: RecordEntry) -> dict[str, Any]:
    names = ("cost", "entitled", "withheld", "ineligible")
    figures = dict(zip(names, map(format_money, _money(entry)), strict=True))
    figures["granted"] = format_money(granted_by(entry, entry.contract))
    reasons = {reason: format_money(fen) for reason, fen in _ineligible(entry)}
    return figures | {"reasons": reasons}


def _amended(known: Registered, contracts: Iterable[Contract]) -> list[int]:
    """Return the fen by which amendments have changed the figures of contracts."""
    entries = (entry for each in contracts for entry in known.amendments_of(each))
    return _added([0, 0, 0, 0], [_money(entry) for entry in entries])


def _money(entry: RecordEntry | ContractAmended) -> tuple[int, int, int, int]:
    """Return the fen by which an entry changes cost, entitlement and what does not count."""
    return (
        0 if isinstance(entry, RecordReleased) else entry.cost,
        sum(fen for _, fen in entry.entitled),
        0 if entry.withheld_cost is UNSET else entry.withheld_cost,
        sum(fen for _, fen in _ineligible(entry)),
    )


def _ineligible(entry: RecordEntry | ContractAmended) -> ReasonCost:
    return [] if entry.ineligible is UNSET else entry.ineligible


def _record_total(money: Sequence[int]) -> RecordTotal:
    return RecordTotal(*map(format_money, money))


def _total_of(contracts: Iterable[Totals]) -> list[int]:
    totals = [(each.cost, each.entitled, each.withheld, sum(each.ineligible)) for each in contracts]
    return _added([0, 0, 0, 0], totals)


def _added(sums: Sequence[int], lines: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(sums, *lines, strict=True)]


def _not_counted(found: NotCounted) -> NotCountedView:
    if found.withheld is None:
        conflict = found.code == CONFLICT
        # The detail of a conflict names an entry that may be another enterprise's.
        detail, withheld = ("" if conflict else found.detail), ""
        status: Any = "conflict" if conflict else "rejected"
    else:
        detail, withheld = "", format_money(found.withheld)
        status = found.status
    return NotCountedView(
        entry=found.key[0],
        id=found.id,
        provider=found.provider,
        contract=found.contract,
        device=found.device or "",
        starts=format_instant(found.starts // MICROSECONDS),
        ends=format_instant(found.ends // MICROSECONDS),
        status=status,
        code=found.code,
        detail=detail,
        withheld=withheld,
    )


def _route(
    path: str,
    handler: Handler,
    summary: str,
    response: type[Struct],
    query: type[PageQuery] = PageQuery,
) -> Route:
    own = [] if query in (PageQuery, PastQuery) else ["unknown_contract"]
    own += CODES if issubclass(query, PastQuery) else ()
    if response in (ContractPage, UsagePage):  # the others only grow: what they have shown stays
        own.append("moved")
    return Route(
        "GET",
        f"/v1/enterprises/{{uscc}}/{path}",
        handler,
        summary,
        response,
        roles=(*OFFICIALS, "enterprise"),
        query=query,
        codes=("unknown_enterprise", *own),
    )


ROUTES: Final = [
    _route(
        "contracts", get_enterprise_contracts, "An enterprise's contracts", ContractPage, PastQuery
    ),
    _route("usage", get_usage, "Usage by day and device kind", UsagePage, UsageQuery),
    _route(
        "records",
        get_records,
        "Each accepted record, void and release",
        RecordPage,
        RecordQuery,
    ),
    _route(
        "refused",
        get_refused,
        "Records that were refused, in conflict or withheld",
        NotCountedPage,
        ContractQuery,
    ),
]
