"""An enterprise's pages: what is left and until when, usage, records, contracts, what was refused.

Each page asks the API's own handlers, all within one snapshot, so that its figures belong together.
A section whose question fails says so, and leaves the others.
"""

import sys
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlencode

from aiohttp import hdrs, web
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from meter.api.context import PART
from meter.api.cursor import PageQuery
from meter.api.get import BalanceQuery, get_balance, get_entry_bytes
from meter.api.get_days import DaysQuery, MoneyQuery, get_coupon_days, get_days, get_forecast
from meter.api.get_enterprise import (
    ContractQuery,
    RecordQuery,
    UsageQuery,
    get_enterprise_contracts,
    get_records,
    get_refused,
    get_usage,
)
from meter.api.get_months import get_month, get_months
from meter.api.get_own import get_enterprise
from meter.api.get_record import get_record
from meter.api.past import Asked, PastQuery
from meter.api.responses import AsOf, ContractPage, ContractSummary, EnterpriseDetail
from meter.api.routes import Ask, Handler, answer
from meter.console import enterprise_view as view
from meter.console import export, page
from meter.console.csv_file import csv_file
from meter.console.formats import Language
from meter.console.paper import paper, period_between, period_of_year
from meter.console.past import read_as_of
from meter.console.words import spoken
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Date, Year, convert_query
from meter.values.units import MICROSECONDS, day_of, format_date, format_moment, year_start

NEWEST: Final = 8  # records on the first page
LISTED: Final = 50  # lines of a list
USAGE_LINES: Final = 200  # of days, weeks and months with all their contracts
CONTRACTS: Final = 12  # on the first page
COUNTED: Final = 100  # lines that are looked at for the notice about refused records
MAX_CONTRACTS: Final = 1_000
CONTRACT_BYTES: Final = 2_000  # of a contract's figures in memory
# Of the stream of events: three heartbeats that did not come, and until the next try.
SILENCE_SECONDS: Final = 45
RETRY_SECONDS: Final = 30
ROLES: Final = (*OFFICIALS, "enterprise")

Period = Literal["day", "week", "month"]
By = Literal["day", "week", "month", "device", "contract"]
_PERIODS: Final[dict[By, Period]] = {"day": "day", "week": "week"}
Q = TypeVar("Q", bound=Struct)


class CouponOf(Struct, frozen=True):
    """The coupon that a page is about."""

    programme: str | UnsetType = UNSET
    year: Year | UnsetType = UNSET


class UsageOf(Struct, frozen=True):
    """Usage by day, week or month, or of a year by kind of device or by contract.

    `before` is the day before which a long list goes on.
    """

    by: By = "day"
    before: Date | UnsetType = UNSET


class ContractsOf(Struct, frozen=True):
    """How many contracts stand on the pages before, and as of when they are shown."""

    skip: Annotated[int, Meta(ge=0, le=MAX_CONTRACTS)] = 0
    as_of: Asked = ""


class Subject:
    """The enterprise of a page, the coupon that it is about, and its contracts."""

    def __init__(self, ask: Ask, firm: EnterpriseDetail, page_: ContractPage) -> None:
        self.firm = firm
        asked = _query(ask, CouponOf)
        self.coupon = view.choose(firm.programmes, asked.programme, asked.year, _today(ask))
        self.contracts: list[ContractSummary] = page_.contracts
        self.marks = view.marks_of(self.contracts)
        self.as_of = page_.as_of  # of all answers within one snapshot

    @property
    def own(self) -> list[ContractSummary]:
        """The contracts of the coupon's programme."""
        name = self.coupon.programme.programme if self.coupon else ""
        return [each for each in self.contracts if each.programme == name]


def _today(ask: Ask) -> int:
    """Return the ledger's day."""
    return day_of(ask.context.clock.counted() // MICROSECONDS)


async def _subject(ask: Ask) -> Subject:
    firm = await answer(ask, get_enterprise)
    contracts = await answer(ask, get_enterprise_contracts, PageQuery(limit=MAX_CONTRACTS))
    return Subject(ask, firm, contracts)


async def _section(ask: Ask, handler: Handler, query: Struct) -> Any:
    """Return an answer, or the problem that its section shows."""
    try:
        return await answer(ask, handler, query)
    except Problem as problem:
        return problem


async def show_overview(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what is left of a coupon, until when, and what needs attention."""
    async with ask.at_once() as asked:
        subject, body = await _kept_overview(asked, language)
    if subject.coupon is None:
        return await _show(ask, "enterprise_new.html", language, subject, "")
    as_of = subject.as_of
    return await _show(ask, "enterprise.html", language, subject, "", as_of=as_of, body=body)


async def _kept_overview(ask: Ask, language: Language) -> tuple[Subject, str]:
    """Return the subject of the first page and what it says, made once for all who look.

    It follows from the size of the ledger, the day, and what is asked for. A section that failed
    may not fail again, so nothing with one is kept.
    """
    assert ask.connection is not None, "all answers are of one snapshot"
    assert ask.who is not None, "a page is somebody's"
    head, _ = await ask.context.snapshot(ask.connection)
    asked = _query(ask, CouponOf)
    key = (head.size, _today(ask), ask.who.role, ask.path("uscc"), asked, language)
    kept = ask.context.kept
    async with kept.alone(key):
        found = kept.get(key)
        if found is None:
            subject = await _subject(ask)
            body, is_whole = await _overview(ask, language, subject)
            found = subject, body
            if is_whole:
                size_bytes = sys.getsizeof(body) + len(subject.contracts) * CONTRACT_BYTES
                kept.keep(key, found, size_bytes)
    return found


async def _overview(ask: Ask, language: Language, subject: Subject) -> tuple[str, bool]:
    """Return what the first page says, and whether no section of it failed."""
    if subject.coupon is None:
        return "", True
    programme, year = subject.coupon.programme.programme, subject.coupon.year
    money = MoneyQuery(programme=programme, year=year)
    balance = await answer(ask, get_balance, BalanceQuery(programme=programme, year=year))
    forecast = await _section(ask, get_forecast, money)
    coupon_days = await _section(ask, get_coupon_days, money)
    since = Date(view.first_day_shown(_today(ask)))
    days = await _section(ask, get_days, DaysQuery(year=year, starts=since, programme=programme))
    records = await _section(ask, get_records, RecordQuery(order="newest", limit=NEWEST))
    refused = await _section(ask, get_refused, ContractQuery(limit=COUNTED))
    months = await _months_to_answer(ask)
    w = spoken(language)
    marks = {each.id: subject.marks[each.id] for each in subject.own}
    contracts = view.contract_lines(subject.firm, subject.contracts)
    told = forecast if not isinstance(forecast, Problem) else None
    body = page.piece(
        "enterprise_overview.html",
        language,
        base=_base(subject, language),
        coupon=subject.coupon,
        balance=balance,
        left=view.share(balance.remaining, balance.issued, "left"),
        pieces=view.bar(balance.issued, ("used", balance.granted)),
        forecast=forecast,
        until=None if told is None else view.until(told, language),
        notices=view.notices(
            balance,
            told,
            None if isinstance(refused, Problem) else refused,
            [] if isinstance(months, Problem) else months,
            w,
        ),
        burn_down=_first_problem(coupon_days, forecast)
        or view.burn_down(coupon_days, forecast, w, language),
        daily=_first_problem(days, forecast)
        or view.daily(days, forecast.today, marks, w, language),
        contracts=view.most_used(contracts, CONTRACTS),
        more_contracts=len(contracts) > CONTRACTS,
        records=_first_problem(records) or view.record_lines(records.records, subject.marks),
    )
    return body, _first_problem(forecast, coupon_days, days, records, refused, months) is None


async def _months_to_answer(ask: Ask) -> list[tuple[str, str]] | Problem:
    """Return the closed months that whoever asks may still confirm, and until when.

    An official answers none. On the last day a page may tell of a month all day.
    """
    assert ask.who is not None, "a page is somebody's"
    if ask.who.role != "enterprise":
        return []
    now, one = format_moment(ask.context.clock.counted()), PageQuery(limit=1)
    try:
        months = (await answer(ask, get_months)).months
        closed = [each for each in months if each.state == "closed" and now < each.answer_until]
        pages = [await answer(ask, get_month, one, month=each.month) for each in closed]
    except Problem as problem:
        return problem
    return [
        (each.about.month, each.about.answer_until)
        for each in pages
        if each.items and not each.confirmed
    ]


async def show_usage(ask: Ask, language: Language) -> web.StreamResponse:
    """Show usage by day, week or month, and contract; or a year by device or contract."""
    asked_for = _query(ask, UsageOf)
    by, days, devices = asked_for.by, None, []
    async with ask.at_once() as asked:
        subject = await _subject(asked)
        if subject.coupon is not None and by == "device":
            devices = await _devices_of_year(asked, subject.coupon)
        elif subject.coupon is not None:
            days = await answer(asked, get_days, _days_query(subject.coupon, by))
    return await _show(
        ask,
        "enterprise_usage.html",
        language,
        subject,
        "usage",
        days=days,
        by=by,
        devices=devices,
        **view.some_periods(days, asked_for.before, USAGE_LINES),
    )


async def _devices_of_year(ask: Ask, coupon: view.Chosen) -> list[view.DeviceLine]:
    query = UsageQuery(
        limit=export.EXPORTED,
        programme=coupon.programme.programme,
        starts=Date(format_date(year_start(coupon.year))),
        ends=Date(format_date(year_start(coupon.year + 1))),
    )
    return view.device_lines(await export.everything(ask, get_usage, "usage", query))


async def export_usage(ask: Ask, language: Language) -> web.StreamResponse:
    """Return the lines of usage as CSV."""
    w = spoken(language)
    subject = await _subject(ask)
    if subject.coupon is None:
        raise Problem("not_found", "there is no usage yet")
    by = _query(ask, UsageOf).by
    if by == "device":
        devices = await _devices_of_year(ask, subject.coupon)
        lines = ([each.device, each.device_hours, str(each.days)] for each in devices)
        head = [w.device, w.device_hours, w.days_used]
        return page.download(ask, "usage.csv", csv_file(head, lines))
    days = await answer(ask, get_days, _days_query(subject.coupon, by))
    if by == "contract":
        head = [w.contract, w.device_hours, w.cost, w.entitled]
        rows = ([d.contract, d.device_hours, d.cost, d.entitled] for d in days.contracts)
        return page.download(ask, "usage.csv", csv_file(head, rows))
    head = [w.date, w.contract, w.device_hours, w.cost, w.entitled]
    rows = ([d.date, d.contract, d.device_hours, d.cost, d.entitled] for d in days.days)
    return page.download(ask, "usage.csv", csv_file(head, rows))


def _days_query(coupon: view.Chosen, by: By) -> DaysQuery:
    period = _PERIODS.get(by, "month")  # the year's total of a contract is that of any
    return DaysQuery(year=coupon.year, programme=coupon.programme.programme, by=period)


async def show_records(ask: Ask, language: Language) -> web.StreamResponse:
    """Show records, the newest first."""
    query = _records_query(ask, LISTED)
    async with ask.at_once() as asked:
        subject = await _subject(asked)
        records = await answer(asked, get_records, query)
    return await _show(
        ask,
        "enterprise_records.html",
        language,
        subject,
        "records",
        query=query,
        page=records,
        past=records.as_of if query.as_of else None,
        records=view.record_lines(records.records, subject.marks),
        devices=sorted(set(_devices(records.records))),
    )


async def export_records(ask: Ask, language: Language) -> web.StreamResponse:
    """Return records as CSV, with the filters of their page."""
    w = spoken(language)
    head = [
        *(w.entry, w.line, w.record_id, w.contract, w.provider, w.device, w.devices_milli),
        *(w.starts, w.ends, w.service_month, w.month_booked),
        *(w.cost, w.entitled, w.granted, w.withheld, w.ineligible, w.status),
    ]
    rows = [
        [
            *(str(each.entry), each.line, each.id, each.contract, each.provider),
            *(_text(each.device), _text(each.milli_devices)),
            *(_text(each.starts), _text(each.ends), each.service_month, each.booked_month),
            *(each.cost, each.entitled, each.granted, each.withheld, each.ineligible),
            _text(each.status),
        ]
        for each in await export.everything(
            ask, get_records, "records", _records_query(ask, export.EXPORTED)
        )
    ]
    return page.download(ask, "records.csv", csv_file(head, rows))


def _records_query(ask: Ask, limit: int) -> RecordQuery:
    asked = _query(ask, RecordQuery)
    return structs.replace(asked, order="newest", limit=limit, as_of=read_as_of(asked.as_of))


async def show_record(ask: Ask, language: Language) -> web.StreamResponse:
    """Show one record, how its cost came about, and how it is verified."""
    async with ask.at_once() as asked:
        subject = await _subject(asked)
        detail = await answer(asked, get_record)
    return await _show(
        ask,
        "enterprise_record.html",
        language,
        subject,
        "records",
        detail=detail,
        line=view.record_line(detail.record, subject.marks),
        operands=view.operands(detail),
    )


async def get_entry(ask: Ask, _language: Language) -> web.StreamResponse:
    """Return the bytes of an entry, to be verified."""
    await answer(ask, get_enterprise)  # or the URL names nobody
    found = await answer(ask, get_entry_bytes)
    found.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{ask.path("entry")}.entry"'
    assert isinstance(found, web.StreamResponse), "it answers bytes"
    return found


async def show_contracts(ask: Ask, language: Language) -> web.StreamResponse:
    """Show contracts with how much of each was used."""
    asked_for = _query(ask, ContractsOf)
    async with ask.at_once() as asked:
        subject = await _subject(asked)
        query = _past_contracts(asked_for)
        shown = await answer(asked, get_enterprise_contracts, query) if query.as_of else subject
    skip = asked_for.skip
    lines = view.contract_lines(subject.firm, shown.contracts)[skip:]
    next_ = skip + LISTED if len(lines) > LISTED else None
    return await _show(
        ask,
        "enterprise_contracts.html",
        language,
        subject,
        "contracts",
        contracts=lines[:LISTED],
        past=shown.as_of if query.as_of else None,
        next=next_,
    )


def _past_contracts(asked_for: ContractsOf) -> PastQuery:
    return PastQuery(limit=MAX_CONTRACTS, as_of=read_as_of(asked_for.as_of))


async def export_contracts(ask: Ask, language: Language) -> web.StreamResponse:
    """Return contracts as CSV."""
    w = spoken(language)
    head = [
        *(w.contract, w.programme, w.provider, w.amount_of_contract, w.starts, w.ends, w.cost),
        *(w.entitled, w.granted, w.uncovered, w.withheld, w.ineligible),
    ]
    query = _past_contracts(_query(ask, ContractsOf))
    page_ = await answer(ask, get_enterprise_contracts, query)
    rows = (
        [
            *(each.id, each.programme, each.provider, each.amount, each.starts, each.ends),
            *(each.cost, each.entitled, each.granted, each.uncovered, each.withheld),
            each.ineligible,
        ]
        for each in page_.contracts
    )
    return page.download(ask, "contracts.csv", csv_file(head, rows))


async def show_refused(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what was refused, in conflict, or withheld in part."""
    query = structs.replace(_query(ask, ContractQuery), limit=LISTED)
    async with ask.at_once() as asked:
        subject = await _subject(asked)
        found = await answer(asked, get_refused, query)
    return await _show(
        ask,
        "enterprise_refused.html",
        language,
        subject,
        "refused",
        query=query,
        page=found,
        lines=view.refused_lines(found.refused, subject.marks),
    )


async def export_refused(ask: Ask, language: Language) -> web.StreamResponse:
    """Return what was refused as CSV."""
    w = spoken(language)
    head = [
        *(w.entry, w.record_id, w.contract, w.provider, w.device, w.starts, w.ends, w.status),
        *(w.code, w.detail, w.withheld),
    ]
    query = structs.replace(_query(ask, ContractQuery), limit=export.EXPORTED)
    rows = [
        [
            *(str(each.entry), each.id, each.contract, each.provider, each.device, each.starts),
            *(each.ends, each.status, each.code, each.detail, each.withheld),
        ]
        for each in await export.everything(ask, get_refused, "refused", query)
    ]
    return page.download(ask, "refused.csv", csv_file(head, rows))


async def _show(
    ask: Ask, template: str, language: Language, subject: Subject, tab: str, **values: Any
) -> web.Response:
    """Return a page of an enterprise, with its name and tabs; `past` is when it is as of."""
    past: AsOf | None = values.setdefault("past", None)
    period = _period(ask, subject, tab, language)
    return page.show(
        ask,
        template,
        language,
        firm=subject.firm.enterprise,
        providers={each.id: each.name for each in subject.firm.providers},
        all_contracts=subject.contracts,
        coupon=subject.coupon,
        base=_base(subject, language),
        tab=tab,
        here_query=_here_query(ask),
        asked_as_of=ask.request.query.get("as_of", ""),
        paper=await paper(ask, period, past or subject.as_of),
        part=PART in ask.request.query,
        silence=SILENCE_SECONDS,
        retry=RETRY_SECONDS,
        **values,
    )


def _base(subject: Subject, language: Language) -> str:
    """Return the path of an enterprise's first page."""
    return f"/{language}/enterprises/{subject.firm.enterprise.uscc}"


def _period(ask: Ask, subject: Subject, tab: str, language: Language) -> str:
    """Return the time that a tab is about: the coupon's year, the days asked for, or all."""
    if tab in ("", "usage") and subject.coupon is not None:
        return period_of_year(subject.coupon.year, language)
    asked = ask.request.query if tab == "records" else {}
    begin, end = asked.get("from", ""), asked.get("until", "")
    return period_between(begin, end, spoken(language), language)


def _query(ask: Ask, kind: type[Q]) -> Q:
    """Return the part of a page's query that the API knows; a form leaves what is not asked empty.

    Raises `malformed`.
    """
    names = {field.encode_name for field in structs.fields(kind)}
    given = {name: text for name, text in ask.request.query.items() if text and name in names}
    try:
        return convert_query(given, kind)
    except ValueError as error:
        raise Problem("malformed", f"in the URL: {error}") from None


def _here_query(ask: Ask) -> str:
    """Return the filters of a page without its place, as the link to the next page begins."""
    kept = [
        (name, value) for name, value in ask.request.query.items() if name not in ("after", PART)
    ]
    return urlencode([*kept, ("", "")]).removesuffix("=")


def _first_problem(*answers: Any) -> Problem | None:
    return next((each for each in answers if isinstance(each, Problem)), None)


def _devices(records: Iterable[Any]) -> Iterable[str]:
    return (each.device for each in records if each.device is not UNSET)


def _text(value: object) -> str:
    return "" if value is UNSET else str(value)


_BASE: Final = "enterprises/{uscc}"
ROUTES: Final = (
    *page.pages(_BASE, show_overview, ROLES),
    *page.pages(f"{_BASE}/usage", show_usage, ROLES),
    *page.pages(f"{_BASE}/usage.csv", export_usage, ROLES),
    *page.pages(f"{_BASE}/records", show_records, ROLES),
    *page.pages(f"{_BASE}/records.csv", export_records, ROLES),
    *page.pages(f"{_BASE}/records/{{line}}", show_record, ROLES),
    *page.pages(f"{_BASE}/entries/{{entry}}", get_entry, ROLES),
    *page.pages(f"{_BASE}/contracts", show_contracts, ROLES),
    *page.pages(f"{_BASE}/contracts.csv", export_contracts, ROLES),
    *page.pages(f"{_BASE}/refused", show_refused, ROLES),
    *page.pages(f"{_BASE}/refused.csv", export_refused, ROLES),
)
